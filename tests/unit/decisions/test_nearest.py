"""The quickest trial that is surely near enough."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trial_sample import trial

from negawatt.core.errors import BudgetUnreachable
from negawatt.decisions.nearest import chosen


def test_the_quickest_that_is_surely_near_enough_is_chosen() -> None:
    trials = [
        trial("wild", 0.0090, 0.50),
        trial("unsure", 0.0018, 0.60, off=0.0010),
        trial("good", 0.0019, 0.70, off=0.0001),
        trial("dear", 0.0001, 0.90),
    ]
    best, because = chosen(trials, 0.002)
    assert best.name == "good"
    assert "quickest of 2" in because
    assert "unsure would take 0.857 of its time and may be 0.00245 away" in because
    assert chosen(trials, 0.01)[0].name == "wild"


def test_times_that_are_one_leave_it_to_the_distance() -> None:
    trials = [trial("near", 0.001, 0.703), trial("far", 0.0015, 0.700)]
    assert chosen(trials, 0.002)[0].name == "near"


def test_without_timings_the_prices_decide() -> None:
    trials = [replace(trial(name, 0.001, 0.0), ratio=None, expected=cost) for name, cost in
              (("slow", 3e-3), ("quick", 2e-3))]  # fmt: skip
    assert chosen(trials, 0.002)[0].name == "quick"


def test_a_limit_below_all_trials_names_one_that_would_do() -> None:
    trials = [trial("all", 0.02, 0.5), trial("none", 0.00123, 1.0)]
    with pytest.raises(BudgetUnreachable, match="the nearest, none") as raised:
        chosen(trials, 0.0005)
    assert "--max-distance 0.0013" in raised.value.fix
    assert chosen(trials, 0.0013)[0].name == "none"
