"""Adapters by name, through entry points: the only door to `adapters`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any

from negawatt.core.errors import RuntimeUnavailable, UsageError

METERS = "negawatt.meters"
ENDPOINTS = "negawatt.endpoints"
RUNTIMES = "negawatt.runtimes"
QUANTISERS = "negawatt.quantisers"
TRANSFORMS = "negawatt.transforms"
IMPORTANCES = "negawatt.importances"
TRACKERS = "negawatt.trackers"
CALLBACKS = "negawatt.callbacks"
NOTEBOOKS = "negawatt.notebooks"
GRIDS = "negawatt.grids"
RUNNERS = "negawatt.runners"
FORMS = "negawatt.forms"  # how a loaded model is laid out, for every engine alike


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    """What is registered for a seam; asked once, because every installed package is looked at."""
    return tuple(entry_points(group=group))


def names(group: str) -> tuple[str, ...]:
    """Every adapter registered for a seam, ours and third-party, sorted.

    >>> {"openvino", "torch"} <= set(names(RUNTIMES))
    True
    """
    return tuple(sorted({point.name for point in _points(group)}))


def load(group: str, name: str) -> Callable[..., Any]:
    """The factory registered as `name`.

    Raises:
        UsageError: nothing of that name is registered.
        RuntimeUnavailable: it is registered, but what it needs is not installed.
    """
    for point in _points(group):
        if point.name == name:
            try:
                factory: Callable[..., Any] = point.load()
            except ImportError as error:
                raise _missing(group, name, error) from error
            return factory
    known = ", ".join(names(group)) or "none"
    raise UsageError(f"no {group} adapter is called {name!r}", fix=f"choose one of: {known}")


def build(group: str, name: str, *args: Any, **options: Any) -> Any:
    """Call the factory registered as `name`, which may import its library only then.

    Raises:
        UsageError: nothing of that name is registered, or it takes other options.
        RuntimeUnavailable: it is registered, but what it needs is not installed.
    """
    factory = load(group, name)
    try:
        signature(factory).bind(*args, **options)
    except TypeError as error:
        takes = ", ".join(signature(factory).parameters) or "none"
        raise UsageError(f"{name} ({group}): {error}", fix=f"its options are: {takes}") from error
    try:
        return factory(*args, **options)
    except ImportError as error:
        raise _missing(group, name, error) from error


def _missing(group: str, name: str, error: ImportError) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"{name} ({group}) needs {error.name or error}, which is not installed",
        fix=f"pip install 'negawatt[{name}]'",
    )
