"""Bad input, real processes, control groups and windows."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from negawatt.core.errors import MeterUnavailable, UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import Joules
from negawatt.meters import (
    Account,
    CpuUse,
    EngineStep,
    GroupUse,
    Instruments,
    NotConserved,
    PhaseSpan,
    Rest,
    SequenceWork,
    StepCosts,
    Window,
    by_container,
    by_cpu_time,
    by_gpu_use,
    by_member,
    by_request,
    by_time,
    by_windows,
    read_cpu,
    read_groups,
    used,
)
from negawatt.meters.attribute import CpuSnapshot, Process, Use, divide

TEN = Estimate(
    value=10, low=9, high=11, unit="J", kind=Kind.MEASURED, source="rapl:package-0", boundary="cpu"
)
NOT_AMOUNTS = [math.nan, math.inf, -1e-9, -1.0]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc of Linux")


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("wrong", NOT_AMOUNTS)
def test_what_is_no_amount_is_refused_where_it_enters(wrong: float) -> None:
    for make in (
        lambda: Use({"a": wrong}),
        lambda: Use({}, wrong),
        lambda: Use({}, 0.0, wrong),
        lambda: Use({}, blur=wrong),
        lambda: CpuUse(wrong, 0.0, {}),
        lambda: CpuUse(1.0, 0.0, {"a": wrong}),
        lambda: GroupUse(wrong),
        lambda: SequenceWork("a", wrong, 0),
        lambda: SequenceWork("a", 0, wrong),
        lambda: EngineStep(wrong),
        lambda: StepCosts(1.0, wrong, 1.0),
        lambda: by_gpu_use(TEN, [{1: wrong}], rest=None),
        lambda: by_request(TEN, [], StepCosts(1, 1, 1), period_s=wrong),
    ):
        with pytest.raises(UsageError):
            make()


@pytest.mark.parametrize("ends", [(2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_a_span_that_ends_before_it_began_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(UsageError):
        PhaseSpan("decode", *ends)


def test_a_span_outside_the_reading_is_refused_and_not_cut() -> None:
    with pytest.raises(UsageError, match="reaches outside"):
        by_time(TEN, [PhaseSpan("decode", 1.0, 3.0)], period=(0.0, 2.0))


@pytest.mark.parametrize(
    "curve",
    [[(0.0, 5.0), (2.0, 4.0)], [(0.0, 0.0), (1.0, 4.0)], [(0.0, 0.0), (2.0, math.nan)]],
    ids=["falls", "too short", "no number"],
)
def test_a_curve_that_cannot_be_is_refused(curve: list[tuple[float, float]]) -> None:
    with pytest.raises(UsageError):
        by_time(TEN, [], period=(0.0, 2.0), curve=curve)


def test_a_curve_of_another_meter_is_flagged_with_both_figures() -> None:
    account = by_time(TEN, [], period=(0.0, 2.0), curve=[(0.0, 0.0), (2.0, 30.0)])
    assert "curve 30 J" in account.flags[0]
    assert "10 J" in account.flags[0]


def test_an_account_that_does_not_add_up_cannot_be_made() -> None:
    half, none = TEN.scaled(0.5), TEN.scaled(0.0)
    Account(total=TEN, parts={"a": half, "b": half}, idle=none, unattributed=none, rule="test")
    with pytest.raises(NotConserved, match=r"sum to 15 J.*total is 10 J"):
        Account(total=TEN, parts={"a": half, "b": half}, idle=half, unattributed=none, rule="test")
    minus = replace(half, value=-5.0, low=-5.0)
    with pytest.raises(NotConserved, match="negative"):
        Account(total=TEN, parts={"a": TEN, "b": half}, idle=minus, unattributed=none, rule="test")
    with pytest.raises(UsageError, match="one unit"):
        Account(total=TEN, parts={}, idle=TEN, unattributed=none.scaled(1, unit="Wh"), rule="test")


def test_rest_needs_a_bearer_and_the_unit_of_the_reading() -> None:
    with pytest.raises(UsageError, match="nobody bears"):
        Rest(TEN, {"a": 0.0})
    with pytest.raises(UsageError):
        Rest(TEN, {"a": -1.0, "b": 2.0})
    with pytest.raises(UsageError, match="Wh"):
        divide(TEN, Use({"a": 1.0}), rule="test", rest=Rest(TEN.scaled(0.1, unit="Wh")))


def test_rest_is_borne_by_the_weights_given() -> None:
    rest = Rest(TEN.scaled(0.4), {"a": 1.0, "b": 3.0})
    account = divide(TEN, Use({"a": 2.0, "b": 1.0}), rule="test", rest=rest)
    assert account.parts["a"].value == pytest.approx(4.0 + 1.0)
    assert account.parts["b"].value == pytest.approx(2.0 + 3.0)
    assert "given weights" in account.rule


def test_energy_of_no_time_is_nobodys() -> None:
    account = by_time(TEN, [PhaseSpan("decode", 1.0, 1.0)], period=(1.0, 1.0))
    assert account.unattributed.value == pytest.approx(10.0)
    assert account.parts["decode"].value == 0


def test_steps_longer_than_their_period_are_refused_with_both_figures() -> None:
    one = EngineStep(3.0, (SequenceWork("a", 1, 1),))
    with pytest.raises(NotConserved, match="3 s, 2 s"):
        by_request(TEN, [one], StepCosts(1, 1, 1), period_s=2.0)
    with pytest.raises(NotConserved, match="12 J, 10 J"):
        by_request(TEN, [replace(one, amount=12.0)], StepCosts(1, 1, 1), per="J")
    account = by_request(TEN, [replace(one, amount=10.5)], StepCosts(1, 1, 1), per="J").shared
    assert "10.5 J, 10 J" in account.flags[0]


def test_a_step_whose_work_costs_nothing_is_shared_by_sequence() -> None:
    work = (SequenceWork("a", 0, 0), SequenceWork("b", 0, 0))
    shared = by_request(TEN, [EngineStep(1.0, work)], StepCosts(0, 1, 1)).shared
    assert shared.parts["a"].value == shared.parts["b"].value == pytest.approx(5.0)


def test_processes_side_by_side_on_a_board_are_refused() -> None:
    with pytest.raises(NotConserved, match=r"160 %, 100 %"):
        by_gpu_use(TEN, [{1: 80.0, 2: 80.0}], rest=None)
    flagged = by_gpu_use(TEN, [{1: 51.0, 2: 50.0}], rest=None)
    assert "101 %, 100 %" in flagged.flags[0]
    with pytest.raises(UsageError, match="no sample"):
        by_gpu_use(TEN, [], rest=None)


# ------------------------------------------------------------------ processes

SPIN = (
    "import sys, time\n"
    "while time.process_time() < float(sys.argv[1]): sum(range(2000))\n"
    "print('done', flush=True); sys.stdin.read()\n"
)


@linux
def test_two_real_processes_bear_what_they_used() -> None:
    # each says when it has used its CPU time, and stays until it was read
    children = [
        subprocess.Popen(
            [sys.executable, "-S", "-c", SPIN, str(cpu_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for cpu_s in (0.9, 0.3)
    ]
    try:
        pids = [child.pid for child in children]
        before = read_cpu([])
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == b"done\n"
        use = used(before, read_cpu(pids))
        account = by_cpu_time(TEN, use, rest=Rest(TEN.scaled(0.2)))
    finally:
        for child in children:
            child.communicate()
    more, less = (
        next(part for label, part in account.parts.items() if label.endswith(f":{pid}"))
        for pid in pids
    )
    assert 2.4 < more.value / less.value < 3.6
    assert more.low < more.value < more.high
    assert account.idle.value == pytest.approx(2.0)
    assert more.value + less.value + account.unattributed.value == pytest.approx(8.0)


@linux
def test_every_process_can_be_read_and_we_are_one() -> None:
    snapshot = read_cpu()
    mine = [process for process in snapshot.processes if process.pid == os.getpid()]
    assert len(mine) == 1
    assert snapshot.busy_s > 0
    assert read_cpu([2**22 + 1]).processes == {}


def proc(root: Path, stat: str, **processes: str) -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc/stat").write_text(stat)
    for pid, text in processes.items():
        folder = root / "proc" / pid.removeprefix("p")
        folder.mkdir()
        (folder / "stat").write_text(text)
    return root


def test_a_name_with_brackets_and_spaces_is_read(tmp_path: Path) -> None:
    fields = "S 1 1 1 0 -1 0 0 0 0 0 250 50 9999 9999 20 0 1 0 777 0 0"
    root = proc(tmp_path, "cpu  100 20 30 400 50 6 7 999 5 5\n", p42=f"42 (a (b) c) {fields}\n")
    snapshot = read_cpu(root=root)
    tick = snapshot.tick_s
    assert snapshot.processes == {Process(42, 777, "a (b) c"): pytest.approx(300 * tick)}
    assert snapshot.busy_s == pytest.approx(163 * tick)  # neither steal nor guests, counted twice
    assert snapshot.idle_s == pytest.approx(450 * tick)


@pytest.mark.parametrize("stat", ["", "cpu 1 2\n", "cpu  a b c d e f g\n"])
def test_a_broken_account_is_unavailable_not_zero(tmp_path: Path, stat: str) -> None:
    with pytest.raises(MeterUnavailable, match="cannot be read"):
        read_cpu(root=proc(tmp_path, stat))
    with pytest.raises(MeterUnavailable, match="cannot be read"):
        read_cpu(root=tmp_path / "nowhere")


def test_a_number_used_again_is_another_process_and_the_ended_are_named() -> None:
    old, new = Process(7, 100, "job"), Process(7, 900, "job2")
    use = used(CpuSnapshot(10.0, 5.0, {old: 8.0}, 0.01), CpuSnapshot(13.0, 4.0, {new: 1.0}, 0.01))
    assert dict(use.processes) == {"job2:7": 1.0}
    assert use.ended == ("job:7",)
    assert use.idle_s == 0.0
    account = by_cpu_time(TEN, use, rest=None)
    assert account.unattributed.value == pytest.approx(10 * 2 / 3)
    assert any("job:7" in flag for flag in account.flags)
    assert any("power at rest is not known" in flag for flag in account.flags)


def test_clocks_that_ran_backwards_are_refused() -> None:
    job = Process(7, 100, "job")
    late, early = (CpuSnapshot(b, 5.0, {job: c}, 0.01) for b, c in ((10.0, 8.0), (9.0, 8.0)))
    with pytest.raises(NotConserved, match="10 s to 9 s"):
        used(late, early)
    with pytest.raises(NotConserved, match="job:7"):
        used(late, replace(late, processes={job: 2.0}))


def test_processes_above_the_machine_are_flagged_or_refused_and_never_scaled_in_silence() -> None:
    near = by_cpu_time(TEN, CpuUse(4.0, 0.0, {"a:1": 4.1}), rest=None)
    assert "4.1 s, 4 s" in near.flags[0]
    with pytest.raises(NotConserved, match=r"4.5 s, 4 s"):
        by_cpu_time(TEN, CpuUse(4.0, 0.0, {"a:1": 4.5}), rest=None)


# ------------------------------------------------------------------ containers


def group(root: Path, name: str, usage_us: int, pids: tuple[int, ...] = ()) -> None:
    folder = root / "sys/fs/cgroup" / name
    folder.mkdir(parents=True)
    (folder / "cpu.stat").write_text(f"usage_usec {usage_us}\nuser_usec 1\nsystem_usec 2\n")
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def test_groups_are_read_in_microseconds(tmp_path: Path) -> None:
    group(tmp_path, "job.slice/a.scope", 2_500_000, (4, 9))
    found = read_groups(["job.slice/a.scope"], root=tmp_path)["job.slice/a.scope"]
    assert (found.cpu_s, found.pids) == (pytest.approx(2.5), (4, 9))
    with pytest.raises(MeterUnavailable, match=r"b\.scope"):
        read_groups(["job.slice/b.scope"], root=tmp_path)


@linux
def test_a_real_group_counts_what_we_do() -> None:
    try:
        before = read_groups([""])[""].cpu_s
    except MeterUnavailable as missing:
        pytest.skip(missing.what)
    assert before > 0
    assert read_groups([""])[""].cpu_s >= before


def test_a_container_inside_another_is_refused() -> None:
    use = CpuUse(9.0, 1.0, {})
    with pytest.raises(UsageError, match="twice"):
        by_container(TEN, use, {"job": GroupUse(5.0), "/job/web/": GroupUse(1.0)}, rest=None)
    with pytest.raises(UsageError, match="twice"):
        by_container(TEN, use, {"": GroupUse(5.0), "job": GroupUse(1.0)}, rest=None)


def test_a_container_with_less_than_its_processes_is_refused_with_both_figures() -> None:
    use = CpuUse(9.0, 1.0, {"a:1": 5.0})
    with pytest.raises(NotConserved, match=r"5 s, 4 s"):
        by_container(TEN, use, {"job": GroupUse(4.0, ("a:1",))}, rest=None)
    with pytest.raises(NotConserved, match=r"20 s, 9 s"):
        by_container(TEN, use, {"job": GroupUse(20.0)}, rest=None)


def test_what_ended_in_a_container_is_the_containers_and_nobodys_in_it() -> None:
    use = CpuUse(10.0, 0.0, {"a:1": 3.0}, tick_s=0.0)
    job = GroupUse(4.0, ("a:1",))
    account = by_container(TEN, use, {"job": job}, rest=None)
    inside = by_member(account, "job", use, job)
    assert inside.total.value == pytest.approx(4.0)
    assert inside.parts["a:1"].value == pytest.approx(3.0)
    assert inside.unattributed.value == pytest.approx(1.0)
    with pytest.raises(UsageError, match="no container"):
        by_member(account, "web", use, job)


# ------------------------------------------------------------------ windows


class Counter:
    name, boundary = "test:0", "package:0"

    def __init__(self) -> None:
        self.joules = 0.0

    def energy(self) -> Joules:
        return Joules(self.joules)


def test_windows_inside_a_window_are_its_phases() -> None:
    counter = Counter()
    instruments = Instruments(meters=(counter,))
    with Window("request", instruments=instruments) as m:
        for name, joules in (("prefill", 30.0), ("decode", 50.0), ("idle", 5.0), ("decode", 10.0)):
            with Window(name, instruments=instruments):
                with Window("inner", instruments=instruments):
                    counter.joules += joules / 2
                counter.joules += joules / 2
        counter.joules += 5.0
    account = by_windows(m, m.parts, boundary="package:0")
    assert {n: p.value for n, p in account.parts.items()} == pytest.approx(
        {"prefill": 30, "decode": 60}
    )
    assert account.idle.value == pytest.approx(5)
    assert account.unattributed.value == pytest.approx(5)
    assert account.parts["prefill"].kind is Kind.MEASURED  # it had readings of its own
    with pytest.raises(UsageError, match="no reading of 'gpu:0'"):
        by_windows(m, m.parts, boundary="gpu:0")
    with pytest.raises(NotConserved, match="phases, whole"):
        by_windows(m, {**m.parts, "again": m.parts["prefill"]})


def test_windows_of_another_boundary_are_refused() -> None:
    counter = Counter()
    whole = Window("whole", instruments=Instruments(meters=(counter,))).start()
    part = Window("part", instruments=Instruments()).start()
    counter.joules = 10.0
    with pytest.raises(UsageError, match="name a boundary"):
        by_windows(whole.stop(), {"part": part.stop()})


def test_an_account_is_plain_values_too() -> None:
    account = by_time(TEN, [PhaseSpan("decode", 0.0, 1.0)], period=(0.0, 2.0))
    data = account.to_json()
    assert Estimate.from_json(data["parts"]["decode"]) == account.parts["decode"]
    assert data["rule"] == "time of open spans"


@linux
def test_the_page_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "share-a-reading.md"
    code = "".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
    exec(compile(code, str(page), "exec"), {"__name__": "page"})  # noqa: S102  # the page is ours
    assert capsys.readouterr().out.count(" J (") == 4
