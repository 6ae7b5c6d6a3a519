"""The rows of the front hold what the points hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from outcome_sample import sample_outcome

from negawatt.core.outcome import Outcome
from negawatt.core.records import Format, Variant
from negawatt.reports import outside, view
from negawatt.reports.figures import UNKNOWN, Sources


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return sample_outcome()


def test_reference_and_base_lead_and_then_the_dearest(outcome: Outcome) -> None:
    points = view.ordered(outcome)
    assert [point.role for point in points[:2]] == ["reference", "base"]
    energies = [point.energy.value for point in points[2:]]
    assert energies == sorted(energies, reverse=True)


def test_exactly_the_decision_is_marked_chosen(outcome: Outcome) -> None:
    rows = view.rows(outcome, Sources())
    assert [row.name for row in rows if row.chosen] == [outcome.decision.choice]
    assert {row.name for row in rows if row.on_front} == {
        point.variant.name for point in outcome.points if point.on_front
    }


def test_flags_are_told_in_words(outcome: Outcome) -> None:
    flags = {row.name: row.flags for row in view.rows(outcome, Sources())}
    assert flags["searched-2"] == "chosen, on the front"
    assert flags["uniform int4"] == "on the front, over the quality budget"
    assert flags["torch bf16"] == ""


def test_mean_bits_count_scales_and_leave_unplanned_layers_at_sixteen(outcome: Outcome) -> None:
    bits = {row.name: row.bits for row in view.rows(outcome, Sources())}
    assert bits["torch bf16"] == "16"
    total = sum(choice.layer.weights for choice in outcome.layers)
    by_hand = sum(
        c.layer.weights * Format.parse("int8-row-sym").bits_per_weight(c.layer.cols)
        for c in outcome.layers
    )
    assert float(bits["uniform int8"]) == pytest.approx(by_hand / total, abs=0.005)


def test_seconds_are_shown_as_milliseconds(outcome: Outcome) -> None:
    (row,) = [r for r in view.rows(outcome, Sources()) if r.chosen]
    cost = view.chosen(outcome).variant.cost
    assert cost is not None
    assert row.decode_cpu is not None
    assert float(row.decode_cpu.text) == pytest.approx(1000 * cost.decode_cpu.value, rel=0.01)


def test_what_was_not_measured_is_unknown_and_not_zero(outcome: Outcome) -> None:
    bare = replace(outcome.points[0], variant=Variant("torch bf16", {}))
    rows = view.rows(replace(outcome, points=(bare, *outcome.points[1:])), Sources())
    row = rows[0]
    assert row.loss is row.decode_cpu is row.cloze is row.predicted is None
    assert (row.memory, row.threads, row.runtime, row.deviation) == (UNKNOWN,) * 4


def test_every_figure_of_every_row_leads_to_a_source(outcome: Outcome) -> None:
    sources = Sources()
    rows = view.rows(outcome, sources)
    marks = {source.mark for source in sources.listed()}
    figures = [
        value for row in rows for name in row.__slots__
        if hasattr(value := getattr(row, name), "mark")
    ]  # fmt: skip
    assert len(figures) > 90
    assert {figure.mark for figure in figures} <= marks


def test_a_million_tokens_outside_are_assumed_and_never_of_a_known_place(outcome: Outcome) -> None:
    shown = outside.rows(outcome, Sources())
    chosen = next(row for row in shown if row.chosen)
    energy = view.chosen(outcome).energy
    assert float(chosen.kwh.text) == pytest.approx(energy.value * 1e6 / 3.6e6, rel=0.01)
    assert chosen.kwh.kind == "modelled"
    assert chosen.grams.kind == "assumed"
    assert "place unknown" not in chosen.grams.estimate.boundary
    assert "Ember" in chosen.grams.estimate.source
