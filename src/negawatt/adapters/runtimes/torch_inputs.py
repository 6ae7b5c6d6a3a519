"""Inputs of 8 bits, simulated: values are put on the levels that an engine's codes stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from negawatt.core.codec import decode, encode
from negawatt.core.records import InputGrid

_TOP = 255


def save_inputs(inputs: Mapping[str, InputGrid], path: Path) -> None:
    """Write how inputs are rounded, by layer name."""
    told = {name: encode(grid) for name, grid in inputs.items()}
    path.write_text(json.dumps(told), encoding="utf-8")


def read_inputs(path: Path) -> dict[str, InputGrid]:
    """What `save_inputs` wrote."""
    told = json.loads(path.read_text(encoding="utf-8"))
    return {name: decode(InputGrid, one) for name, one in told.items()}


def round_inputs(model: Any, inputs: Mapping[str, InputGrid]) -> None:
    """Have layers round what enters them."""
    for name, grid in inputs.items():
        model.get_submodule(name).register_forward_pre_hook(_hook(grid))


def _hook(grid: InputGrid) -> Any:
    factor = torch.tensor(grid.factor) if grid.factor else None

    def rounded(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        values = given[0].float()
        if factor is not None:
            values = values / factor
        codes = torch.round(values / grid.scale).add_(grid.zero).clamp_(0, _TOP)
        return (codes.sub_(grid.zero).mul_(grid.scale).to(given[0].dtype),)

    return rounded
