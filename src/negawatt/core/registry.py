"""Adapters by name, through entry points: the only door to `adapters`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from negawatt.core.errors import RuntimeUnavailable, UsageError

METERS = "negawatt.meters"
RUNTIMES = "negawatt.runtimes"


def names(group: str) -> tuple[str, ...]:
    """Every adapter registered for a seam, ours and third-party, sorted.

    >>> {"openvino", "torch"} <= set(names(RUNTIMES))
    True
    """
    return tuple(sorted({point.name for point in entry_points(group=group)}))


def load(group: str, name: str) -> Callable[..., Any]:
    """The factory registered as `name`.

    Raises:
        UsageError: nothing of that name is registered.
        RuntimeUnavailable: it is registered, but what it needs is not installed.
    """
    for point in entry_points(group=group):
        if point.name == name:
            try:
                factory: Callable[..., Any] = point.load()
            except ImportError as error:
                raise RuntimeUnavailable(
                    f"{name} ({group}) needs {error.name or error}, which is not installed",
                    fix=f"pip install 'negawatt[{name}]'",
                ) from error
            return factory
    known = ", ".join(names(group)) or "none"
    raise UsageError(f"no {group} adapter is called {name!r}", fix=f"choose one of: {known}")
