"""Whether a machine has the memory for a job, said before the job begins."""

from __future__ import annotations

from collections.abc import Sequence

import psutil

from negawatt.core.errors import RuntimeUnavailable
from negawatt.models.source import ModelSource

#: Share of the free memory that hidden states may take before they go to disk.
STATES = 0.1
#: What transformers holds while it loads an artifact, in sizes of the 16-bit weights.
RELOADING = 2.5
#: What engines, and transforms in single precision, hold, in the same.
WHOLE = 3.0
_LIBRARIES = 600_000_000  # bytes of a worker before it touches a model, about


def free_memory() -> int:
    """Memory that could be used now. [B]"""
    return int(psutil.virtual_memory().available)


def states_room() -> int:
    """Of that, what hidden states may take. [B]"""
    return int(STATES * free_memory())


def check_memory(
    needed: int, source: ModelSource, whole: tuple[Sequence[str], Sequence[str]]
) -> None:
    """Refuse what this machine cannot hold.

    Args:
        needed: By rounding and grading, beside the libraries. [B]
        source: The model.
        whole: Names of transforms, and of engines that get an artifact: both hold all weights.

    Raises:
        RuntimeUnavailable: with the way out.
    """
    free = free_memory()
    if needed + _LIBRARIES > free:
        raise RuntimeUnavailable(
            f"rounding {source.origin} block by block takes {needed / 1e9:.1f} GB beside the "
            f"libraries, and {free / 1e9:.1f} GB are free",
            fix="free some memory, or use a machine with more; fewer blocks would not help",
        )
    transforms, engines = whole
    names = [*transforms, *engines]
    size = int(WHOLE * source.bf16_bytes)
    if names and size + _LIBRARIES > free:
        option = "--transform" if transforms else "--as"
        raise RuntimeUnavailable(
            f"{names[0]} holds all weights of {source.origin}, about {size / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free",
            fix=f"leave {names[0]} out of {option}; rounding and --as huggingface hold a block at a time",
        )
