"""Which of the processes of one job on one node this one is."""

from __future__ import annotations

from collections.abc import Mapping

#: Where launchers say it: torchrun, accelerate and Lightning; Slurm; Open MPI; MPICH and Intel MPI.
VARIABLES = (
    "LOCAL_RANK",
    "SLURM_LOCALID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
)


def local_rank(environ: Mapping[str, str]) -> int:
    """The number of this process among those of its job on this node; 0 where nobody says.

    >>> local_rank({"LOCAL_RANK": "3", "SLURM_LOCALID": "0"}), local_rank({})
    (3, 0)
    """
    named = (environ.get(name, "").strip() for name in VARIABLES)
    return next((int(text) for text in named if text.isdecimal()), 0)
