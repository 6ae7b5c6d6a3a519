"""When the search may count on a second look at the likeliest tokens, and what a reader is told.

See `Runtime.second_look`: a head in few bits chooses the tokens that come into question, and their
logits are computed again from the embedding, which holds the same matrix in more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from negawatt.actions.optimize.order import Order, Tools
from negawatt.core.protocols import Runtime
from negawatt.core.records import Format, Layer
from negawatt.models.source import ModelSource

_ENOUGH = 8  # bits of an embedding worth looking at


def reach_of(tools: Tools, order: Order, source: ModelSource) -> float | None:
    """How far below the top the engine will compute logits of a narrow head again. [nat]

    Under a limit on bytes head and embedding are rather kept once, in one format, and then
    there is nothing to look at.
    """
    shared = any(layer.tied_to for layer in source.layers)
    return tools.runtime.second_look if shared and order.max_size is None else None


def notes(plan: Mapping[str, Format], layers: Sequence[Layer], runtime: Runtime) -> list[str]:
    """That logits are computed twice, in a sentence; none where they are not.

    Args:
        plan: Of all layers.
        layers: Of the model.
        runtime: That serves it.
    """
    reach = runtime.second_look
    for layer in layers if reach is not None else ():
        if layer.tied_to is None:
            continue
        own, shared = plan[layer.name], plan[layer.tied_to]
        if own.bits < _ENOUGH <= shared.bits:
            told = (
                f"Second look: logits within {reach:g} nats of the likeliest token's are computed "
                f"again from the embedding, which has {shared.bits} bits where {layer.name} has "
                f"{own.bits}. Quality and time here are with it. Other programs that open the "
                "artifact or the exports do without it and lose more."
            )
            return [told]
    return []
