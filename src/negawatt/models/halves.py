"""Products of 16-bit numbers, where a processor has nothing quick for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def quick_halves() -> bool:
    """False on x86 without AVX-512, where products of 16 bits took 5 to 7 times those of 32.

    Widening the weights of a text's product takes a fifth of its time.
    """
    return torch.backends.cpu.get_cpu_capability() not in {"NO AVX", "AVX2"}


def reading_dtype() -> torch.dtype:
    """What texts are carried through a block in that is held for it alone."""
    return torch.bfloat16 if quick_halves() else torch.float32


def product(one: Tensor, other: Tensor) -> Tensor:
    """`one @ other` in their own type, computed in 32 bits where that is quicker.

    >>> half = torch.tensor([[1.5, 2.0]], dtype=torch.bfloat16)
    >>> product(half, half.T)
    tensor([[6.2500]], dtype=torch.bfloat16)
    """
    if one.dtype != torch.bfloat16 or quick_halves():
        return one @ other
    return (one.float() @ other.float()).to(one.dtype)
