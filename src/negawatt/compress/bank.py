"""The weight bank: every candidate form of every layer, kept on disk.

The search looks at one layer at a time, so candidates are read when needed
and never held together. Reading goes through ordinary files rather than a
memory map: the pages then belong to the system's cache, not to this process.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from negawatt.core.errors import OutputError
from negawatt.core.records import Format, InputGrid, Layer, QuantisedWeight

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


_HEAD = 64  # bytes of padded JSON before the arrays


class WeightBank:
    """Candidates on disk, one file per layer and format.

    Codes take a byte each, whatever their bits: the search reads them many
    times, and unpacking would cost it more than the disk space is worth.

    Args:
        folder: Made on first use.
        tied: Layers that may take the codes of another one, whose weights they share in
            the source, where a plan has both in one format: an engine then keeps them once.
        inputs: How what enters layers is rounded when the model runs, where it is.
        plain: Codes of layers that are written here for inputs divided by factors, for when
            what enters them is not rounded and so not divided.
    """

    def __init__(
        self,
        folder: Path,
        tied: Mapping[str, str] | None = None,
        inputs: Mapping[str, InputGrid] | None = None,
        plain: WeightBank | None = None,
    ) -> None:
        self.folder, self.plain = folder, plain
        self.tied = dict(tied or {})
        self.inputs = dict(inputs or {})
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, layer: str, fmt: Format) -> Path:
        return self.folder / f"{layer}.{fmt.name}.bin"

    def has(self, layer: str, fmt: Format) -> bool:
        """True when this candidate was written completely."""
        return self._path(layer, fmt).exists()

    def put(self, layer: str, weight: QuantisedWeight) -> None:
        """Write one candidate; it appears whole or not at all.

        Raises:
            OutputError: the disk is full or the folder cannot be written.
        """
        codes = np.asarray(weight.codes)
        rows, cols = codes.shape
        scale, zero = np.asarray(weight.scale), np.asarray(weight.zero)
        head = json.dumps({"shape": [rows, cols], "groups": scale.shape[1]}).encode().ljust(_HEAD)
        path = self._path(layer, weight.format)
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(head)
                for part in (codes, scale, zero):
                    file.write(np.ascontiguousarray(part).data)
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise OutputError(
                f"cannot write {path.name}: {error.strerror}",
                fix="free some disk space or choose another --out folder, then run again",
            ) from error

    def get(self, layer: str, fmt: Format, rows: slice | None = None) -> QuantisedWeight:
        """Read one candidate, or some of its `rows`; `KeyError` when it was never put."""
        path = self._path(layer, fmt)
        if not path.exists():
            raise KeyError(f"{layer} was not prepared as {fmt.name}")
        with path.open("rb") as file:
            head = json.loads(file.read(_HEAD))
            (total, cols), groups = head["shape"], head["groups"]
            start, stop, _ = (rows or slice(None)).indices(total)
            zeros = np.float16 if fmt.has_minimum else np.uint8
            parts = ((cols, np.uint8), (groups, np.float16), (groups, zeros))
            arrays: list[NDArray[Any]] = []
            at = _HEAD
            for per_row, dtype in parts:
                size = per_row * np.dtype(dtype).itemsize
                file.seek(at + start * size)
                flat = np.fromfile(file, dtype=dtype, count=(stop - start) * per_row)
                arrays.append(flat.reshape(stop - start, per_row))
                at += total * size
        codes, scale, zero = arrays
        return QuantisedWeight(format=fmt, codes=codes, scale=scale, zero=zero)

    def view(self, plan: Mapping[str, Format], rounded: Collection[str] | None = None) -> BankView:
        """The candidates of one plan, read one at a time.

        Args:
            plan: Format of each layer.
            rounded: Layers whose inputs are rounded, of those that can be; all of them when None.
        """
        inputs = (
            self.inputs
            if rounded is None
            else {name: grid for name, grid in self.inputs.items() if name in rounded}
        )
        return BankView(self, plan, inputs)


class BankView(Mapping[str, QuantisedWeight]):
    """A lazy mapping from layer name to `QuantisedWeight` for one plan.

    Layers planned at 16 bits are left out: they stay as in the source.
    """

    def __init__(
        self, bank: WeightBank, plan: Mapping[str, Format], inputs: Mapping[str, InputGrid]
    ) -> None:
        self._bank = bank
        self.inputs = inputs  # how what enters layers is rounded
        self._plan = {name: fmt for name, fmt in plan.items() if fmt.bits < 16}

    def __getitem__(self, layer: str) -> QuantisedWeight:
        return self.part(layer, slice(None))

    def part(self, layer: str, rows: slice) -> QuantisedWeight:
        """Some rows of a layer; `KeyError` when the plan leaves it as it is."""
        fmt, other = self._plan[layer], self._bank.tied.get(layer, layer)
        plain = self._bank.plain
        if plain is not None and layer not in self.inputs and plain.has(layer, fmt):
            return plain.get(layer, fmt, rows)
        return self._bank.get(other if self._plan.get(other) == fmt else layer, fmt, rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._plan)

    def __len__(self) -> int:
        return len(self._plan)


def candidates(layer: Layer, formats: tuple[Format, ...]) -> tuple[Format, ...]:
    """The quantised formats whose groups divide this layer's rows."""
    return tuple(fmt for fmt in formats if fmt.bits < 16 and fmt.fits(layer.cols))
