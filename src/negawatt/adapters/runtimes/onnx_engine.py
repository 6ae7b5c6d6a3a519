"""ONNX Runtime and the library of its file format: loaded when used, silent."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.protocols import RunOptions

#: An entry of a session's settings by which sums of 8-bit products are whole everywhere.
EXACT_SUMS = ("session.x64quantprecision", "1")

_PACKAGES = ("onnxruntime", "onnx")
_ERRORS_ALONE = 3  # how grave a message must be to be written


def installed() -> str:
    """The engine's version, without loading it.

    Raises:
        RuntimeUnavailable: it or the library of its format is not installed.
    """
    for package in _PACKAGES:
        try:
            version(package)
        except PackageNotFoundError as error:
            raise RuntimeUnavailable(
                f"the runtime onnxruntime needs the package {package}, which is not installed",
                fix="pip install 'negawatt[onnxruntime]'",
            ) from error
    return version(_PACKAGES[0])


@cache
def engine() -> Any:
    """The engine. It reports nothing home and writes errors alone."""
    found: Any = import_module("onnxruntime")
    found.disable_telemetry_events()
    found.set_default_logger_severity(_ERRORS_ALONE)
    return found


@cache
def onnx() -> Any:
    """The library of the file format."""
    return import_module("onnx")


def settings(options: RunOptions) -> Any:
    """How a session is run.

    Threads that wait do not spin: they would be paid for and do nothing.
    """
    found = engine().SessionOptions()
    found.intra_op_num_threads = options.threads
    found.inter_op_num_threads = 1
    found.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without instructions for products of 8-bit codes, those of bytes with signed bytes are cut off
    # where both are large. This takes other, slower ones there, and changes nothing elsewhere.
    found.add_session_config_entry(*EXACT_SUMS)
    found.log_severity_level = _ERRORS_ALONE
    return found
