"""From what was asked of `negawatt endpoint` to what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from negawatt import wiring
from negawatt.core import registry
from negawatt.core.errors import UsageError
from negawatt.wiring.asked import at_work, forms_at, settings_of

if TYPE_CHECKING:
    from negawatt.actions.endpoint import Served
    from negawatt.actions.optimize.order import Progress
    from negawatt.core.protocols import Endpoint

KEY = "NEGAWATT_ENDPOINT_KEY"
_FEWEST = 128  # tokens from which an interval can be told


def endpoint(  # noqa: PLR0913  # as many choices as the command has
    address: str,
    *,
    base: str,
    model: str = "",
    kind: str = "vllm",
    tokens: int = 4096,
    max_loss: float = 0.01,
    text: str | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Served:
    """Tell how well and how fast a running server serves a variant of `base`.

    The key of the server, if it asks for one, is read from `NEGAWATT_ENDPOINT_KEY`.

    Args:
        address: Of the server, such as `http://127.0.0.1:8000`.
        base: What it is compared with: a Hugging Face folder or hub id, a .gguf file, or
            `package:NAME`. Its tokenizer has to be that of the served model.
        model: Which of the served models; the only one when empty.
        kind: Name of an endpoint that is registered.
        tokens: Scored.
        max_loss: What the served model may lose. [1]
        text: What is scored; corpora or Python's own manual when None.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.workload": "chat"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    if tokens < _FEWEST:
        raise UsageError(f"{tokens} tokens are too few", fix=f"score at least {_FEWEST}")
    settings = settings_of(flags)
    door: Endpoint = registry.build(
        registry.ENDPOINTS, kind, address, model=model, key=os.environ.get(KEY, "")
    )
    from negawatt.actions.endpoint import compare_served
    from negawatt.actions.optimize.order import Order

    order = Order(
        model=base,
        max_loss=max_loss,
        workload=settings.run.workload,
        out=forms_at(base, settings),
        seed=settings.run.seed,
        text=text,
    )
    tools = wiring.reading_tools(settings, progress)
    with at_work(order, tools) as (work, source):
        return compare_served(order, tools, work, source, (door, tokens))
