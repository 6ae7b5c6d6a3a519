"""The pictures of a report, as plain Plotly descriptions that a page draws.

Colours are written `var(--name)`: the page resolves them from its style sheet,
so one description serves light, dark and print.
"""

from __future__ import annotations

from negawatt.core.outcome import Outcome
from negawatt.reports.plots import accuracy, front, heat, parts, sensitivity
from negawatt.reports.plots.plot import Plot

__all__ = ["Plot", "of_outcome"]


def of_outcome(outcome: Outcome) -> dict[str, Plot]:
    """Every picture that the outcome has the figures for, by name."""
    drawn = (
        front.plot(outcome),
        accuracy.plot(outcome),
        heat.plot(outcome),
        sensitivity.plot(outcome),
        parts.plot(outcome),
    )
    return {plot.name: plot for plot in drawn if plot is not None}
