"""What the pictures show agrees with the outcome, whatever its shape."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from outcome_sample import sample_outcome

from negawatt.core.outcome import LayerChoice, Outcome
from negawatt.core.records import Format, Layer
from negawatt.reports import plots
from negawatt.reports.plots import accuracy, front, heat, parts, sensitivity


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return sample_outcome()


def test_a_whole_outcome_has_all_five_pictures_with_words_for_each(outcome: Outcome) -> None:
    drawn = plots.of_outcome(outcome)
    assert set(drawn) == {"front", "accuracy", "layers", "sensitivity", "parts"}
    for plot in drawn.values():
        assert plot.title
        assert plot.caption
        assert len(plot.alt) > 40
        json.dumps({"data": plot.traces, "layout": plot.layout}, allow_nan=False)


def test_an_empty_outcome_has_none(outcome: Outcome) -> None:
    bare = replace(
        outcome,
        layers=(),
        before=(),
        after=(),
        points=tuple(
            replace(p, predicted_energy=None, variant=replace(p.variant, quality=None))
            for p in outcome.points
        ),
    )
    assert plots.of_outcome(bare) == {}


def test_every_variant_stands_at_its_energy_and_loss(outcome: Outcome) -> None:
    plot = front.plot(outcome)
    assert plot is not None
    placed = {
        text.strip(): (x, y)
        for trace in plot.traces
        if "text" in trace
        for text, x, y in zip(trace["text"], trace["x"], trace["y"], strict=True)
    }
    for point in outcome.points:
        assert point.variant.quality is not None
        loss = 100 * point.variant.quality.loss.value
        assert placed[point.variant.name] == pytest.approx((point.energy.value, loss))


def test_the_pareto_line_only_descends(outcome: Outcome) -> None:
    plot = front.plot(outcome)
    assert plot is not None
    line = next(trace for trace in plot.traces if trace.get("name") == "Pareto front")
    assert line["x"] == sorted(line["x"])
    assert line["y"] == sorted(line["y"], reverse=True)
    assert len(line["x"]) == sum(point.on_front for point in outcome.points)


def test_error_bars_reach_the_ends_of_the_intervals(outcome: Outcome) -> None:
    plot = front.plot(outcome)
    assert plot is not None
    cloud = next(trace for trace in plot.traces if trace.get("name") == "uniform")
    energies = [p.energy for p in outcome.points if p.role == "uniform"]
    ends = [
        (x - minus, x + plus)
        for x, plus, minus in zip(
            cloud["x"], cloud["error_x"]["array"], cloud["error_x"]["arrayminus"], strict=True
        )
    ]
    assert ends == [pytest.approx((e.low, e.high)) for e in energies]


def test_the_near_view_holds_the_choice_and_the_far_view_all(outcome: Outcome) -> None:
    plot = front.plot(outcome)
    assert plot is not None
    near, far = plot.views.values()
    chosen = next(p for p in outcome.points if p.variant.name == outcome.decision.choice)
    assert near["xaxis.range"][0] < chosen.energy.value < near["xaxis.range"][1]
    assert far["xaxis.range"][1] >= max(p.energy.high for p in outcome.points)
    assert near["yaxis.range"][1] < far["yaxis.range"][1]


def test_one_variant_alone_can_be_drawn(outcome: Outcome) -> None:
    alone = replace(outcome, points=tuple(p for p in outcome.points if p.role == "searched")[1:2])
    plot = front.plot(alone)
    assert plot is not None
    for view in plot.views.values():
        low, high = view["xaxis.range"]
        assert low < high


def test_the_map_has_a_cell_for_every_layer_and_the_right_bits(outcome: Outcome) -> None:
    plot = heat.plot(outcome)
    assert plot is not None
    blocks, outside = (trace for trace in plot.traces if trace["type"] == "heatmap")
    assert blocks["y"] == ["q", "k", "v", "o", "gate", "up", "down"]
    assert blocks["x"] == list(range(30))
    assert outside["y"] == ["embed", "head"]
    for choice in outcome.layers:
        if choice.layer.block is not None:
            row = blocks["y"].index(heat.short(choice.layer))
            text = blocks["text"][row][choice.layer.block]
            assert text == str(Format.parse(choice.chosen).bits)
            assert choice.layer.name in blocks["customdata"][row][choice.layer.block]


def test_a_cell_tells_every_format_the_next_best_and_why(outcome: Outcome) -> None:
    plot = heat.plot(outcome)
    assert plot is not None
    choice = next(c for c in outcome.layers if c.layer.block == 3)
    story = plot.traces[0]["customdata"][0][3]
    for name in choice.energy:
        assert name in story
    assert f"next best: {choice.next_best}" in story
    assert choice.because.split()[0] in story


def _choice(name: str, block: int | None, chosen: str = "int8-row-sym") -> LayerChoice:
    return LayerChoice(
        Layer(name, "linear", 8, 8, block=block), chosen, {chosen: 0.1}, {chosen: 1e-6}, "bf16", "x"
    )


def test_experts_with_the_same_short_name_each_get_a_row(outcome: Outcome) -> None:
    choices = tuple(
        _choice(f"model.layers.{block}.mlp.experts.{expert}.up_proj", block)
        for block in range(2)
        for expert in range(3)
    )
    plot = heat.plot(replace(outcome, layers=choices))
    assert plot is not None
    assert plot.traces[0]["y"] == [f"mlp.experts.{n}.up" for n in range(3)]


def test_a_matrix_that_only_some_blocks_have_leaves_gaps(outcome: Outcome) -> None:
    choices = (_choice("m.layers.0.a.q_proj", 0), _choice("m.layers.1.a.k_proj", 1))
    plot = heat.plot(replace(outcome, layers=choices))
    assert plot is not None
    assert plot.traces[0]["z"] == [[0, None], [None, 0]]


def test_formats_of_one_width_keep_their_own_colours(outcome: Outcome) -> None:
    plot = heat.plot(outcome)
    assert plot is not None
    keys = {t["name"]: t["marker"]["color"] for t in plot.traces if t["type"] == "scatter"}
    assert len(set(keys.values())) == len(keys) == 3


def test_parts_stack_to_their_wholes(outcome: Outcome) -> None:
    plot = parts.plot(outcome)
    assert plot is not None
    before, after = (sum(trace["x"][n] for trace in plot.traces) for n in (0, 1))
    assert before == pytest.approx(sum(part.energy.value for part in outcome.before))
    assert after == pytest.approx(sum(part.energy.value for part in outcome.after))


def test_a_part_that_only_one_side_has_is_a_gap_on_the_other(outcome: Outcome) -> None:
    plot = parts.plot(replace(outcome, after=outcome.after[1:]))
    assert plot is not None
    assert plot.traces[0]["x"][1] is None


def test_sensitivity_takes_the_narrowest_harm_at_the_widest_cost(outcome: Outcome) -> None:
    plot = sensitivity.plot(outcome)
    assert plot is not None
    assert sum(len(trace["x"]) for trace in plot.traces) == len(outcome.layers)
    choice = outcome.layers[5]
    trace = next(t for t in plot.traces if t["name"] == choice.chosen)
    assert 1000 * choice.energy["int8-row-sym"] in trace["x"]
    assert 1000 * choice.sensitivity["int4-g128-sym"] in trace["y"]


def test_layers_that_a_logarithm_cannot_show_are_left_out(outcome: Outcome) -> None:
    flat = replace(outcome.layers[0], sensitivity=dict.fromkeys(outcome.layers[0].energy, 0.0))
    assert sensitivity.plot(replace(outcome, layers=(flat,))) is None
    plain = _choice("m.layers.0.a.q_proj", 0, "bf16")
    assert sensitivity.plot(replace(outcome, layers=(plain,))) is None


def test_the_worst_prediction_is_told(outcome: Outcome) -> None:
    plot = accuracy.plot(outcome)
    assert plot is not None
    worst = max(
        abs(p.predicted_energy.value / p.energy.value - 1)
        for p in outcome.points
        if p.predicted_energy
    )
    assert f"{100 * worst:.1f} % off" in plot.caption


def test_names_stand_on_their_own_side_of_the_line(outcome: Outcome) -> None:
    plot = accuracy.plot(outcome)
    assert plot is not None
    points = plot.traces[1]
    placed = {
        (place.startswith("top"), found > foretold)
        for place, foretold, found in zip(
            points["textposition"], points["x"], points["y"], strict=True
        )
    }
    assert placed == {(True, True), (False, False)}


def test_markup_in_names_is_literal(outcome: Outcome) -> None:
    point = outcome.points[-1]
    odd = replace(point, variant=replace(point.variant, name="<b>x</b> & y"))
    plot = front.plot(replace(outcome, points=(*outcome.points[:-1], odd)))
    assert plot is not None
    told = json.dumps(plot.traces)
    assert "<b>x</b>" not in told
    assert "&lt;b&gt;x&lt;/b&gt; &amp; y" in told
