"""A whole model rounded to nearest, one layer at a time, straight from its file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from negawatt.compress.quantise import round_to_nearest
from negawatt.core.records import Format, Layer, QuantisedWeight

_ROWS = 2048  # rounded at a time: rows do not depend on each other


class Rounded(Mapping[str, QuantisedWeight]):
    """Every layer of a plan as codes, made when it is asked for and then let go.

    Layers planned at 16 bits are left out: they stay as in the source.

    Args:
        model: A prepared folder.
        layers: Of the model; one that shares its weights says with which.
        plan: Format of every layer.
    """

    def __init__(self, model: Path, layers: Sequence[Layer], plan: Mapping[str, Format]) -> None:
        self._file = model / "model.safetensors"
        self._layers = {layer.name: layer for layer in layers}
        self._plan = {name: fmt for name, fmt in plan.items() if fmt.bits < 16}

    def __getitem__(self, name: str) -> QuantisedWeight:
        layer, fmt = self._layers[name], self._plan[name]
        with safe_open(self._file, framework="pt") as file:
            rows = file.get_slice(f"{layer.tied_to or name}.weight")
            parts = [
                round_to_nearest(rows[at : at + _ROWS].float(), fmt)
                for at in range(0, layer.rows, _ROWS)
            ]
        return QuantisedWeight(
            fmt,
            *(
                np.concatenate([np.asarray(getattr(part, what)) for part in parts])
                for what in ("codes", "scale", "zero")
            ),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._plan)

    def __len__(self) -> int:
        return len(self._plan)
