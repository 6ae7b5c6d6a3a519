"""`negawatt cache`: the key-value caches of every installed engine, on one model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from negawatt.actions.journal import Journal
from negawatt.actions.optimize.caches import CacheComparison, Question, compare_caches
from negawatt.actions.optimize.engines import build_uniform, gate, place_of
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.actions.optimize.plans import haven
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import Runtime
from negawatt.models.corpus import Tokens, split
from negawatt.models.load import load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.source import ModelSource

_VERSION = 1  # of the steps; results of another one are not reused
_WINDOW = 512  # tokens written into an empty cache, at most
_SPARE = 100  # positions that timing may write behind a context
_FEWEST = 64  # tokens of a side that is not looked at


@dataclass(frozen=True, slots=True)
class Caches:
    """What was found for every engine."""

    comparisons: tuple[CacheComparison, ...]
    refused: Mapping[str, str]  # engine -> why it has none
    text: str  # which was written


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for beside the order: contexts and tokens to write."""

    contexts: tuple[int, ...] = (128, 1024)
    tokens: int = 1024


def caches(order: Order, tools: Tools, work: Path, source: ModelSource, wish: Wish) -> Caches:
    """Compare the caches of every engine in `tools.engines` that offers a choice.

    The model runs with weights of 8 bits, rounded to nearest. No figure of an engine counts
    before its 16-bit logits are those of the reference.

    Args:
        order: Whose text, workload, threads, seed and loss count.
        tools: With the engines.
        work: Folder for what is kept.
        source: The prepared model.
        wish: How much to measure.

    Raises:
        RuntimeUnavailable: no engine offers a choice.
        TextError: the text is too short.
    """
    refused = {
        engine.name: "it offers no choice of the key-value cache"
        for engine in tools.engines
        if not engine.caches
    }
    left = [engine for engine in tools.engines if engine.caches]
    base = fingerprint(source.digest, source.off_grid, order.seed)
    asked = (order.workload.spec, order.threads, order.max_loss, wish)
    named = [f"{engine.name} {engine.version}" for engine in left]
    key = fingerprint(_VERSION, base, *asked, order.text, tools.machine_id, tools.versions, named)
    journal = Journal(work / "caches", key)
    if left:
        refused |= journal.step("gate", dict[str, str], lambda: gate(tools, work, source, base))
    windows, told = tools.workshop.call(_windows, tools, order, source, wish)
    found = []
    for engine in (one for one in left if one.name not in refused):

        def compare(engine: Runtime = engine) -> CacheComparison:
            tools.workshop.change(engine, model=source.folder)
            place = place_of(work, engine, base)
            return tools.workshop.call(_one, tools, engine, (order, source, place), windows, wish)

        try:
            found.append(journal.step(engine.name, CacheComparison, compare))
        except (UsageError, RuntimeUnavailable) as error:  # such as heads that are too narrow
            refused[engine.name] = error.what
    shutil.rmtree(work / "caches" / "variants", ignore_errors=True)
    if not found:
        why = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise RuntimeUnavailable(
            f"no installed engine lets its cache be chosen: {why}",
            fix="pip install 'negawatt[openvino]'",
        )
    return Caches(tuple(found), refused, told)


def _windows(tools: Tools, order: Order, source: ModelSource, wish: Wish) -> tuple[Tokens, str]:
    """Text to write, and which it is."""
    corpus = split(
        load_text(order.text, tools.data),
        load_tokenizer(source.folder),
        window=min(_WINDOW, wish.tokens, _longest(source.folder)),
        calibration_tokens=_FEWEST,
        selection_tokens=_FEWEST,
        test_tokens=wish.tokens,
        seed=order.seed,
    )
    return corpus.test, corpus.texts["test"]


def _one(
    tools: Tools,
    engine: Runtime,
    material: tuple[Order, ModelSource, Path],
    windows: Tokens,
    wish: Wish,
) -> CacheComparison:
    """One engine, with weights of 8 bits."""
    order, source, base = material
    fmt = haven(engine.formats)
    place = base.parent / "caches" / "variants" / f"{engine.name}-{fmt.name}"
    if not place.exists():
        build_uniform(engine, source, base, fmt, place)
    room = max(1, _longest(source.folder) - _SPARE)
    contexts = tuple(sorted({min(context, room) for context in wish.contexts}))
    question = Question(
        artifact=place,
        model=source.folder,
        format=fmt.name,
        windows=windows,
        contexts=contexts,
        threads=order.threads or 1,
        max_loss=order.max_loss,
        context=order.workload.prompt + order.workload.generate // 2,
    )
    return compare_caches(tools, engine, question)


def _longest(folder: Path) -> int:
    """Tokens the model was made for, where its configuration says so."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or 2**31)
