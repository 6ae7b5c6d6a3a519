"""llama.cpp as a library: started once, quiet, its complaints kept for error messages."""

from __future__ import annotations

import ctypes
import hashlib
from collections import deque
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp

#: The C interface. The package declares every function, but not in a form type checkers read.
api: Any = llama_cpp

_WARNING, _CONTINUED = 3, 5  # levels of a message; the second goes on with the last one
_MAPS = Path("/proc/self/maps")  # where Linux lists what is loaded
_COMPLAINTS: deque[str] = deque(maxlen=8)


@api.llama_log_callback  # type: ignore[untyped-decorator]  # of an untyped package
def _listen(level: int, text: bytes | None, _: Any) -> None:
    """Keep what goes wrong, and pass nothing on to the terminal."""
    if _WARNING <= level < _CONTINUED and text:
        _COMPLAINTS.append(text.decode(errors="replace").strip())


@cache
def start() -> None:
    """Start the engine; calls after the first do nothing."""
    api.llama_log_set(_listen, ctypes.c_void_p(0))
    api.llama_backend_init()


def complaint() -> str:
    """The last thing the engine complained about."""
    return _COMPLAINTS[-1] if _COMPLAINTS else "the engine gave no reason"


def version() -> str:
    """The version of the package, and a mark of how this copy was built.

    The same version built for other instructions runs at another speed, so what
    is measured with one build is not taken for another.
    """
    built = hashlib.sha256(bytes(api.llama_print_system_info())).hexdigest()
    return f"{llama_cpp.__version__}-{built[:8]}"


def library(name: str) -> ctypes.CDLL:
    """One of the shared libraries that the package brings: `ggml`, `ggml-base`, `ggml-cpu`.

    A wheel holds each of them several times, as files of several names. Only the one
    that the engine itself has loaded shares its state.

    Raises:
        OSError: this build has none of that name.
    """
    folder = Path(llama_cpp.__file__).parent / "lib"
    names = {name, f"lib{name}"}
    found = sorted(p for p in folder.glob(f"*{name}.*") if p.name.split(".")[0] in names)
    if not found:
        raise OSError(f"{folder} holds no library {name}")
    loaded = _MAPS.read_text(encoding="utf-8").splitlines() if _MAPS.is_file() else []
    mine = [p for p in found if any(line.endswith(f" {p}") for line in loaded)]
    return ctypes.CDLL(str((mine or found)[0]))
