"""llama.cpp as a library: loaded when used, quiet, its complaints kept for error messages."""

from __future__ import annotations

import ctypes
import hashlib
from collections import deque
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from negawatt.core.errors import RuntimeUnavailable

PACKAGE = "llama-cpp-python"
TESTED = "0.3.36"  # the version whose structures are known
_WARNING, _CONTINUED = 3, 5  # levels of a message; the second goes on with the last one
_MAPS = Path("/proc/self/maps")  # where Linux lists what is loaded
_KEPT = 8  # complaints


def installed() -> str:
    """The version of the package, without loading it.

    Raises:
        RuntimeUnavailable: it is not installed.
    """
    try:
        return version_of(PACKAGE)
    except PackageNotFoundError as error:
        raise RuntimeUnavailable(
            f"the runtime llamacpp needs the package {PACKAGE}, which is not installed",
            fix="pip install 'negawatt[llamacpp]'; it is built from source, which takes a "
            "compiler, CMake and some minutes",
        ) from error


@cache
def api() -> Any:
    """The engine's C interface, started and quiet.

    Raises:
        RuntimeUnavailable: it is not installed, or its library does not load here.
    """
    installed()
    try:
        engine: Any = import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:
        raise RuntimeUnavailable(
            f"llama.cpp does not load: {error}",
            fix=f"build it anew: pip install --no-cache-dir --force-reinstall {PACKAGE}",
        ) from error
    engine.negawatt_listener = engine.llama_log_callback(_listen)  # it must not be collected
    engine.llama_log_set(engine.negawatt_listener, ctypes.c_void_p(0))
    engine.llama_backend_init()
    return engine


def filled(settings: Any, **values: Any) -> Any:
    """One of the engine's structures with some fields set.

    An attribute that ctypes knows no field for is kept beside the structure, and the engine
    never hears of it; versions of the engine rename fields.

    Raises:
        RuntimeUnavailable: this version has no such field.
    """
    known = {name for name, *_ in settings._fields_}
    for name, value in values.items():
        if name not in known:
            raise RuntimeUnavailable(
                f"{PACKAGE} {installed()} has no setting {name}",
                fix=f"pip install '{PACKAGE}=={TESTED}'",
            )
        setattr(settings, name, value)
    return settings


@cache
def _complaints() -> deque[str]:
    """The last things the engine complained about, the newest last."""
    return deque(maxlen=_KEPT)


def _listen(level: int, text: bytes | None, _: Any) -> None:
    """Keep what goes wrong, and pass nothing on to the terminal."""
    if _WARNING <= level < _CONTINUED and text:
        _complaints().append(text.decode(errors="replace").strip())


def complaint() -> str:
    """The last thing the engine complained about."""
    return _complaints()[-1] if _complaints() else "the engine gave no reason"


def version() -> str:
    """The version of the package, and a mark of how this copy was built.

    The same version built for other instructions runs at another speed, so what
    is measured with one build is not taken for another.
    """
    built = hashlib.sha256(bytes(api().llama_print_system_info())).hexdigest()
    return f"{installed()}-{built[:8]}"


def library(name: str) -> ctypes.CDLL:
    """One of the shared libraries that the package brings: `ggml`, `ggml-base`, `ggml-cpu`.

    A wheel holds each of them several times, as files of several names. Only the one
    that the engine itself has loaded shares its state.

    Raises:
        OSError: this build has none of that name.
    """
    folder = Path(api().__file__).parent / "lib"
    names = {name, f"lib{name}"}
    found = sorted(p for p in folder.glob(f"*{name}.*") if p.name.split(".")[0] in names)
    if not found:
        raise OSError(f"{folder} holds no library {name}")
    loaded = _MAPS.read_text(encoding="utf-8").splitlines() if _MAPS.is_file() else []
    mine = [p for p in found if any(line.endswith(f" {p}") for line in loaded)]
    return ctypes.CDLL(str((mine or found)[0]))
