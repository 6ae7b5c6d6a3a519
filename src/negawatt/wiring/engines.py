"""From what was asked of `negawatt engines` to what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt.wiring.asked import at_work, forms_at, settings_of, tools_for

if TYPE_CHECKING:
    from negawatt.actions.optimize.engines import Comparison
    from negawatt.actions.optimize.order import Progress

_ANY_LOSS = 0.01  # an order has one; a comparison has no use for it


def engines(
    model: str,
    *,
    out: Path | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Comparison:
    """Let every installed engine run `model` in turns, and tell which one takes least.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        out: Folder for the engines' forms of the model; in the cache when None.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.workload": "512:128:1"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = settings_of(flags)
    from negawatt.actions.optimize.engines import compare, state_race
    from negawatt.actions.optimize.order import Order

    order = Order(
        model=model,
        max_loss=_ANY_LOSS,
        workload=settings.run.workload,
        out=out or forms_at(model, settings),
        seed=settings.run.seed,
        threads=settings.run.threads,
    )
    tools = tools_for(model, settings, progress)
    with at_work(order, tools) as (work, source):
        state_race(tools, source)
        return compare(order, tools, work, source)
