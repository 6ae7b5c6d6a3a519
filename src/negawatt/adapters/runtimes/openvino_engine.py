"""Bring in OpenVINO without letting it report home."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Hide the reporting package while the engine loads.

    Importing OpenVINO sends a usage event unless the user once opted out. When
    its reporting package cannot be imported it falls back to a silent stub.
    """
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # documented way to block an import
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


with _without_telemetry():
    import openvino

__all__ = ["openvino"]
