"""A back-test as one HTML file that needs nothing but itself."""

from __future__ import annotations

from negawatt.decisions.backtests import Backtest
from negawatt.reports.figures import UNKNOWN, Sources, plain
from negawatt.reports.plots import backtests as drawing
from negawatt.reports.studies import percent
from negawatt.reports.webpage import render


def page(found: Backtest) -> str:
    """The whole back-test as HTML text."""
    sources = Sources()
    drawn = drawing.of_backtest(found)
    rows = [
        {
            "name": drawing.label(one.policy),
            "oracle": one.forecast == "oracle",
            "saving": sources.figure(one.saving, "savings", style="percent"),
            "cells": [
                plain(one.intensity),
                percent(one.kept, 1) if one.shape != "now" else UNKNOWN,
                percent(one.regret),
                f"{one.delay_h:.1f}",
                percent(one.moved, 0),
                str(one.missed),
            ],
        }
        for one in found.scores
    ]
    parts = [
        {
            "name": drawing.label(name),
            "cells": [percent(shares[part]) for part in ("efficiency", "time", "place", "variant")]
            + [percent(found.whole[name])],
        }
        for name, shares in found.parts.items()
    ]
    content = {
        "title": f"Policies tried in {found.zone}",
        "found": found,
        "rows": rows,
        "parts": parts,
        "plots": drawn,
    }
    return render("backtest.html", content, drawn, sources)
