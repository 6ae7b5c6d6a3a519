"""What back-tests come to: policies side by side, and published experiments done again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from negawatt.core.estimate import Estimate


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AwhileRow:
    """One rule, shape and forecast.

    Args:
        rule: "next-workday" or "semi-weekly".
        shape: "contiguous" or "interruptible".
        forecast: What was known.
        error: Deviation of the noise over the mean. [1]
        seeds: Over how many the saving is a mean.
        published: Saving by the published protocol; None where the forecast is none of its own. [1]
        saving: The same with deadlines kept. [1]
        low: Lower end of its interval, drawn over days. [1]
        high: Upper end. [1]
        spread: Standard deviation of `saving` over seeds. [1]
        late: Jobs that end after their deadline by the published protocol, mean over seeds.
        grams: Emitted by the published protocol, at 1 kW a job. [gCO2e]
    """

    rule: str
    shape: str
    forecast: str
    error: float
    seeds: int
    published: float | None
    saving: float
    low: float
    high: float
    spread: float | None
    late: float
    grams: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Awhile:
    """The study on one zone.

    Args:
        zone: Whose intensity.
        year: Of the jobs.
        jobs: How many.
        workdays: On how many days they were released.
        mean: Of the intensity from the first of January on. [gCO2e/kWh]
        shiftable: Part of the jobs that each rule leaves any slack. [1]
        slack_h: Mean slack by each rule. [h]
        rows: One for each rule, shape and forecast.
        notes: What to know when reading it.
    """

    zone: str
    year: int
    jobs: int
    workdays: int
    mean: float
    shiftable: dict[str, float]
    slack_h: dict[str, float]
    rows: tuple[AwhileRow, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """The study on one zone.

    Args:
        zone: Whose intensity.
        year: Of the jobs.
        error: Deviation of the noise over the mean. [1]
        windows_h: To either side. [h]
        intensity: For each window, over the nights that were run. [gCO2e/kWh]
        saving: Over the window of nothing. [1]
        published: The same where grams are divided by 365 nights, even if fewer were run. [1]
        nights: How many were run.
    """

    zone: str
    year: int
    error: float
    windows_h: tuple[float, ...]
    intensity: tuple[float, ...]
    saving: tuple[float, ...]
    published: tuple[float, ...]
    nights: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """One saving, by three ways of taking a mean, and in grams.

    Args:
        published: Mean over hours of the saving of all zones together. [1]
        low: Lower end of its 95 % interval, drawn over days. [1]
        high: Upper end. [1]
        pooled: All grams saved over all grams run now. [1]
        zones: Mean over zones, each counted alike. [1]
        grams: Mean over zones of what a kilowatt-hour saves. [gCO2e/kWh]
    """

    published: float
    low: float
    high: float
    pooled: float
    zones: float
    grams: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The study on some zones.

    Args:
        zones: Their names.
        left_out: Zones with gaps.
        hours: Length of the job. [h]
        slack_h: How much later it may begin; more than the signal holds is no limit. [h]
        starts: Releases in each zone.
        mean: Intensity over zones and time. [gCO2e/kWh]
        deferral: Of the lowest window.
        interruption: Of the cheapest hours, besides.
        foreseen: What is left of deferral by forecasts made of the past alone.
        lowest: The zone with the lowest mean.
        one_move_g: Saved by running in that zone always, mean over zones. [gCO2e/kWh]
        any_move_g: Saved by running wherever is lowest, hour by hour. [gCO2e/kWh]
        one_move: `one_move_g` over `mean`. [1]
        any_move: `any_move_g` over `mean`. [1]
        both: One move, then deferral and interruption there, over `mean`. [1]
        by_zone: Zone -> mean intensity [gCO2e/kWh], deferral [1], interruption [1].
    """

    zones: tuple[str, ...]
    left_out: tuple[str, ...]
    hours: float
    slack_h: float
    starts: int
    mean: float
    deferral: Means
    interruption: Means
    foreseen: dict[str, Means]
    lowest: str
    one_move_g: float
    any_move_g: float
    one_move: float
    any_move: float
    both: float
    by_zone: dict[str, tuple[float, float, float]]
