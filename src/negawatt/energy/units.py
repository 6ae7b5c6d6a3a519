"""Which layers are decided together: those an engine can multiply as one.

Query, key and value read the same input, and so do gate and up. Kept in one
format they become one larger product, which costs less than its parts; so the
search gives them one choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from negawatt.core.records import Format, Layer

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIBLINGS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("gate_proj", "up_proj"),  # of a block, or of one expert
)


@dataclass(frozen=True, slots=True)
class Unit:
    """Layers with one choice; `name` is that of the first."""

    layers: tuple[Layer, ...]

    @property
    def name(self) -> str:
        """Of the first layer."""
        return self.layers[0].name

    @property
    def names(self) -> tuple[str, ...]:
        """Of every layer."""
        return tuple(layer.name for layer in self.layers)

    def candidates(self, formats: Iterable[Format]) -> tuple[Format, ...]:
        """The quantised formats whose groups divide the rows of every layer."""
        return tuple(
            fmt
            for fmt in formats
            if fmt.bits < 16 and all(fmt.fits(layer.cols) for layer in self.layers)
        )


def units(layers: Sequence[Layer]) -> tuple[Unit, ...]:
    """Put siblings of one block together, everything else alone, in execution order.

    >>> parts = ("q_proj", "k_proj", "v_proj", "o_proj")
    >>> block = [Layer(f"model.layers.0.self_attn.{p}", "linear", 8, 8, block=0) for p in parts]
    >>> [len(unit.layers) for unit in units(block)]
    [3, 1]
    """
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(_group_name(layer), []).append(layer)
    return tuple(Unit(tuple(group)) for group in _whole(groups))


def _group_name(layer: Layer) -> str:
    for family in _SIBLINGS:
        for suffix in family:
            if layer.name.endswith("." + suffix):
                return layer.name.removesuffix(suffix) + family[0]
    return layer.name


def _whole(groups: Mapping[str, list[Layer]]) -> Iterator[list[Layer]]:
    """Groups as they are when all siblings are there with one width, else their layers alone."""
    sizes = {family[0]: len(family) for family in _SIBLINGS}
    for name, group in groups.items():
        size = next((n for first, n in sizes.items() if name.endswith("." + first)), 1)
        if len(group) == size and len({layer.cols for layer in group}) == 1:
            yield group
        else:
            yield from ([layer] for layer in group)


def spread(plan: Mapping[str, Format], parts: Sequence[Unit]) -> dict[str, Format]:
    """A plan of units as a plan of layers."""
    return {name: plan[unit.name] for unit in parts for name in unit.names}
