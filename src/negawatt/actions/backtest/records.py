"""What is tried, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one policy came to.

    Args:
        policy: Its name.
        shape: How it places a job.
        forecast: What it knew.
        intensity: Mean over the jobs' energy. [gCO2e/kWh]
        saving: `1 - grams / grams run now`, with its paired interval. [1]
        regret: Grams above the oracle of its shape, over grams run now. [1]
        kept: Part of that oracle's saving that it reached; None where that is nought. [1]
        missed: Jobs that ended after their deadline.
        blind: Jobs that ran at once because nothing was known.
        delay_h: Mean wait before the first slot. [h]
        spread: Standard deviation of the saving over seeds, where there are several. [1]
        moved: Part of the jobs that ran elsewhere. [1]
    """

    policy: str
    shape: str
    forecast: str
    intensity: float
    saving: Estimate
    regret: float
    kept: float | None
    missed: int
    blind: int
    delay_h: float
    spread: float | None = None
    moved: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """Policies side by side on the same jobs and the same signal.

    Args:
        zone: Where the jobs are released.
        basis: What its intensity is.
        unit: Of the signal.
        source: Of the signal.
        start: When it begins.
        end: When it ends.
        step_s: Length of a slot. [s]
        jobs: How many were tried.
        left_out: How many were not, as they reach beyond the signal or into a gap.
        jobs_from: Where they came from.
        duration_h: Mean. [h]
        slack_h: Mean of deadline less release less duration. [h]
        kwh: Energy of all. [kWh]
        scores: Run now first, the oracles last.
        parts: Policy -> part of the saving -> its share, adding up to `whole`. [1]
        whole: Policy -> saving with every change made, run now here being 1. [1]
        places: Where jobs may move, besides.
        chosen_by: The other signal that slots were chosen by; empty where they are one.
        daily: Policy -> day by day, grams over those of run now; for pictures.
        days: The days of `daily`.
        notes: What to know when reading it.
    """

    zone: str
    basis: str
    unit: str
    source: str
    start: datetime
    end: datetime
    step_s: float
    jobs: int
    left_out: int
    jobs_from: str
    duration_h: float
    slack_h: float
    kwh: float
    scores: tuple[Score, ...]
    parts: dict[str, dict[str, float]] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    chosen_by: str = ""
    daily: dict[str, tuple[float, ...]] = field(default_factory=dict)
    days: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
