"""From what was asked of `negawatt prune` to what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import wiring
from negawatt.wiring.asked import settings_of, tools_for

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Progress
    from negawatt.compress.pruned import Pruned


def prune(  # noqa: PLR0913  # as many choices as the command has
    model: str,
    *,
    ffn: str | float = 1.0,
    blocks: int | None = None,
    heads: str | float = 1.0,
    vocabulary: Path | str | int | None = None,
    importance: str = "wanda",
    heal: str | None = None,
    how: str = "weights",
    states: float = 0.0,
    out: Path | None = None,
    text: str | None = None,
    task: Path | str | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Pruned:
    """Take channels, heads, blocks and tokens out of `model`, and tell what that loses and saves.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        ffn: Inner channels of every feed-forward part that stay: a share, or "75%".
        blocks: Blocks that stay; all when None.
        heads: Attention heads of every block that stay: a share, or "67%".
        vocabulary: A text whose tokens stay, or how many tokens; all when None.
        importance: Name of a rule for channels and heads: "magnitude", "wanda", "second-order"
            or "gradient".
        heal: How long the base teaches what is left: "5m", "2Wh"; not at all when None.
            Of an energy, all joules of learning count, those of the machine at rest included.
        states: Weight of the base's hidden states beside its answers then.
        how: What moves then: "weights", or "lora" for small matrices beside them.
        out: Folder for what is written and kept; made from the model's name when None.
        text: Calibration and evaluation text; what `optimize` takes when None.
        task: Labelled examples for an encoder, as for `quantise`.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.seed": "1"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = settings_of(flags)
    from negawatt.actions.prune.job import prune as run
    from negawatt.actions.prune.steps import Wish
    from negawatt.actions.prune.tokens import digest_of
    from negawatt.compress.pruned import Cut, share_of
    from negawatt.core import registry
    from negawatt.reports import cards
    from negawatt.tune.budget import Budget
    from negawatt.tune.lesson import Lesson

    registry.load(registry.IMPORTANCES, importance)  # refused before any work is done
    digest_of(None if vocabulary is None else str(vocabulary))  # likewise
    budget = None if heal is None else Budget.parse(heal)
    if budget is not None:
        Lesson(how, budget, settings.run.seed, states)  # likewise
    wish = Wish(
        model=model,
        cut=Cut(
            share_of(ffn),
            blocks,
            importance,
            share_of(heads, "--heads"),
            None if vocabulary is None else str(vocabulary),
        ),
        out=out or wiring.default_out(model),
        heal=budget,
        how=how,
        states=states,
        text=text,
        seed=settings.run.seed,
        task=None if task is None else Path(task),
    )
    found = run(wish, tools_for(model, settings, progress))
    facts = cards.of_pruned(found, settings.carbon.intensity)
    cards.write(facts, wish.out, {"model": found.folder})
    return found
