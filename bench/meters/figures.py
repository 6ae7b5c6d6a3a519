"""From many timings to one figure with its spread, and from figures to a verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

OURS = "negawatt"


@dataclass(frozen=True)
class Row:
    """One thing that is measured of every tool.

    Args:
        key: Its name in the results.
        title: What is measured.
        unit: What is shown.
        scale: Shown value of one base unit (second, byte, share of one CPU).
        target: The most that ours may be, in base units; None where there is no target.
    """

    key: str
    title: str
    unit: str
    scale: float
    target: float | None


ROWS = (
    Row("import_s", "cold import", "ms", 1e3, 0.06),
    Row("import_bytes", "import memory", "MB", 1e-6, 10e6),
    Row("first_s", "first window", "ms", 1e3, 0.05),
    Row("again_s", "window, /proc read", "µs", 1e6, 50e-6),
    Row("plain_s", "window, no counter", "µs", 1e6, 50e-6),
    Row("sampling_share", "CPU at 10 Hz", "%", 100.0, 0.002),
)


@dataclass(frozen=True)
class Figure:
    """The middle of several runs, and the quarter of them below and above.

    >>> summarise([4.0, 1.0, 2.0, 3.0, 100.0])
    Figure(median=3.0, low=2.0, high=4.0, runs=5)
    """

    median: float
    low: float
    high: float
    runs: int


def summarise(values: Sequence[float]) -> Figure:
    """Median and quartiles; one run is its own spread.

    Raises:
        ValueError: there is no value, or one of them is negative.
    """
    if not values or min(values) < 0:
        raise ValueError(f"a figure needs values that are not negative, got {list(values)}")
    if len(values) == 1:
        return Figure(values[0], values[0], values[0], 1)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Figure(median(values), low, high, len(values))


def gather(answers: Iterable[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The figure of one tool in one row, or why it has none.

    Args:
        answers: What the probes wrote, one each.
        key: The row.
    """
    kept = list(answers)
    reasons = [answer["none"] for answer in kept if "none" in answer]
    if reasons:  # a tool that fails now and then has no figure either
        return {"none": reasons[0], "failed": len(reasons), "runs": len(kept)}
    values = [float(answer[key]) for answer in kept if key in answer]
    return asdict(summarise(values)) if values else {"none": "does not offer it"}


def verdict(row: Row, figure: Mapping[str, Any]) -> str:
    """`met`, `missed` or why it cannot be said, by the median."""
    if row.target is None:
        return "no target"
    if "median" not in figure:
        return "not measured"
    return "met" if figure["median"] <= row.target else "missed"


def shown(row: Row, figure: Mapping[str, Any]) -> str:
    """A figure in the row's unit with its spread; a dash when there is none."""
    if "median" not in figure:
        return "–"
    low, middle, high = (_digits(figure[end] * row.scale) for end in ("low", "median", "high"))
    return f"{middle} ({low} to {high})"


def _digits(value: float) -> str:
    """Three digits that count.

    >>> _digits(0.012345), _digits(1234.5), _digits(0.0)
    ('0.0123', '1230', '0')
    """
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def watts(report: Mapping[str, Any], wall_s: float, end: str = "joules") -> float | None:
    """Mean power that a tool's joules amount to; None when it reports none. [W]

    Args:
        report: What the tool said, with its own `seconds` when it gives them.
        wall_s: How long the work took by our clock, for a tool that gives none. [s]
        end: Which of its figures.

    >>> watts({"joules": 10.0, "seconds": 5.0}, wall_s=4.0)
    2.0
    """
    joules, seconds = report.get(end), report.get("seconds") or wall_s
    return None if joules is None or seconds <= 0 else joules / seconds
