"""What is tried, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.decisions.when.rows import needed
from negawatt.signals.series import Series

Column = NDArray[np.float64]
Matrix = NDArray[np.float64]
Counts = NDArray[np.intp]

DAY_S = 86400.0
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Jobs:
    """Jobs as columns, counted in slots of a signal.

    Args:
        release: The slot each may begin with. [jobs]
        steps: How long each runs, in slots, which need not be whole. [jobs]
        deadline: The slot before which each has ended. [jobs]
        power_w: What each draws. [W], [jobs]
        source: Where they came from, for people.
        left_out: How many more there were, that reach beyond the signal or into a gap of it.
        grace: Slots after the deadline that may be used all the same, and then count as missed; 0
            but where a published study is followed that does so.

    Raises:
        UsageError: there is none, one has no length, or cannot end in time.
    """

    release: Counts
    steps: Column
    deadline: Counts
    power_w: Column
    source: str = ""
    left_out: int = 0
    grace: int = 0

    def __post_init__(self) -> None:
        if not len(self.release):
            raise UsageError(
                "there is no job to try",
                fix="give jobs whose windows, release to deadline, lie within the signal",
            )
        if not (self.steps > 0).all() or (self.power_w < 0).any():
            raise UsageError(
                "a job has no length, or a power below 0", fix="give durations above 0"
            )
        late = self.release + needed(self.steps) > self.deadline
        if late.any():
            raise UsageError(
                f"{int(late.sum())} of {len(late)} jobs cannot end before their deadline",
                fix="give more slack, or shorter jobs",
            )

    def __len__(self) -> int:
        return len(self.release)

    @property
    def room(self) -> Counts:
        """Slots from release to deadline, and those of grace. [jobs]"""
        return self.deadline - self.release + self.grace

    def some(self, which: NDArray[np.bool_] | Counts) -> Jobs:
        """A part of them, the others counted as left out."""
        release = self.release[which]
        return replace(
            self,
            release=release,
            steps=self.steps[which],
            deadline=self.deadline[which],
            power_w=self.power_w[which],
            left_out=self.left_out + len(self) - len(release),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One zone: what happened there, and what was said beforehand where that is on record.

    Args:
        actual: What happened; the score.
        recorded: What was forecast for each slot before it began, by whoever made the file; None
            where nobody did.
        revised: What was forecast in each slot for those after it, [slots, slots ahead]; None too.
        chooser: Another signal that slots are chosen by; the score stays that of `actual`.
    """

    actual: Series
    recorded: Column | None = None
    revised: Matrix | None = None
    chooser: Series | None = None

    @property
    def name(self) -> str:
        """The zone."""
        return self.actual.zone

    @property
    def chosen_by(self) -> Series:
        """The signal that is known, or foreseen, when a slot is chosen."""
        return self.actual if self.chooser is None else self.chooser

    @property
    def slots_a_day(self) -> int:
        """How many there are.

        Raises:
            UsageError: a day is no whole number of them.
        """
        slots = DAY_S / self.actual.step_s
        if slots != int(slots):
            raise UsageError(
                f"a day is no whole number of steps of {self.actual.step}",
                fix="give a signal in steps of 5, 15, 30 or 60 minutes",
            )
        return int(slots)
