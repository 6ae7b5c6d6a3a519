"""A recorded counter played back, for tests, demonstrations and arguments about old runs.

It is not registered as a source of meters: nothing finds it by itself, and its name says
`replay:` wherever its readings turn up.
"""

from __future__ import annotations

import bisect
import csv
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

from negawatt.core.clock import Clock, SystemClock
from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.quantities import Joules


class ReplayMeter:
    """An energy counter that repeats what another one said.

    Readings are interpolated. Playback starts at the first read, at the first recorded time.

    Args:
        times_s: When each reading was taken, increasing. [s]
        joules: The readings, never decreasing. [J]
        boundary: What the recorded counter included.
        name: Of the recording; `replay:` is put before it.
        clock: Whose seconds drive the playback.

    Raises:
        UsageError: fewer than two readings, or they run backwards.
    """

    def __init__(
        self,
        times_s: Sequence[float],
        joules: Sequence[float],
        *,
        boundary: str,
        name: str = "recording",
        clock: Clock | None = None,
    ) -> None:
        steps = [*pairwise(times_s)], [*pairwise(joules)]
        if (
            len(times_s) != len(joules)
            or len(times_s) < 2
            or any(after <= before for before, after in steps[0])
            or any(after < before for before, after in steps[1])
        ):
            raise UsageError(
                "a recording needs two or more readings, with times that rise and energies that "
                "never fall",
                fix="write one line `seconds,joules` for each reading, in order",
            )
        self._times, self._joules = list(times_s), list(joules)
        self._boundary, self._name = boundary, f"replay:{name}"
        self._clock = clock or SystemClock()
        self._started: float | None = None

    @classmethod
    def from_csv(cls, path: Path, *, boundary: str, clock: Clock | None = None) -> Self:
        """Read a file with the columns `seconds` and `joules`.

        Raises:
            MeterUnavailable: the file is missing, or a value in it is not a number.
            UsageError: the readings do not make a recording.
        """
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                rows = [
                    (float(row["seconds"]), float(row["joules"])) for row in csv.DictReader(lines)
                ]
        except (OSError, KeyError, ValueError) as error:
            raise MeterUnavailable(
                f"{path} is not a recording: {error}",
                fix="give a CSV file whose first line is `seconds,joules`",
            ) from error
        times, joules = [row[0] for row in rows], [row[1] for row in rows]
        return cls(times, joules, boundary=boundary, name=path.stem, clock=clock)

    @property
    def name(self) -> str:
        """`replay:` and the recording's name."""
        return self._name

    @property
    def boundary(self) -> str:
        """What the recorded counter included."""
        return self._boundary

    def energy(self) -> Joules:
        """What the recording says for the time that has passed since the first read.

        Raises:
            MeterUnavailable: the recording is over.
        """
        now = self._clock.monotonic()
        if self._started is None:
            self._started = now
        at = self._times[0] + now - self._started
        if at > self._times[-1]:
            raise MeterUnavailable(
                f"{self._name} ends after {self._times[-1] - self._times[0]:g} s",
                fix="measure a shorter window, or record a longer one",
            )
        right = max(1, bisect.bisect_left(self._times, at))
        t0, t1 = self._times[right - 1], self._times[right]
        j0, j1 = self._joules[right - 1], self._joules[right]
        return Joules(j0 + (j1 - j0) * (at - t0) / (t1 - t0))
