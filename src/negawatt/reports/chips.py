"""An exploration of accelerators as one HTML file that needs nothing but itself."""

from __future__ import annotations

from typing import Any

from negawatt.energy.chips.exploration import Exploration
from negawatt.energy.chips.explore import Candidate, described
from negawatt.reports.figures import Sources, listing, plain
from negawatt.reports.plots import chips as drawn_chips
from negawatt.reports.webpage import render


def page(found: Exploration) -> str:
    """The whole exploration as HTML text."""
    sources = Sources()
    told = found.chosen
    figures = (
        ("energy", "J/token", told.joules),
        ("area of all dies", "mm²", told.area),
        ("time of a batch of requests", "s", told.seconds),
        ("mean power", "W", told.power),
        ("power of the step that draws most", "W", told.peak),
        ("making it", "kgCO2e", told.carbon),
    )
    drawn = drawn_chips.of_exploration(found)
    content = {
        "title": f"Accelerators for {listing(found.models)}",
        "found": found,
        "work": work_in_words(found),
        "limits": limits_in_words(found),
        "chosen": described(found.choice.design),
        "figures": [
            {"name": name, "unit": unit, "figure": sources.figure(value, name)}
            for name, unit, value in figures
        ],
        "kappa": sources.figure(found.overhead.factor, "overhead κ of whole chips"),
        "tau": sources.figure(found.stability.tau, "rank correlation"),
        "plots": drawn,
        "rows": [_row(one, found) for one in found.front],
    }
    return render("chips.html", content, drawn, sources)


def work_in_words(found: Exploration) -> str:
    """What the chip is for."""
    told = []
    for spec in found.workloads:
        prompt, generate, batch = spec.split(":")
        told.append(f"{prompt} tokens read and {generate} written, {batch} at once")
    return "; ".join(told)


def limits_in_words(found: Exploration) -> str:
    """What was allowed.

    Reticle and memory are limits of every exploration and not among them.
    """
    units = {"area": "mm²", "power": "W", "seconds": "s"}
    told = [f"{plain(value)} {units[name]}" for name, value in found.limits.items()]
    return f"at most {listing(told)}" if told else "no limits set"


def _row(one: Candidate, found: Exploration) -> dict[str, Any]:
    values = (one.joules, one.area, one.seconds, one.power, one.peak, one.carbon)
    return {
        "name": described(one.design),
        "chosen": one is found.choice,
        "cells": [plain(value) for value in values],
    }
