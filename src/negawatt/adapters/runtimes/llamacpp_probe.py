"""Try this build of llama.cpp in a child process before trusting it with this one.

Some builds for processors with AMX die of an illegal instruction at the first
product of quantised weights (ggml-org/llama.cpp#20824, #26954). The packed forms
of the weights are what such a build gets wrong, so a build that dies with them is
tried again without them.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format

_LIMIT = 120  # for a few small products [s]
_ROWS, _COLS = 64, 512
SAFE_BUILD = (
    "CMAKE_ARGS='-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON "
    "-DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON' "
    "pip install --no-cache-dir --force-reinstall --no-binary llama-cpp-python llama-cpp-python"
)


@cache
def may_pack() -> bool:
    """True when this build survives its packed forms of weights; False when only plain ones.

    Raises:
        RuntimeUnavailable: it survives neither.
    """
    for extra in (True, False):
        command = [sys.executable, "-m", __name__, str(int(extra))]
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT, check=False
        )
        if child.returncode == 0:
            return extra
    raise RuntimeUnavailable(
        "this build of llama.cpp does not survive a product of quantised weights on this "
        f"processor (a trial ended with status {child.returncode})",
        fix=f"build it for other instructions, for example: {SAFE_BUILD}",
    )


def main(*, extra: bool) -> None:
    """What the child does: multiply in every format, one row and several."""
    from negawatt.adapters.runtimes.llamacpp_blocks import TYPES
    from negawatt.adapters.runtimes.llamacpp_kernel import LlamaKernel

    for fmt in (Format(16), *TYPES):
        kernel = LlamaKernel(_ROWS, _COLS, fmt, copies=1, options=RunOptions(), extra=extra)
        for rows_in in (1, 8):
            kernel.run(rows_in)


if __name__ == "__main__":
    main(extra=sys.argv[1] == "1")
