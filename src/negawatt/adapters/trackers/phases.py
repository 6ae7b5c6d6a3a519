"""The windows of a training run, opened and closed by somebody else's loop."""

from __future__ import annotations

from collections.abc import Callable

from negawatt.adapters.trackers.vocabulary import figures, flat
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Stretch

#: Makes a window of a name, not yet open; None where another rank of the node measures.
Measure = Callable[[str], Stretch | None]


class Phases:
    """Named windows that open, close and open again, with their figures added up.

    Args:
        measure: Makes the windows.
    """

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._open: dict[str, Stretch] = {}
        self._counts: dict[str, int] = {}
        self._sums: dict[str, dict[str, Estimate]] = {}

    def begin(self, name: str) -> None:
        """Open a window; one of that name whose end never came is dropped."""
        self._drop(name)
        window = self._measure(name)
        if window is not None:
            self._open[name] = window.start()

    def end(self, name: str) -> None:
        """Close the window and keep its figures; nothing when none is open."""
        window = self._open.pop(name, None)
        if window is None:
            return
        new = figures(window.stop().result)
        count = self._counts.get(name, 0)
        old = self._sums.get(name, {})
        # what was unknown in one window is unknown of their sum
        self._sums[name] = new if count == 0 else {k: old[k] + new[k] for k in old if k in new}
        self._counts[name] = count + 1

    def take(self, name: str) -> dict[str, float]:
        """Mean figures of a phase since they were last taken; empty when it never ended."""
        count, sums = self._counts.pop(name, 0), self._sums.pop(name, {})
        mean = {key: estimate.scaled(1 / count) for key, estimate in sums.items()}
        return flat(mean, f"{name}_")

    def is_open(self, name: str) -> bool:
        """True between begin and end."""
        return name in self._open

    def clear(self) -> None:
        """Close what a run that broke off left open, innermost first, and forget its figures."""
        for name in reversed(list(self._open)):
            self._drop(name)
        self._counts.clear()
        self._sums.clear()

    def _drop(self, name: str) -> None:
        window = self._open.pop(name, None)
        if window is not None:
            window.stop()
