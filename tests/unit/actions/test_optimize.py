"""The whole job on a small model: what it leaves, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from job_sample import EFFORT, PacedRuntime, PacedSession, some_order, some_tools
from safetensors.torch import load_file
from small_decoder import layers_of

from negawatt import reports
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import STAGES, Order, Tools
from negawatt.actions.optimize.plans import divergence
from negawatt.actions.optimize.run import optimize
from negawatt.compress.export_huggingface import reload_check
from negawatt.core import registry
from negawatt.core.codec import decode, encode
from negawatt.core.errors import (
    BudgetUnreachable,
    NotAModel,
    NumericsGateFailed,
    OutputError,
    TextError,
    UsageError,
)
from negawatt.core.estimate import Kind
from negawatt.core.outcome import Outcome, Point
from negawatt.core.protocols import RunOptions, Session
from negawatt.core.records import Format
from negawatt.models.load import load_reference


class Cut(BaseException):
    """The plug is pulled. Nothing in the job can be expecting it."""


def job_of(order: Order, tools: Tools) -> OptimizeJob:
    work = order.out / "work"
    return OptimizeJob(order, tools, work, stages.prepared(tools, order, work))


def chosen(outcome: Outcome) -> Point:
    return next(p for p in outcome.points if p.variant.name == outcome.decision.choice)


def choice(outcome: Outcome) -> tuple[Any, ...]:
    """What two runs with the same seed must agree on."""
    point = chosen(outcome)
    return (
        outcome.decision.choice,
        encode(point.variant.plan),
        outcome.decision.because,
        round(point.cpu_vs_int8.value, 9) if point.cpu_vs_int8 else None,
        [(p.variant.name, encode(p.variant.plan)) for p in outcome.points],
    )


# ---------------------------------------------------------------------- what it leaves


def test_the_outcome_is_one_that_reports_can_be_made_from(finished: Any, tmp_path: Path) -> None:
    outcome: Outcome = finished.outcome
    assert decode(Outcome, json.loads(json.dumps(encode(outcome)))) == decode(
        Outcome, encode(outcome)
    )
    paths = reports.write(outcome, tmp_path)
    assert reports.read(paths["json"]).decision.choice == outcome.decision.choice
    assert outcome.decision.choice in paths["html"].read_text(encoding="utf-8")


def test_every_role_was_run_and_uniform_int8_and_int4_are_compared(finished: Any) -> None:
    points = finished.outcome.points
    assert {p.role for p in points} == {"reference", "base", "uniform", "searched"}
    names = [p.variant.name for p in points]
    assert len(names) == len(set(names))
    assert "uniform int8" in names
    assert any(name.startswith("uniform int4") for name in names)


def test_the_choice_keeps_the_budget_and_is_no_dearer_than_int8(finished: Any) -> None:
    outcome = finished.outcome
    point = chosen(outcome)
    assert point.meets_budget
    assert point.expected_loss.value <= outcome.facts.max_loss
    # Which plans are tried hangs on timings, and where the others of this toy lose nothing,
    # no factor can be read off them.
    weighed = "weighed with its divergence" in point.expected_loss.source
    assert (point.expected_loss.kind is Kind.MODELLED) == weighed
    assert point.cpu_vs_int8.value <= 1.0
    inside = [p for p in outcome.points if p.role != "reference" and p.meets_budget]
    assert all(point.energy.value <= p.energy.value * 1.02 for p in inside)


def test_figures_say_where_they_come_from(finished: Any) -> None:
    for point in finished.outcome.points:
        cost = point.variant.cost
        assert cost.decode_cpu.kind is Kind.MEASURED
        assert cost.decode_energy.kind is Kind.ASSUMED  # the joules of a CPU second are a band
        assert cost.decode_energy.low < cost.decode_energy.high
        assert point.energy.unit == "J/token"
        if point.role != "reference":
            assert point.predicted_energy.kind in {Kind.MODELLED, Kind.ASSUMED}
            assert point.predicted_energy.low <= point.energy.high
            assert point.predicted_energy.high >= point.energy.low


def test_no_member_of_the_measured_front_is_beaten(finished: Any) -> None:
    points = [p for p in finished.outcome.points if p.role != "reference"]
    front = [p for p in points if p.on_front]
    assert front
    for member in front:
        for other in points:
            better_loss = other.variant.quality.loss.value < member.variant.quality.loss.value
            ratio = other.cpu_vs_int8.value / member.cpu_vs_int8.value
            assert not (better_loss and ratio < 0.97)


def test_parts_sum_to_the_whole_and_every_layer_has_its_reason(finished: Any) -> None:
    outcome = finished.outcome
    point = chosen(outcome)
    total = sum(part.energy.value for part in outcome.after)
    assert total == pytest.approx(point.predicted_energy.value, rel=1e-6)
    assert all(part.energy.value >= 0 for part in (*outcome.before, *outcome.after))
    plan = point.variant.plan
    assert {one.layer.name: one.chosen for one in outcome.layers} == {
        name: fmt.name for name, fmt in plan.items()
    }
    assert all(one.because for one in outcome.layers)
    assert all(value >= 0 for one in outcome.layers for value in one.sensitivity.values())


def test_all_checks_passed_and_memory_is_stated(finished: Any) -> None:
    outcome = finished.outcome
    carriers = [check for check in outcome.checks if "unseen" not in check.name]
    assert len(carriers) == 4
    assert [check.name for check in carriers if not check.passed] == []
    assert outcome.stated_memory_bytes > 0
    assert outcome.peak_memory_bytes > 0
    assert outcome.job_energy.value > 0


def test_artifacts_compute_what_was_chosen(finished: Any) -> None:
    outcome = finished.outcome
    tokens = np.arange(3, 35)[None]
    runtime = some_tools(finished.cache).runtime
    with runtime.open(
        finished.out / outcome.artifacts["paced"], RunOptions(precision="exact")
    ) as session:
        logits = session.forward(tokens)
    foreign = reload_check(finished.out / outcome.artifacts["huggingface"], tokens)
    assert divergence(logits, foreign) < 1e-3
    for folder in outcome.artifacts.values():
        assert (finished.out / folder / "tokenizer.json").is_file()
        assert (finished.out / folder / "config.json").is_file()
    assert outcome.sample_text


def test_texts_are_told_and_share_nothing(finished: Any) -> None:
    assert set(finished.outcome.facts.texts) == {"calibration", "selection", "test"}


def test_built_variants_are_cleared_away(finished: Any) -> None:
    work = finished.out / "work"
    left = [p for folder in work.glob("variants*") for p in folder.iterdir() if p.is_dir()]
    assert left == []


def test_progress_goes_through_every_stage_in_order_and_to_its_end(finished: Any) -> None:
    stages = [stage for stage, _ in finished.told if stage in STAGES]
    expected = [stage for stage in STAGES if stage != "engines"]  # there is only one here
    assert list(dict.fromkeys(stages)) == expected
    for stage in expected:
        shares = [share for told, share in finished.told if told == stage]
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)
        assert shares[-1] == pytest.approx(1.0)
    assert any(stage.startswith("memory: at most") for stage, _ in finished.told)


# -------------------------------------------------------------------- stopped and resumed


@pytest.fixture
def copy(finished: Any, tmp_path: Path) -> Path:
    """The finished job's folder and cost table, to be disturbed."""
    shutil.copytree(finished.out, tmp_path / "out", copy_function=shutil.copy2)
    shutil.copytree(finished.cache, tmp_path / "cache")
    return tmp_path / "out"


def test_a_finished_job_is_found_again(finished: Any, story: Any, copy: Path) -> None:
    again = optimize(some_order(story.model, story.text, copy), some_tools(copy.parent / "cache"))
    assert all(step.resumed for step in again.steps)
    assert [step.name for step in again.steps] == [s.name for s in finished.outcome.steps]
    assert choice(again) == choice(finished.outcome)
    assert any("kept from an earlier run" in note for note in again.facts.notes)


@pytest.mark.slow  # as many jobs as there are stages
def test_cut_off_in_every_stage_it_ends_the_same(finished: Any, story: Any, tmp_path: Path) -> None:
    order = some_order(story.model, story.text, tmp_path / "out")
    cut: list[str] = []

    def pull_the_plug(stage: str, share: float) -> None:
        if stage in STAGES and stage not in cut and (share > 0 or stage in {"verify", "search"}):
            cut.append(stage)
            raise Cut

    for _ in range(len(STAGES) + 1):
        try:
            outcome = optimize(order, some_tools(tmp_path / "cache", pull_the_plug))
        except Cut:
            assert not (order.out / "report.html").exists()
            continue
        break
    assert set(cut) == set(STAGES)
    assert choice(outcome) == choice(finished.outcome)


class Watched(PacedRuntime):
    """Remembers every variant it was asked to write, and may be cut off after one."""

    def __init__(self, tools: Tools, cut_after: str = "") -> None:
        super().__init__(tools.clock)  # type: ignore[arg-type]
        self.cut_after = cut_after
        self.written: list[Path] = []

    def compress(self, converted: Path, weights: Any, out: Path, *, joint: Any = ()) -> None:
        super().compress(converted, weights, out, joint=joint)
        self.written.append(out)
        if self.cut_after and out.name.startswith(self.cut_after):
            raise Cut


def watched(cache: Path, cut_after: str = "") -> Tools:
    tools = some_tools(cache)
    return replace(tools, runtime=Watched(tools, cut_after))


def losses(outcome: Outcome) -> dict[str, tuple[Any, float]]:
    return {
        p.variant.name: (encode(p.variant.plan), p.selection_loss.value)
        for p in outcome.points
        if p.selection_loss is not None
    }


@pytest.mark.slow  # four jobs
@pytest.mark.parametrize("variant", ["uniform-int8", "searched-1"])
def test_a_variant_left_by_another_seed_is_not_taken_for_ones_own(
    finished: Any, story: Any, tmp_path: Path, variant: str
) -> None:
    # The seed deals the text out anew, so another search finds other plans and weights.
    order = some_order(story.model, story.text, tmp_path / "out", seed=5)
    shutil.copytree(finished.cache, tmp_path / "cache")
    with pytest.raises(Cut):
        optimize(order, watched(tmp_path / "cache", cut_after=variant))
    outcome = optimize(replace(order, seed=0), some_tools(tmp_path / "cache"))
    assert losses(outcome) == losses(finished.outcome)


def test_a_limit_on_latency_reuses_what_hangs_on_no_threads_and_is_kept(
    finished: Any, story: Any, copy: Path
) -> None:
    quick = some_order(story.model, story.text, copy, max_loss=0.9, max_latency=10.0)
    outcome = optimize(quick, some_tools(copy.parent / "cache"))
    assert "within 1e+04 ms" in outcome.decision.because
    late = some_order(story.model, story.text, copy, max_loss=0.9, max_latency=1e-7)
    with pytest.raises(BudgetUnreachable, match="ms for a written token"):
        optimize(late, some_tools(copy.parent / "cache"))


@pytest.mark.slow  # two jobs and more
def test_another_loss_budget_reuses_what_it_may_and_closes_in_anew(
    finished: Any, story: Any, copy: Path
) -> None:
    cache = copy.parent / "cache"
    order = some_order(story.model, story.text, copy, max_loss=0.4)
    reused = optimize(order, some_tools(cache))
    fresh = optimize(replace(order, out=copy.parent / "fresh"), some_tools(cache))
    assert sum(step.resumed for step in reused.steps) >= 8  # the long steps do not depend on it
    assert losses(reused) == losses(fresh)
    assert reused.decision.choice == fresh.decision.choice


def test_a_text_that_changed_under_its_name_is_read_anew(
    story: Any, finished: Any, copy: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    order = some_order(story.model, text, copy)
    content = story.text.read_text(encoding="utf-8")
    keys = []
    for part in (content[: len(content) // 2], content[len(content) // 2 :]):
        text.write_text(part, encoding="utf-8")
        job = job_of(order, some_tools(tmp_path / "cache"))
        _, job.reference_folder = job.convert()
        texts = job.read_texts()
        keys.append(job._open_journal(texts.corpus).key)
    assert keys[0] != keys[1]


def test_models_prepared_differently_are_converted_separately(story: Any, tmp_path: Path) -> None:
    """Off an old grid the channels are in an order that the seed decides."""
    weights = load_file(story.model / "model.safetensors")
    for name, value in weights.items():
        if value.ndim == 2:
            blocks = value.float().reshape(value.shape[0], -1, 4 if value.shape[1] % 32 else 32)
            low = blocks.amin(-1, keepdim=True)
            step = ((blocks.amax(-1, keepdim=True) - low) / 15).clamp_min(1e-6)
            weights[name] = ((blocks - low) / step).round().mul(step).add(low).reshape(value.shape)
    gridded = tmp_path / "gridded"
    shutil.copytree(story.model, gridded)
    for file in gridded.iterdir():
        file.chmod(0o644)
    from safetensors.torch import save_file

    save_file(
        {name: value.float().contiguous() for name, value in weights.items()},
        gridded / "model.safetensors",
        {"format": "pt"},
    )
    tools = some_tools(tmp_path / "cache")
    for seed in (0, 1):
        order = some_order(gridded, story.text, tmp_path / "out", seed=seed)
        job = job_of(order, tools)
        assert job.source.off_grid
        for place in job.convert():
            held, wanted = (
                load_file(folder / "model.safetensors") for folder in (place, job.source.folder)
            )
            name = job.source.layers[1].name + ".weight"
            assert torch.equal(held[name], wanted[name])


# --------------------------------------------------------------------------- bad input


def untouched(out: Path) -> bool:
    """Nothing in the folder looks like a result."""
    return not out.exists() or {p.name for p in out.iterdir()} <= {"work"}


def test_a_folder_in_use_is_refused(story: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused: list[OutputError] = []

    def second_job(stage: str, share: float) -> None:
        if refused:
            raise Cut
        with pytest.raises(OutputError, match="in use") as caught:
            optimize(some_order(story.model, story.text, out), some_tools(tmp_path / "cache"))
        refused.append(caught.value)

    with pytest.raises(Cut):
        optimize(
            some_order(story.model, story.text, out), some_tools(tmp_path / "cache", second_job)
        )
    assert "--out" in refused[0].fix


class Worse(PacedRuntime):
    """An engine whose every variant, 16 bits too, says little of what the base says."""

    def open(self, artifact: Path, options: RunOptions) -> Session:
        session = super().open(artifact, options)
        built = artifact.parent.name.startswith("variants")
        return Blurred(session, self.clock, []) if built else session


class Blurred(PacedSession):
    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        # Too sure, whether the model is a trained one or knows nothing.
        return 1.5 * super().forward(tokens, keep=keep)


def test_a_budget_that_nothing_meets_names_the_nearest_and_leaves_no_result(
    story: Any, finished: Any, tmp_path: Path
) -> None:
    tools = some_tools(tmp_path / "cache")
    tools = replace(tools, runtime=Worse(tools.clock))  # type: ignore[arg-type]
    order = some_order(story.model, story.text, tmp_path / "out", max_loss=1e-6)
    with pytest.raises(BudgetUnreachable, match="nearest") as caught:
        optimize(order, tools)
    # a model that knows little may lose more than any budget can name
    assert "--max-loss" in caught.value.fix or "keep the model" in caught.value.fix
    assert untouched(tmp_path / "out")


class Placed(PacedRuntime):
    """An engine whose memory comes to lie badly every second time that it opens for writing."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self._opened: dict[str, int] = {}

    def open(self, artifact: Path, options: RunOptions) -> Session:
        session = super().open(artifact, options)
        if options.steps != "write" or artifact.name.startswith("uniform-int8"):
            return session
        self._opened[artifact.name] = self._opened.get(artifact.name, 0) + 1
        badly = self._opened[artifact.name] % 2 == 0
        return Slow(session, self.clock, []) if badly else session


class Slow(PacedSession):
    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        began = self._clock.cpu_s
        found = super().forward(tokens, keep=keep)
        self._clock.cpu_s += 0.08 * (self._clock.cpu_s - began)
        return found


def test_an_interval_tells_of_where_memory_lay(story: Any, finished: Any, tmp_path: Path) -> None:
    tools = some_tools(tmp_path / "cache")
    tools = replace(tools, runtime=Placed(tools.clock))  # type: ignore[arg-type]
    found = optimize(some_order(story.model, story.text, tmp_path / "out"), tools)

    def widths(points: Any) -> list[float]:
        raced = [p.cpu_vs_int8 for p in points if p.role in {"base", "searched"}]
        return [ratio.high / ratio.low for ratio in raced]

    assert max(widths(finished.outcome.points)) < 1.01
    assert min(widths(found.points)) > 1.05


class Lying(PacedRuntime):
    """An engine that computes something else."""

    def open(self, artifact: Path, options: RunOptions) -> Session:
        return Blurred(super().open(artifact, options), self.clock, [])


def test_an_engine_that_computes_something_else_is_refused_before_any_figure(
    story: Any, tmp_path: Path
) -> None:
    stages: list[str] = []
    tools = some_tools(tmp_path / "cache", lambda stage, share: stages.append(stage))
    tools = replace(tools, runtime=Lying(tools.clock))  # type: ignore[arg-type]
    with pytest.raises(NumericsGateFailed, match="KL"):
        optimize(some_order(story.model, story.text, tmp_path / "out"), tools)
    assert "costs" not in stages
    assert untouched(tmp_path / "out")


@pytest.mark.parametrize("loss", [0.0, -0.01, 1.0, 7.0, float("nan")])
def test_a_loss_budget_that_makes_no_sense_is_refused(loss: float) -> None:
    with pytest.raises(UsageError, match="loss"):
        some_order(Path("m"), Path("t"), Path("o"), max_loss=loss)


def test_an_engine_without_compressed_weights_is_refused_at_once(
    story: Any, tmp_path: Path
) -> None:
    tools = some_tools(tmp_path / "cache")
    tools = replace(tools, runtime=registry.load(registry.RUNTIMES, "torch")())
    with pytest.raises(UsageError, match="no compressed weights") as caught:
        optimize(some_order(story.model, story.text, tmp_path / "out"), tools)
    assert "NEGAWATT_RUNTIME=openvino" in caught.value.fix
    assert not (tmp_path / "out").exists()


def test_windows_are_no_longer_than_the_model_reads(story: Any, tmp_path: Path) -> None:
    model = shutil.copytree(story.model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").chmod(0o644)
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 64}))
    effort = replace(EFFORT, window=96)
    order = some_order(model, story.text, tmp_path / "out", effort=effort)
    job = job_of(order, some_tools(tmp_path / "cache"))
    _, job.reference_folder = job.convert()
    assert job.read_texts().corpus.test.shape[1] == 64


def test_what_is_no_model_is_refused(story: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotAModel):
        optimize(
            some_order(tmp_path / "empty", story.text, tmp_path / "out"),
            some_tools(tmp_path / "cache"),
        )
    assert untouched(tmp_path / "out")


def test_a_text_that_is_too_short_is_refused_and_says_by_how_much(
    story: Any, tmp_path: Path
) -> None:
    text = tmp_path / "short.txt"
    text.write_text("Once upon a time there was a very short story. " * 9)
    with pytest.raises(TextError, match="short") as caught:
        optimize(some_order(story.model, text, tmp_path / "out"), some_tools(tmp_path / "cache"))
    assert any(letter.isdigit() for letter in caught.value.what)
    assert untouched(tmp_path / "out")


def test_a_text_that_is_not_there_is_refused(story: Any, tmp_path: Path) -> None:
    with pytest.raises(TextError, match="no text file"):
        optimize(
            some_order(story.model, tmp_path / "none.txt", tmp_path / "out"),
            some_tools(tmp_path / "cache"),
        )


def test_a_file_in_the_place_of_the_folder_is_refused(story: Any, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out"):
        optimize(
            some_order(story.model, story.text, tmp_path / "out"), some_tools(tmp_path / "cache")
        )
    assert (tmp_path / "out").read_text() == "mine"


def test_layers_that_no_format_fits_stay_wide_and_a_limit_on_size_is_kept(
    story: Any, tmp_path: Path
) -> None:
    tools = some_tools(tmp_path / "cache")
    engine: Any = tools.runtime
    engine.formats = (Format(16), Format(8, 64), Format(4, 64))
    limit = 300_000
    order = some_order(story.model, story.text, tmp_path / "out", max_loss=0.9, max_size=limit)
    outcome = optimize(order, tools)
    plans = {point.variant.name: point.variant.plan for point in outcome.points}
    chosen = plans[outcome.decision.choice]
    down = [fmt for name, fmt in chosen.items() if name.endswith("down_proj")]
    assert down
    assert all(fmt == Format(16) for fmt in down)
    assert any(fmt.bits < 16 for fmt in chosen.values())
    assert f"{limit / 1e6:.4g} MB" in outcome.decision.because
    model = load_reference(tmp_path / "out" / "work" / "model")
    shapes = {layer.name: layer for layer in layers_of(model)}
    tied = {one.tied_to for one in shapes.values() if one.tied_to}  # kept once, with the head
    packed = sum(
        fmt.bytes(shapes[name].rows, shapes[name].cols)
        for name, fmt in chosen.items()
        if name not in tied
    )
    assert packed <= limit
