"""What is refused, and what is told, of a model and a plan; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from negawatt.core.errors import UsageError
from negawatt.core.protocols import Runtime
from negawatt.core.records import Format, Layer, Quality


def check_target(name: str, engine: Runtime, plan: Mapping[str, Format]) -> None:
    """Raise `UsageError` for a format that an engine does not execute."""
    for layer, fmt in plan.items():
        if fmt not in engine.formats:
            can = ", ".join(one.name for one in engine.formats)
            raise UsageError(
                f"{name} does not execute {fmt}, the format of {layer}",
                fix=f"choose among {can}, or leave {name} out of --as",
            )


def odd_shapes(asked: Format, plan: Mapping[str, Format], layers: Sequence[Layer]) -> list[str]:
    """Layers whose groups had to be smaller than was asked."""
    odd = [layer.name for layer in layers if layer.kind == "linear" and plan[layer.name] != asked]
    if not odd:
        return []
    kinds = sorted({plan[name].name for name in odd})
    together = f", {asked.nested} together" if asked.nested else ""
    told = (
        f"{len(odd)} layers, first {odd[0]}, do not divide into groups of {asked.group}{together}; "
        f"they are in {', '.join(kinds)}."
    )
    return [told]


def strange(base: Quality, layers: Sequence[Layer]) -> list[str]:
    """What to say of a model that knows less of the text than nothing."""
    tokens = next(layer.rows for layer in layers if layer.kind == "embedding")
    if base.perplexity.low <= tokens:
        return []
    told = (
        f"The 16-bit model has a perplexity of {base.perplexity.value:,.0f} on the text; guessing "
        f"among its {tokens:,} tokens has {tokens:,}. Its tokenizer may be another model's, or it "
        "is not trained."
    )
    return [told]
