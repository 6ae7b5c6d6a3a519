"""A window around every call of a function, whatever kind of function it is.

A coroutine function is measured until it returns, and a generator from its first item to its end,
what its reader does between two items included.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, aclosing
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

#: Makes a window, not yet open.
Opened = Callable[[], AbstractContextManager[object]]


def wrapped(function: Callable[P, R], window: Opened) -> Callable[P, R]:
    """The same function, every call of it in a window of its own.

    Args:
        function: A function, coroutine function, generator or asynchronous generator.
        window: Makes the window of one call.

    >>> from contextlib import nullcontext
    >>> def count(end):
    ...     yield from range(end)
    >>> list(wrapped(count, nullcontext)(3))
    [0, 1, 2]
    """
    kinds: tuple[tuple[Callable[[object], bool], Callable[[Any, Opened], Any]], ...] = (
        (inspect.iscoroutinefunction, _coroutine),
        (inspect.isasyncgenfunction, _asynchronous_generator),
        (inspect.isgeneratorfunction, _generator),
    )
    wrap = next((wrap for matches, wrap in kinds if matches(function)), _plain)
    return cast("Callable[P, R]", wrap(function, window))


def _plain(function: Callable[..., Any], window: Opened) -> Callable[..., Any]:
    @wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        with window():
            return function(*args, **kwargs)

    return measured


def _coroutine(function: Callable[..., Any], window: Opened) -> Callable[..., Any]:
    @wraps(function)
    async def measured(*args: Any, **kwargs: Any) -> Any:
        with window():
            return await function(*args, **kwargs)

    return measured


def _generator(function: Callable[..., Any], window: Opened) -> Callable[..., Any]:
    @wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with window():
            return (yield from function(*args, **kwargs))

    return measured


def _asynchronous_generator(function: Callable[..., Any], window: Opened) -> Callable[..., Any]:
    @wraps(function)
    async def measured(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        with window():
            async with aclosing(function(*args, **kwargs)) as items:
                async for item in items:
                    yield item

    return measured
