"""The headline says no more than the intervals support."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from outcome_sample import sample_outcome

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.outcome import Outcome, Point
from negawatt.core.records import Decision
from negawatt.reports import verdict, view
from negawatt.reports.figures import Sources


@pytest.fixture
def outcome() -> Outcome:
    return sample_outcome()


def _with_chosen(outcome: Outcome, **change: Any) -> Outcome:
    point = view.chosen(outcome)
    points: tuple[Point, ...] = tuple(
        replace(p, **change) if p is point else p for p in outcome.points
    )
    return replace(outcome, points=points)


def _ratio(low: float, value: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, unit="1", kind=Kind.MEASURED, source="test")


def test_a_resolved_gain_is_in_the_headline_and_certain(outcome: Outcome) -> None:
    assert "66 % below the reference and 10 % below uniform int8" in verdict.headline(outcome)
    sure, _ = verdict.certainties(outcome)
    assert any("uniform int8: 0.903" in line for line in sure)


def test_an_unresolved_gain_is_not_claimed(outcome: Outcome) -> None:
    even = _with_chosen(outcome, cpu_vs_int8=_ratio(0.95, 0.99, 1.02))

    assert "not shown to differ from uniform int8" in verdict.headline(even)
    sure, unsure = verdict.certainties(even)
    assert not any("int8" in line for line in sure)
    assert any("int8" in line for line in unsure)


def test_a_loss_is_told_as_a_loss(outcome: Outcome) -> None:
    dearer = _with_chosen(outcome, cpu_vs_int8=_ratio(1.1, 1.2, 1.3))
    assert "20 % above uniform int8" in verdict.headline(dearer)


def test_without_pairs_nothing_is_compared(outcome: Outcome) -> None:
    alone = _with_chosen(outcome, cpu_vs_int8=None, cpu_vs_reference=None)
    assert "CPU time was not compared" in verdict.headline(alone)
    assert len(verdict.claims(alone, Sources())) == 2


def test_modelled_joules_and_failed_checks_are_reservations(outcome: Outcome) -> None:
    _, unsure = verdict.certainties(outcome)
    assert any(line.startswith("Joules are modelled") for line in unsure)
    assert any("frugal search converged" in line for line in unsure)


def test_measured_joules_are_no_reservation(outcome: Outcome) -> None:
    measured = replace(view.chosen(outcome).energy, kind=Kind.MEASURED)
    _, unsure = verdict.certainties(_with_chosen(outcome, energy=measured))
    assert not any("Joules" in line for line in unsure)


@pytest.mark.parametrize(
    ("low", "value", "high", "words"),
    [
        (0.001, 0.005, 0.009, "the whole interval is within"),
        (0.001, 0.009, 0.02, "its interval reaches beyond"),
        (0.001, 0.011, 0.02, "over the budget of 1 %"),
    ],
)
def test_a_loss_is_placed_against_the_budget(
    low: float, value: float, high: float, words: str
) -> None:
    assert words in verdict.within(_ratio(low, value, high), 0.01)


def test_a_decision_without_its_variant_is_refused(outcome: Outcome) -> None:
    lost = replace(outcome, decision=Decision("nowhere", "because"))
    with pytest.raises(UsageError, match="no such variant"):
        verdict.headline(lost)


def test_every_claim_has_interval_kind_and_source(outcome: Outcome) -> None:
    sources = Sources()
    claims = verdict.claims(outcome, sources)
    listed = {source.mark: source for source in sources.listed()}
    assert len(claims) == 4
    for claim in claims:
        assert claim.figure.interval
        assert listed[claim.figure.mark].kind == claim.figure.kind
        assert listed[claim.figure.mark].source
