"""From what was asked of `negawatt cache` to what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt.core.errors import UsageError
from negawatt.wiring.asked import at_work, forms_at, settings_of, tools_for

if TYPE_CHECKING:
    from negawatt.actions.caches import Caches
    from negawatt.actions.optimize.order import Progress

_FEWEST = 128  # tokens from which an interval can be told


def caches(  # noqa: PLR0913  # as many choices as the command has
    model: str,
    *,
    contexts: Sequence[int] = (128, 1024),
    tokens: int = 1024,
    max_loss: float = 0.01,
    text: str | None = None,
    out: Path | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Caches:
    """Tell what a key-value cache of 16, 8 and 4 bits loses, takes and holds when `model` writes.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        contexts: Tokens behind the written ones when their time is taken.
        tokens: Written for the loss, one at a time with every cache.
        max_loss: What a cache may add to the perplexity beside 16 bits. [1]
        text: What is written; corpora or Python's own manual when None.
        out: Folder for the engines' forms of the model; in the cache folder when None.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.runtime": "openvino"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    if tokens < _FEWEST or not contexts or min(contexts) < 1:
        raise UsageError(
            f"{tokens} tokens and contexts of {list(contexts)} cannot be measured",
            fix=f"give at least {_FEWEST} tokens and contexts of at least 1",
        )
    settings = settings_of(flags)
    from negawatt.actions.caches import Wish
    from negawatt.actions.caches import caches as compare
    from negawatt.actions.optimize.order import Order

    order = Order(
        model=model,
        max_loss=max_loss,
        workload=settings.run.workload,
        out=out or forms_at(model, settings),
        seed=settings.run.seed,
        threads=settings.run.threads,
        text=text,
    )
    tools = tools_for(model, settings, progress)
    with at_work(order, tools) as (work, source):
        return compare(order, tools, work, source, Wish(tuple(contexts), tokens))
