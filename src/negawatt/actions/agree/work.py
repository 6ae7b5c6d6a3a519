"""What workers do for `negawatt agree`. Models are opened where they are used, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negawatt.actions.optimize import memory
from negawatt.actions.optimize.order import Tools
from negawatt.core.errors import NotAModel, UsageError
from negawatt.models.attribution import Attributed, attribute
from negawatt.models.encoder import (
    Ending,
    ending_of,
    find_encoder,
    pooling_of,
    prepare_encoder,
)
from negawatt.models.load import load_tokenizer
from negawatt.models.opened import read_config
from negawatt.models.opening import Opened, is_encoder, is_packed, open_model
from negawatt.models.origin import locate
from negawatt.models.probes import Probe, Slice, draw_decoder, draw_encoder, read_slices
from negawatt.models.slices import Scored, answer, keep_base, score_decoder, score_encoder
from negawatt.models.source import prepare

_WINDOW = 256  # tokens
#: Where a verb that compresses leaves the model, below the folder it was given.
_BELOW = ("huggingface", "model")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models, ready to be opened.

    Args:
        folder: Prepared, or packed as it was exported.
        architecture: Class name.
        ending: What an encoder ends in; None for a decoder.
        pooling: How an encoder's positions become one vector.
        stamp: Sizes and times of its files, by which it is known again.
    """

    folder: Path
    architecture: str
    ending: Ending | None
    pooling: str
    stamp: Mapping[str, tuple[int, int]]

    @property
    def about(self) -> tuple[Ending | None, str]:
        """What it ends in."""
        return self.ending, self.pooling


def bring(tools: Tools, model: str, work: Path, seed: int) -> Side:
    """Have a model where it can be opened from; packed weights stay as they are."""
    place = Path(model).expanduser()
    below = [place / name for name in _BELOW if (place / name / "config.json").is_file()]
    if place.is_dir() and not (place / "config.json").is_file() and below:
        place, model = below[0], str(below[0])
    if (place / "config.json").is_file() and is_packed(place):
        return _side(place, place)
    encoder = find_encoder(model)
    if encoder is not None:
        return _side(prepare_encoder(model, encoder, work).folder, encoder)
    source = prepare(
        model, work, seed=seed, progress=lambda _, share: tools.progress("prepare", share)
    )
    return _side(source.folder, locate(model).path or source.folder)


def _side(folder: Path, origin: Path) -> Side:
    config = read_config(folder / "config.json")
    architecture = next(iter(config.get("architectures") or ()), "")
    if not architecture:
        raise NotAModel(
            f"{folder} names no architecture", fix="put the model's own config.json there"
        )
    files = sorted(origin.iterdir()) if origin.is_dir() else [origin]
    return Side(
        folder=folder,
        architecture=architecture,
        ending=ending_of(architecture) if is_encoder(folder) else None,
        pooling=pooling_of(folder),
        stamp={
            one.name: (one.stat().st_size, one.stat().st_mtime_ns) for one in files if one.is_file()
        },
    )


def check(tools: Tools, base: Side, variant: Side) -> None:
    """Refuse two models that cannot be set beside each other.

    Raises:
        UsageError: one is an encoder, or they cut text into different tokens.
    """
    del tools
    if base.ending != variant.ending:
        raise UsageError(
            f"{base.architecture} and {variant.architecture} do not answer the same question",
            fix="give a variant that was made of BASE",
        )
    first, second = (load_tokenizer(one.folder).get_vocab() for one in (base, variant))
    if first != second:
        raise UsageError(
            f"base and variant have other vocabularies: {len(first):,} and {len(second):,} tokens,"
            f" {len(first.items() & second.items()):,} alike",
            fix="give a variant that reads the same tokens as BASE",
        )


def read(
    tools: Tools,
    base: Side,
    given: Mapping[str, str],
    amounts: tuple[int, int, int],
    seed: int,
) -> tuple[tuple[Slice, ...], tuple[Probe, ...]]:
    """The slices of text, and decisions drawn from them.

    Args:
        tools: Its corpora serve where no text is given.
        base: Its tokenizer cuts the text.
        given: Name of a slice to its file.
        amounts: Tokens of a slice, decisions, and tokens read for each.
        seed: Of all draws.
    """
    tokens, count, context = amounts
    tokenizer = load_tokenizer(base.folder)
    longest = int(
        read_config(base.folder / "config.json").get("max_position_embeddings") or _WINDOW
    )
    slices = read_slices(
        given,
        tokenizer,
        tools.data,
        window=min(_WINDOW, longest),
        tokens=tokens,
        seed=seed,
        marked=base.ending is not None,
    )
    if base.ending is None:
        return slices, draw_decoder(slices, count, context, seed)
    return slices, draw_encoder(slices, count, context, seed, (base.ending, tokenizer))


def look(
    tools: Tools,
    side: Side,
    probes: Sequence[Probe],
    choices: Sequence[int] | None,
    stage: str,
) -> Attributed:
    """What a model's decisions rest on; for the stage `yardstick` computed in bfloat16."""
    model = open_model(side.folder, narrow=stage == "yardstick")
    return attribute(model, probes, side.about, choices, lambda share: tools.progress(stage, share))


def score(
    tools: Tools, base: Side, variant: Side, slices: Sequence[Slice], work: Path, key: str
) -> tuple[Scored, ...]:
    """What the variant loses on every slice."""

    def tell(half: int) -> Any:
        return lambda share: tools.progress("slices", (half + share) / 2)

    if base.ending is None:
        with Opened(open_model(base.folder)) as session:
            kept = keep_base(session, slices, work, key, tell(0))
        memory.release()
        with Opened(open_model(variant.folder)) as session:
            return score_decoder(session, kept, tell(1))
    tokenizer, about = load_tokenizer(base.folder), (base.ending, base.pooling)
    with Opened(open_model(base.folder)) as session:
        said = answer(session, slices, tokenizer, about, tell(0))
    memory.release()
    with Opened(open_model(variant.folder)) as session:
        return score_encoder(
            said, answer(session, slices, tokenizer, about, tell(1)), slices, base.ending
        )


def words(tools: Tools, base: Side, tokens: Sequence[Sequence[int]]) -> list[list[str]]:
    """Every token as what it adds to the text before it; the end of a line as a sign."""
    del tools
    tokenizer = load_tokenizer(base.folder)
    return [added(lambda part: str(tokenizer.decode(part)), row) for row in tokens]


def added(decode: Callable[[list[int]], str], row: Sequence[int]) -> list[str]:
    """What each token of a text adds to it.

    Alone, many tokens lose the space before their word. A token that is a part of a letter
    stands for itself.

    >>> known = {1: "Tim", 2: " ran", 3: "\\n"}
    >>> added(lambda part: "".join(known[one] for one in part).strip(" "), [1, 2, 3])
    ['Tim', ' ran', '⏎']
    """
    found, before = [], ""
    for i, token in enumerate(row):
        whole = decode(list(row[: i + 1]))
        piece = whole[len(before) :] if whole.startswith(before) else decode([token])
        found.append(piece.replace("\n", "⏎"))
        before = whole
    return found
