"""Calibrating: a designed set on a device whose constants are known, with NVML as it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration_rig import IDLE_W, TRUTH, Hand, LawRig
from nvml_library import GPU_IS_LOST, Gpu, Library, NVMLError

from negawatt.actions.calibrate.action import Question, calibrate, from_table
from negawatt.actions.calibrate.fitted import Calibration, factor_of, fitted
from negawatt.actions.calibrate.keep import slug
from negawatt.actions.calibrate.plan import KERNELS, USUAL_DTYPE, Task, designed
from negawatt.actions.calibrate.rows import load_of, windows_of
from negawatt.actions.calibrate.run import Bench, joules_of, measured
from negawatt.actions.calibrate.sheet import matching, measured_sheet, named
from negawatt.actions.calibrate.table import read_table
from negawatt.actions.journal import Journal
from negawatt.adapters.meters import nvml
from negawatt.core.codec import decode, encode
from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Kind
from negawatt.energy.devices import known_datasheets
from negawatt.energy.profiles import Origin, kept_profiles
from negawatt.meters import Instruments
from negawatt.meters.band import Band, local
from negawatt.meters.integrate import Integral
from negawatt.meters.inventory import as_meters
from negawatt.meters.span import Reading, Span

VERSIONS = {"torch": "9.9"}


class Machine:
    """A GPU that keeps the law, its NVML counter, and what a calibration is done with."""

    def __init__(self, *, stop_after: int | None = None, board: Gpu | None = None) -> None:
        self.board = board or Gpu(energy_mj=1_000_000)
        self.hand = Hand()
        self._owed = 0.0
        self.rig = LawRig(self.hand, self.spend, stop_after=stop_after)
        self.said: list[tuple[str, float]] = []
        self.instruments = Instruments(
            meters=as_meters(nvml.discover(Library(self.board))),
            clock=self.hand,
            children=lambda: 0.0,
            asleep=lambda: 0.0,
        )

    def spend(self, joules: float) -> None:
        """The counter moves in whole millijoules."""
        self._owed += joules * 1e3
        whole = int(self._owed)
        self._owed -= whole
        if isinstance(self.board.energy_mj, int):
            self.board.energy_mj += whole

    @property
    def bench(self) -> Bench:
        return Bench(
            rig=self.rig,
            instruments=self.instruments,
            progress=lambda stage, share: self.said.append((stage, share)),
            sleep=self.rig.rest,
        )

    def calibrated(self, cache: Path, **asked: object) -> Calibration:
        question = Question(name=self.rig.device, cache=cache, versions=VERSIONS)
        return calibrate(replace(question, **asked), self.bench, lambda: 1.0)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return Machine().calibrated(tmp_path_factory.mktemp("cache"))


def test_constants_come_back_through_counter_clock_and_fit(found: Calibration) -> None:
    told = found.profile
    assert told.name == "H100-SXM5-80GB"
    assert told.kind is Kind.MODELLED
    for name, near in {"static_w": 0.1, "operation_j": 0.1, "layer_s": 0.1, "rate": 0.25}.items():
        assert name not in told.unidentified
        assert getattr(told.constants, name) == pytest.approx(getattr(TRUTH, name), rel=near)
    assert {"link_s", "link_j", "expert_s"} <= set(told.unidentified)


def test_the_band_is_of_left_out_models_and_of_the_meter(found: Calibration) -> None:
    assert set(found.missed) == {"tiny", "0.3B", "1.5B", "8B"}
    assert found.error < 0.05  # the device keeps the law
    assert 1.05 < found.meter_factor < 1.2  # 5 % of NVML, and its updates at both ends
    assert found.profile.band.joules == pytest.approx(found.law_band * found.meter_factor)
    assert any("4 models are few" in note for note in found.notes)


def test_rest_is_where_the_counter_has_it_and_is_no_window_of_the_law(found: Calibration) -> None:
    rest = found.rows[0]
    assert rest.task.what == "rest"
    assert rest.power == pytest.approx(IDLE_W, rel=1e-3)
    assert found.profile.sheet.idle_w == pytest.approx(IDLE_W, rel=1e-3)
    assert found.profile.windows <= len(found.rows) - 2  # nor are products in other formats


def test_windows_are_long_beside_the_updates_of_their_meter(found: Calibration) -> None:
    for row in found.rows:
        assert row.lasted >= 3 * 2.5  # three repeats; NVML moves every 0.1 s
        assert row.spread == pytest.approx(0.0, abs=1e-9)
        assert row.joules.kind is Kind.MEASURED
        assert row.joules.boundary == "gpu:0"


def test_the_profile_is_found_again_and_the_whole_beside_it(found: Calibration) -> None:
    file = Path(found.kept)
    kept = kept_profiles(file.parent)
    assert kept == {"H100-SXM5-80GB": found.profile}
    whole = file.with_name(file.name.replace("profile-", "calibration-"))
    assert decode(Calibration, json.loads(whole.read_text())) == found
    assert sorted(path.name for path in file.parent.iterdir()) == sorted([file.name, whole.name])


def test_its_hull_is_of_models_so_that_kernels_promise_nothing(found: Calibration) -> None:
    assert found.profile.hull["sequences at once"][0] == 1.0
    low, high = found.profile.hull["bytes of weights on a device"]
    assert low < 2e6
    assert high > 1e10


def test_other_number_formats_are_told_beside_16_bits(found: Calibration) -> None:
    assert found.speeds == {"float32": pytest.approx(1 / 8)}


def test_progress_tells_what_and_how_long(tmp_path: Path) -> None:
    machine = Machine()
    machine.calibrated(tmp_path, quick=True)
    shares = [share for _, share in machine.said]
    assert shares == sorted(shares)
    assert machine.said[0][0].startswith("rest (")
    assert "s left)" in machine.said[5][0]
    assert machine.said[-1] == ("", 1.0)


def test_a_stopped_calibration_goes_on_where_it_was(tmp_path: Path) -> None:
    stopped = Machine(stop_after=6)
    with pytest.raises(KeyboardInterrupt):
        stopped.calibrated(tmp_path, quick=True)
    assert len(stopped.rig.built) == 6
    on = Machine()
    resumed = on.calibrated(tmp_path, quick=True)
    again = Machine()
    again.calibrated(tmp_path / "elsewhere", quick=True)
    assert len(on.rig.built) == len(again.rig.built) - 6
    third = Machine()
    third.calibrated(tmp_path, quick=True)  # a finished one is not gone on with
    assert len(third.rig.built) == len(again.rig.built)
    assert resumed.profile.windows > 10


def test_what_is_particular_about_an_engine_is_told(tmp_path: Path) -> None:
    machine = Machine()
    machine.rig.remark = "It runs downhill."
    assert "It runs downhill." in machine.calibrated(tmp_path, quick=True).notes


def test_windows_of_another_version_are_not_gone_on_with(tmp_path: Path) -> None:
    stopped = Machine(stop_after=6)
    with pytest.raises(KeyboardInterrupt):
        stopped.calibrated(tmp_path, quick=True)
    other = Machine()
    other.calibrated(tmp_path, quick=True, versions={"torch": "10.0"})
    assert other.rig.built[:6] == stopped.rig.built


def test_a_gpu_without_a_counter_is_refused(tmp_path: Path) -> None:
    machine = Machine()
    machine.instruments = Instruments(clock=machine.hand, children=lambda: 0.0)
    with pytest.raises(MeterUnavailable, match="GPU 0 has no counter") as raised:
        machine.calibrated(tmp_path)
    assert "negawatt[nvml]" in raised.value.fix


def test_a_gpu_that_falls_off_the_bus_ends_it_and_keeps_what_was_measured(tmp_path: Path) -> None:
    machine = Machine()

    def lost(stage: str, share: float) -> None:
        if share > 0.3:
            machine.board.energy_mj = NVMLError(GPU_IS_LOST)

    bench = replace(machine.bench, progress=lost)
    question = Question(name="a GPU", cache=tmp_path, versions=VERSIONS, quick=True)
    with pytest.raises(MeterUnavailable, match="GPU 0"):
        calibrate(question, bench, lambda: 1.0)
    assert list(tmp_path.glob("calibrating-*/*.json"))
    assert not list(tmp_path.glob("profile-*"))


def test_a_counter_that_stands_still_is_refused(tmp_path: Path) -> None:
    machine = Machine()
    machine.rig.spend = lambda joules: None
    with pytest.raises(MeterUnavailable, match="counted nothing while rest"):
        machine.calibrated(tmp_path)


def test_a_cpu_without_counters_has_measured_times_and_modelled_joules(tmp_path: Path) -> None:
    hand = Hand()
    rig = LawRig(hand, device="cpu", accelerator=None, memory_bytes=8e9)
    band: Band = local()
    bench = Bench(
        rig=rig,
        instruments=Instruments(clock=hand, children=lambda: 0.0, asleep=lambda: 0.0, band=band),
        sleep=rig.rest,
    )
    question = Question(name="a CPU", cache=tmp_path, versions={})
    found = calibrate(question, bench, lambda: band.full.value)
    assert all(row.joules.kind is Kind.MODELLED for row in found.rows)
    assert found.profile.sheet.power_w == band.full.value
    assert found.profile.sheet.source.endswith("no datasheet")
    assert found.meter_factor > 1.5  # a band is wide, and the profile's is no narrower
    assert found.profile.band.joules >= found.meter_factor
    assert found.profile.constants.layer_s == pytest.approx(TRUTH.layer_s, rel=0.1)
    assert "No counter covers this CPU" in found.notes[0]
    assert "modelled by the band" in found.profile.origin.source


class Neighbour:
    """Somebody else's work, which makes copies so many times as long."""

    def __init__(self, machine: Machine, slower: Callable[[int], float]) -> None:
        self.runs, hand = 0, machine.hand
        plain = machine.rig.copy

        def copy(count: int) -> Any:
            run, steps = plain(count)

            def disturbed(rounds: int) -> None:
                before = hand.wall_s
                run(rounds)
                self.runs += 1
                hand.wall_s += (slower(self.runs) - 1) * (hand.wall_s - before)

            return disturbed, steps

        machine.rig.copy = copy  # type: ignore[method-assign]


def copied(slower: Callable[[int], float], folder: Path) -> tuple[Any, int]:
    machine = Machine()
    neighbour = Neighbour(machine, slower)
    plan = designed(accelerator=True, memory_bytes=85e9, dtypes=[USUAL_DTYPE])
    only = replace(plan, tasks=tuple(task for task in plan.tasks if task.what == "copy"))
    (row,) = measured(only, machine.bench, Journal(folder, "key"))
    return row, neighbour.runs


def test_windows_that_differ_are_measured_again(tmp_path: Path) -> None:
    calm, few = copied(lambda run: 1.0, tmp_path / "calm")
    row, more = copied(lambda run: 3.0 if run == few else 1.0, tmp_path / "disturbed")
    assert more == few + 1
    assert row.seconds == pytest.approx(calm.seconds, rel=1e-9)
    assert row.spread < 1e-9


def test_patience_ends_and_the_spread_is_told(tmp_path: Path) -> None:
    growing, runs = copied(float, tmp_path)
    assert growing.spread > 0.1
    assert runs < 40


def test_what_stays_unsteady_is_named(found: Calibration, tmp_path: Path) -> None:
    machine = Machine()
    Neighbour(machine, float)
    told = machine.calibrated(tmp_path)
    assert "1 windows differed by more than 10%" in told.notes[0]
    assert "(copy)" in told.notes[0]
    assert not any("differed" in note for note in found.notes)


def test_the_designed_set_has_what_the_law_needs() -> None:
    for accelerator, memory in ((False, 8e9), (True, 85e9), (True, 16e9)):
        plan = designed(
            accelerator=accelerator, memory_bytes=memory, dtypes=[USUAL_DTYPE, "float32"]
        )
        names = [task.name for task in plan.tasks]
        assert len(names) == len(set(names))
        models = {task.group for task in plan.tasks} - {KERNELS}
        for model in models:
            batches = {t.batch for t in plan.tasks if t.group == model and t.what == "decode"}
            assert len(batches) >= 2
        full = [m for m in models if len(_lengths(plan.tasks, m)) == 2]
        assert len(full) >= 2
        assert plan.lasts < 480


def _lengths(tasks: tuple[Task, ...], model: str) -> set[int]:
    return {task.tokens for task in tasks if task.group == model and task.what == "prefill"}


def test_a_device_too_small_for_models_is_told_so() -> None:
    with pytest.raises(UsageError, match="hold too little"):
        designed(accelerator=False, memory_bytes=1e8, dtypes=[USUAL_DTYPE])


def test_reading_makes_logits_of_the_last_token_alone() -> None:
    plan = designed(accelerator=False, memory_bytes=8e9, dtypes=[USUAL_DTYPE])
    task = next(t for t in plan.tasks if t.what == "prefill")
    assert task.shape is not None
    parts = task.shape.anatomy.matrices
    inner = sum(one.used for one in parts if one.role != "head")
    head = sum(one.used for one in parts if one.role == "head")
    one = load_of(replace(task, tokens=1)).operations
    many = load_of(task).operations
    assert many > 2 * inner * task.tokens
    assert many < 2 * (inner + head) * task.tokens
    assert one > 2 * (inner + head)


@pytest.mark.parametrize(
    ("name", "memory", "sheet"),
    [
        ("NVIDIA H100 80GB HBM3", 85e9, "H100-SXM5-80GB"),
        ("NVIDIA H100 PCIe", 85e9, "H100-PCIe-80GB"),
        ("NVIDIA H200", 150.7e9, "H200-SXM-141GB"),
        ("NVIDIA A100-SXM4-40GB", 42.4e9, "A100-SXM4-40GB"),
        ("NVIDIA A100-SXM4-80GB", 85e9, "A100-SXM4-80GB"),
        ("Tesla T4", 15.8e9, "T4"),
        ("NVIDIA L40S", 47.7e9, "L40S"),
        ("NVIDIA L4", 23.6e9, "L4"),
        ("NVIDIA GeForce RTX 4090", 25.4e9, "RTX-4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 17e9, None),
        ("NVIDIA RTX 6000 Ada Generation", 51e9, "RTX-6000-Ada"),
        ("NVIDIA Quadro 9000", 51e9, None),
    ],
)
def test_a_device_is_known_by_its_drivers_name(name: str, memory: float, sheet: str | None) -> None:
    found = matching(name, memory, known_datasheets().values())
    assert (found.name if found else None) == sheet


def test_a_datasheet_nobody_knows_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    machine = Machine()
    with pytest.raises(UsageError, match="no datasheet") as raised:
        machine.calibrated(tmp_path, sheet="H1000")
    assert "H100-SXM5-80GB" in raised.value.fix
    assert machine.rig.built == []
    assert named("L4", known_datasheets()).name == "L4"


def test_without_a_datasheet_copy_and_product_stand_in(found: Calibration) -> None:
    sheet = measured_sheet("a GPU", found.rows, memory_bytes=8e10)
    assert sheet.bandwidth == pytest.approx(TRUTH.bandwidth, rel=0.01)
    assert sheet.rate == pytest.approx(TRUTH.rate, rel=0.05)
    assert sheet.power_w == max(row.power for row in found.rows)


def test_kernels_leave_the_fit_where_they_make_it_worse(found: Calibration) -> None:
    """An engine that reaches a fifth of what copies and products do."""
    slow = tuple(
        replace(row, seconds=row.seconds * (1.0 if row.task.group == KERNELS else 5.0))
        for row in found.rows
    )
    start = measured_sheet("a GPU", slow, memory_bytes=8e10)
    told = fitted(windows_of(slow), start, found.profile.origin)
    assert any("kept out of the fit" in note for note in told.notes)
    assert told.profile.windows == sum(row.task.fits and row.task.group != KERNELS for row in slow)


def test_one_model_is_too_few(found: Calibration) -> None:
    windows = windows_of(found.rows)
    alone = windows.where(np.array(windows.groups) == "8B")
    with pytest.raises(UsageError, match="1 models cannot tell"):
        fitted(alone, found.profile.sheet, found.profile.origin)


def test_a_meter_that_may_have_counted_nothing_has_no_factor(found: Calibration) -> None:
    row = found.rows[-1]
    with pytest.raises(UsageError, match="nothing at all"):
        factor_of([replace(row, joules=replace(row.joules, low=0.0))])


def test_rows_survive_the_journal(tmp_path: Path) -> None:
    machine = Machine()
    plan = designed(accelerator=True, memory_bytes=85e9, dtypes=[USUAL_DTYPE], quick=True)
    small = replace(plan, tasks=plan.tasks[:4])
    first = measured(small, machine.bench, Journal(tmp_path, "key"))
    assert measured(small, machine.bench, Journal(tmp_path, "key")) == first


Write = Callable[..., Path]
CONFIGS = {"small.json": 1024, "large.json": 4096}
HEADER = "config,batch,prompt,written,seconds,joules,engine\n"


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """Writes a table of one's own, made by the law of a known device."""
    from negawatt.energy.configs import anatomy_of
    from negawatt.energy.roofline import time_of
    from negawatt.energy.serving import serving_load
    from negawatt.energy.workload import Step

    def write(header: str = HEADER, more: str = "") -> Path:
        lines = [header]
        for name, hidden in CONFIGS.items():
            config = {
                "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": 24,
                "num_attention_heads": 16, "num_key_value_heads": 8,
                "intermediate_size": 3 * hidden, "vocab_size": 32000,
            }  # fmt: skip
            (tmp_path / name).write_text(json.dumps(config))
            for batch in (1, 8, 32, 128):
                step = Step(batch=batch, context=300 + 100)
                load = serving_load(anatomy_of(config), step, 300, 200)
                seconds = float(time_of(load, TRUTH).total)
                joules = (
                    TRUTH.static_w * seconds
                    + TRUTH.weight_j * load.weight_bytes
                    + TRUTH.context_j * load.context_bytes
                    + TRUTH.operation_j * load.operations
                )
                lines.append(
                    f"{name},{batch},300,200,{200 * seconds:.9g},{200 * joules:.9g},mine 2.0\n"
                )
        file = tmp_path / "runs.csv"
        file.write_text("".join([*lines, more]))
        return file

    return write


def test_a_table_of_ones_own_is_fitted(table: Write, tmp_path: Path) -> None:
    found = from_table(table(), "H100-SXM5-80GB", tmp_path / "cache")
    assert found.profile.origin.engine == "mine 2.0"
    assert found.rows == ()
    assert found.profile.constants.static_w == pytest.approx(TRUTH.static_w, rel=0.15)
    assert list(kept_profiles(tmp_path / "cache")) == ["H100-SXM5-80GB"]


def test_rows_that_lack_something_are_counted(table: Write, tmp_path: Path) -> None:
    file = table(more="small.json,1,300,200,,5,mine 2.0\n")
    found = from_table(file, "L4", tmp_path)
    assert "1 rows of runs.csv lack something" in found.notes[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("small.json,1,300,200,-1,5,mine 2.0\n", "row 10: seconds is '-1'"),
        ("small.json,one,300,200,1,5,mine 2.0\n", "row 10: batch is 'one'"),
        ("none.json,1,300,200,1,5,mine 2.0\n", "none.json is no configuration"),
        ("small.json,1,300,200,1,5,other\n", "several engines: mine 2.0, other"),
    ],
)
def test_a_wrong_field_is_named(table: Write, more: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_table(table(more=more))


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="lacks batch, config, joules"):
        read_table(file)
    with pytest.raises(UsageError, match="has no column source"):
        read_table(file, source="me")
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path / "absent.csv")


def test_published_measurements_are_fitted_for_one_device_and_source(shared: Path) -> None:
    file = shared / "data" / "hardware" / "measured_energy.csv"
    with pytest.raises(UsageError, match="several devices") as raised:
        read_table(file)
    assert "H100" in raised.value.fix
    with pytest.raises(UsageError, match="several sources"):
        read_table(file, device="H100")
    told = read_table(file, device="H100", source="mlenergy_v3")
    assert len(told.windows) > 150
    assert told.origin == Origin(
        engine="vLLM",
        boundary="gpu",
        batching="continuous",
        source="measured_energy.csv, mlenergy_v3",
    )
    assert not any("Nemotron" in group for group in told.windows.groups)


def test_a_slug_is_a_file_name() -> None:
    assert slug("A/B: c+d 1.0") == "a-b-c-d-1.0"


def test_a_calibration_goes_through_json(found: Calibration) -> None:
    assert decode(Calibration, json.loads(json.dumps(encode(found)))) == found


def spent(boundaries: dict[str, float]) -> Span:
    readings = [
        Reading(f"rapl:{name}", name, Integral(joules, joules, joules))
        for name, joules in boundaries.items()
    ]
    return Span(name="work", wall_s=10.0, cpu_s=15.0, readings=tuple(readings), band=local())


def test_a_cpu_is_what_its_counters_say_without_the_gpu_beside_it() -> None:
    told = joules_of(
        spent({"package:0": 100.0, "dram:0": 20.0, "core:0": 60.0, "gpu:0": 900.0}), None
    )
    assert told.value == 120.0
    assert told.kind is Kind.MEASURED
    assert told.boundary == "package:0 + dram:0"


def test_a_cpu_whose_package_is_not_counted_is_modelled_whole() -> None:
    span = spent({"dram:0": 20.0, "gpu:0": 900.0})
    assert joules_of(span, None) == span.modelled
    assert joules_of(span, 0).value == 900.0
