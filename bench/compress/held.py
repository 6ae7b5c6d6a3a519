"""Values that lie on a grid, as the codes they came from, so that an engine can run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import safe_open

from negawatt.compress.quantise import dequantise, pack, safe
from negawatt.core.records import Format, QuantisedWeight

BLOCK = 32  # weights that share a scale in the engine
ON_GRID = 0.02  # relative error above which values are not those of the codes
_ROW_SPANS = (127.0, 127.5, 128.0)  # steps from zero to the extreme, as tools count them


def served(name: str) -> Format:
    """The engine's format that holds what was made in another one of the same width.

    >>> served("int4-g32-sym").name, served("int8-row-sym").name
    ('int4-g32-sym', 'int8-g32-sym')
    """
    bits = Format.parse(name).bits
    return Format(16) if bits == 16 else Format(bits, BLOCK)


def codes_of(values: torch.Tensor, fmt: Format) -> tuple[QuantisedWeight, float]:
    """The codes that values stand on, and what is lost by holding them so.

    A narrow block is tried with every number of steps that its extreme may be from zero, a wide
    one with the scale of its row and with one of its own.

    Args:
        values: float32, [rows, cols].
        fmt: Symmetric, with blocks of `BLOCK`.

    Returns:
        The codes, and the root mean square of the difference over that of the values.
    """
    blocks = values.reshape(len(values), -1, BLOCK)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))  # [rows, blocks, 1]
    half = 2 ** (fmt.bits - 1)
    if fmt.bits < 8:
        scales = [extreme / -steps for steps in range(1, half + 1)]
    else:
        widest = values.abs().amax(1)[:, None, None].expand_as(extreme)
        scales = [widest / span for span in _ROW_SPANS] + [extreme.abs() / (half - 1)]
    best = torch.full(extreme.shape, torch.inf)
    scale = torch.ones_like(best)
    for one in map(safe, scales):
        codes = torch.round(blocks / one).clamp(-half, half - 1)
        error = (codes * one - blocks).square().sum(-1, keepdim=True)
        # The fewest steps that do: what lies on a grid lies on every finer one as well.
        better = error < 0.98 * best
        best, scale = torch.where(better, error, best), torch.where(better, one, scale)
    codes = torch.round(blocks / scale).clamp(-half, half - 1) + half
    zero = torch.full_like(scale[..., 0], float(half))
    found = pack(codes.reshape(values.shape), scale[..., 0], zero, fmt)
    lost = (dequantise(found) - values).square().mean() / values.square().mean()
    return found, float(lost.sqrt())


class Held(Mapping[str, QuantisedWeight]):
    """The layers of a tool's plan as codes, made when they are asked for.

    Args:
        file: Its values.
        plan: Format of each layer that it has values of.
        rest: Everything else, as ours are.
    """

    def __init__(
        self, file: Path, plan: Mapping[str, Format], rest: Mapping[str, QuantisedWeight]
    ) -> None:
        self._file, self._rest = file, rest
        self._plan = {name: fmt for name, fmt in plan.items() if fmt.bits < 16}
        self.lost = 0.0  # the most of any layer that has been asked for [1]

    def __getitem__(self, name: str) -> QuantisedWeight:
        if name not in self._plan:
            return self._rest[name]
        with safe_open(self._file, framework="pt") as file:
            values = file.get_tensor(f"{name}.weight").float()
        found, lost = codes_of(values, self._plan[name])
        self.lost = max(self.lost, lost)
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self._plan
        yield from (name for name in self._rest if name not in self._plan)

    def __len__(self) -> int:
        return sum(1 for _ in self)
