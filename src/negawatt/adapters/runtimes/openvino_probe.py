"""Try in a child process what could end the process that tries it.

On processors with AMX, OpenVINO 2026.4 was seen to die with SIGFPE when 16-bit
weights were multiplied on one thread. Nothing in Python can catch that, so the
first such attempt is made by somebody else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from negawatt.adapters.runtimes.openvino_graph import Single
from negawatt.core.codec import decode, encode
from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format

_CPUINFO = Path("/proc/cpuinfo")
_LIMIT = 600  # loading and two short passes of the largest model meant for this [s]


def is_risky(options: RunOptions, cpuinfo: Path = _CPUINFO) -> bool:
    """True when 16-bit weights on one thread may end the process here."""
    if options.threads != 1 or not cpuinfo.is_file():
        return False
    with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
        return any("amx_tile" in line.split() for line in lines if line.startswith("flags"))


def attempt(task: list[str], options: RunOptions) -> None:
    """Run `task` with `options` in a child process.

    Args:
        task: `["session", FOLDER]` or `["kernel", ROWS, COLS, FORMAT]`.
        options: Threads, precision and cache; in 32 bits where they are `Single`.

    Raises:
        RuntimeUnavailable: the child did not survive.
    """
    asked = [task, encode(options), isinstance(options, Single)]
    command = [sys.executable, "-m", __name__, json.dumps(asked)]
    child = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT, check=False
    )
    if child.returncode:
        raise RuntimeUnavailable(
            "OpenVINO does not survive 16-bit weights on one thread on this processor "
            f"(a trial ended with status {child.returncode})",
            fix="use two threads, or a form of the model with every matrix compressed",
        )


def main(argument: str) -> None:
    """What the child does: load, read eight tokens, write one where the model writes."""
    import numpy as np

    from negawatt.adapters.runtimes.openvino_encoder import OpenVinoEncoder
    from negawatt.adapters.runtimes.openvino_engine import openvino as ov
    from negawatt.adapters.runtimes.openvino_kernel import OpenVinoKernel
    from negawatt.adapters.runtimes.openvino_session import OpenVinoSession

    task, raw, single = json.loads(argument)
    options = decode(Single if single else RunOptions, raw)
    if task[0] == "session":
        core, graph = ov.Core(), Path(task[1])
        if not any(port.get_any_name() == "beam_idx" for port in core.read_model(graph).inputs):
            OpenVinoEncoder(core, graph, options, 0).forward(np.zeros((1, 8), np.int64))
            return
        with OpenVinoSession(core, graph, options, 0) as session:
            session.forward(np.zeros((1, 8), np.int64), keep=1)
            session.forward(np.zeros((1, 1), np.int64))
        return
    rows, cols, fmt = int(task[1]), int(task[2]), Format.parse(task[3])
    kernel = OpenVinoKernel(ov.Core(), rows, cols, fmt, copies=1, options=options)
    for rows_in in (8, 1):
        kernel.run(rows_in)


if __name__ == "__main__":
    main(sys.argv[1])
