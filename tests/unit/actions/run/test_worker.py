"""The worker in a world of its own: clean hours are met, deadlines kept, whatever goes wrong."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hours_sample import HOUR, START
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_world import Scene, hours_of, kept_deadline

from negawatt.actions.run.book import Book
from negawatt.actions.run.orders import Phase
from negawatt.actions.run.pace import Pace
from negawatt.actions.run.steer import Limits
from negawatt.actions.run.stint import Stint
from negawatt.actions.run.worker import _lain, _need
from negawatt.core.errors import RunnerUnavailable, SignalUnavailable
from negawatt.core.runners import RunState

DAY = [500.0, 400, 100, 300, 50, 60, 600, 700, 800, 900, 900, 900]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, DAY)


def test_it_waits_for_the_cleanest_row_of_hours(scene: Scene) -> None:
    entry = scene.one(scene.order(hours=2))
    assert entry.progress.phase is Phase.DONE
    assert hours_of(entry) == [(4, 6)]


def test_what_may_be_paused_takes_the_cleanest_hours(scene: Scene) -> None:
    entry = scene.one(scene.order(hours=3, interruptible=True))
    assert hours_of(entry) == [(2, 3), (4, 6)]
    assert entry.progress.resumes == 1
    told = [event["what"] for event in scene.book.events(entry.id)]
    assert [what for what in told if what != "planned"] == [
        "added", "claimed", "started", "paused", "resumed", "ended",
    ]  # fmt: skip


def test_the_saving_is_that_of_the_hours(scene: Scene) -> None:
    scene.go(scene.order(hours=2))
    ((kind, body),) = scene.kept
    assert kind == "run"
    saving = body["saving"]
    assert saving.mean_run == pytest.approx(55, rel=0.01)
    assert saving.mean_now == pytest.approx(450, rel=0.01)
    assert saving.now.value == pytest.approx(0.1 * 2 * 450, rel=0.01)
    assert saving.share.value == pytest.approx(1 - 55 / 450, rel=0.01)
    assert body["deadline_kept"]


def test_a_job_without_slack_starts_at_once(scene: Scene) -> None:
    entry = scene.one(scene.order(hours=2, by=2))
    assert hours_of(entry)[0][0] == 0
    assert kept_deadline(entry)


def test_without_any_forecast_it_runs_at_once_and_says_so(scene: Scene) -> None:
    scene.planner.broken = SignalUnavailable("the provider is silent", fix="wait")
    entry = scene.one(scene.order(hours=2))
    assert hours_of(entry) == [(0, 2)]
    assert "the provider is silent" in entry.progress.notes[0]


def test_a_planner_that_crashes_is_no_reason_to_stop(scene: Scene) -> None:
    scene.planner.broken = ZeroDivisionError("oh")
    entry = scene.one(scene.order(hours=2))
    assert kept_deadline(entry)
    assert "ZeroDivisionError" in entry.progress.notes[0]


def test_when_forecasts_fail_later_the_plan_before_holds(scene: Scene) -> None:
    def fail_at_one() -> None:
        if scene.clocks.wall >= START + HOUR:
            scene.planner.broken = SignalUnavailable("gone", fix="wait")

    scene.clocks.on_sleep = fail_at_one
    entry = scene.one(scene.order(hours=2))
    assert hours_of(entry) == [(4, 6)]


def test_a_newer_forecast_is_followed(scene: Scene) -> None:
    def better_later() -> None:
        if scene.clocks.wall >= START + HOUR:
            scene.planner.series.values[7:9] = 1.0

    scene.clocks.on_sleep = better_later
    assert hours_of(scene.one(scene.order(hours=2))) == [(7, 9)]


def test_a_job_that_takes_longer_runs_on_to_its_end(scene: Scene) -> None:
    entry = scene.one(scene.order(hours=2, real_s=4 * 3600, interruptible=True))
    assert entry.progress.phase is Phase.DONE
    assert entry.progress.ran_s == pytest.approx(4 * 3600, abs=150)


def test_a_clock_set_forward_starts_what_has_no_time_left(scene: Scene) -> None:
    stepped = []

    def step() -> None:
        if not stepped and scene.clocks.wall >= START + 0.5 * HOUR:
            stepped.append(True)
            scene.clocks.wall += 7 * HOUR

    scene.clocks.on_sleep = step
    entry = scene.one(scene.order(hours=2))
    assert kept_deadline(entry)
    assert hours_of(entry)[0][0] == pytest.approx(7.5, abs=0.1)


def test_a_clock_set_back_does_not_make_it_run_twice(scene: Scene) -> None:
    stepped = []

    def step() -> None:
        if not stepped and scene.clocks.wall >= START + 4.5 * HOUR:
            stepped.append(True)
            scene.clocks.wall -= 2 * HOUR

    scene.clocks.on_sleep = step
    entry = scene.one(scene.order(hours=2))
    assert entry.progress.phase is Phase.DONE
    assert len(scene.machine.made) == 1
    assert entry.progress.ran_s == pytest.approx(2 * 3600, abs=150)


def test_a_machine_that_slept_has_not_worked_meanwhile(scene: Scene) -> None:
    slept = []

    def sleep() -> None:
        if not slept and scene.clocks.wall >= START + 4.5 * HOUR:
            slept.append(True)
            scene.clocks.wall += 3 * HOUR  # the steady clock stands still

    scene.clocks.on_sleep = sleep
    entry = scene.one(scene.order(hours=2, interruptible=True, by=10))
    assert kept_deadline(entry)


def test_max_wait_bounds_the_wait(scene: Scene) -> None:
    entry = scene.one(scene.order(hours=1, max_wait_s=2.5 * 3600))
    assert hours_of(entry)[0][0] <= 2.5


def test_a_runner_that_refuses_is_asked_three_times(scene: Scene) -> None:
    scene.machine.broken = RunnerUnavailable("the cluster is full", fix="wait")
    entry = scene.one(scene.order(hours=1))
    assert entry.progress.phase is Phase.FAILED
    assert "the cluster is full" in entry.progress.notes


def test_what_vanished_is_begun_anew_and_this_is_told(scene: Scene) -> None:
    def vanish() -> None:
        if scene.clocks.wall >= START + 4.5 * HOUR and len(scene.machine.made) == 1:
            next(iter(scene.machine.made.values())).state = RunState.LOST

    scene.clocks.on_sleep = vanish
    entry = scene.one(scene.order(hours=2))
    assert kept_deadline(entry)
    assert entry.progress.attempt == 1
    assert any("begun anew" in note for note in entry.progress.notes)
    ((_, body),) = scene.kept
    assert body["saving"].restarts.value > 0  # what was lost is not hidden


def test_a_worker_takes_over_what_a_dead_one_left(scene: Scene) -> None:
    number = scene.book.add(scene.order(hours=3, interruptible=True), "queue")
    first = scene.worker(queue="queue")
    while scene.clocks.wall < START + 4.5 * HOUR:
        scene.clocks.sleep(first.turn() or 1)
    lock = scene.book._lock
    assert lock is not None
    lock.release(force=True)  # as the system does when a worker is killed
    scene.clocks.sleep(0.25 * 3600)
    with scene.opened() as other:
        scene.worker(other, queue="queue").run(scene.clocks.sleep)
        entry = other.get(number)
    assert kept_deadline(entry)
    assert len(scene.machine.made) == 1
    assert entry.progress.ran_s == pytest.approx(3 * 3600, abs=200)
    assert [part.watched for part in entry.progress.parts].count(False) == 1
    assert sum(part.seconds for part in entry.progress.parts) == pytest.approx(3 * 3600, abs=200)


def test_a_live_worker_keeps_what_it_has(scene: Scene) -> None:
    number = scene.book.add(scene.order(hours=2, by=2.1), "queue")
    scene.worker(queue="queue").turn()
    with scene.opened() as other:
        assert other.adopt("queue") == []
        assert scene.worker(other, queue="queue").turn() is None
    assert scene.book.get(number).progress.phase is Phase.RUNNING


def test_a_start_that_was_cut_short_is_not_made_twice(scene: Scene) -> None:
    number = scene.book.add(scene.order(hours=2, by=2.1), "queue")
    claimed = scene.book.claim(number, Limits())
    assert claimed is not None
    from negawatt.actions.run.stint import Stint

    stint = Stint(claimed, scene.book, scene.means())
    stint.book = _Deaf(scene.path)  # it dies between the runner's answer and writing it down
    stint.start()
    lock = scene.book._lock
    assert lock is not None
    lock.release(force=True)
    with scene.opened() as other:
        scene.worker(other, queue="queue").run(scene.clocks.sleep)
        assert other.get(number).progress.phase is Phase.DONE
    assert len(scene.machine.made) == 1


class _Deaf(Book):
    def save(self, *args: object, **other: object) -> bool:
        return False


def test_slots_are_kept_and_so_are_deadlines(scene: Scene) -> None:
    orders = [scene.order(f"job{n}", hours=2, by=11, interruptible=n % 2 > 0) for n in range(5)]
    entries = scene.go(*orders, limits=Limits(slots=1))
    assert scene.machine.most_at_once == 1
    assert all(kept_deadline(entry) for entry in entries), [e.progress.ended for e in entries]


def test_power_is_a_limit_too(scene: Scene) -> None:
    orders = [scene.order(f"job{n}", hours=1, power_w=100.0) for n in range(4)]
    entries = scene.go(*orders, limits=Limits(power_w=250))
    assert scene.machine.most_at_once == 2
    assert all(kept_deadline(entry) for entry in entries)


def test_one_that_has_no_time_left_displaces_one_that_has(scene: Scene) -> None:
    relaxed = scene.order("relaxed", hours=4, by=11, interruptible=True)
    urgent = scene.order("urgent", hours=1, by=5.2)
    scene.planner.series.values[:] = [1, 1, 1, 1, 900, 900, 900, 900, 900, 900, 900, 900]
    urgent = replace(urgent, deadline=START + 2.2 * HOUR)
    entries = scene.go(relaxed, urgent, limits=Limits(slots=1))
    assert all(kept_deadline(entry) for entry in entries)
    assert scene.machine.most_at_once == 1


def test_an_order_is_cancelled_while_it_waits_and_while_it_runs(scene: Scene) -> None:
    waiting = scene.book.add(scene.order(hours=2), "queue")
    running = scene.book.add(scene.order(hours=2, by=2.1), "queue")
    worker = scene.worker(queue="queue")
    worker.turn()
    scene.book.cancel(waiting)
    scene.book.cancel(running)
    worker.run(scene.clocks.sleep)
    phases = {scene.book.get(number).progress.phase for number in (waiting, running)}
    assert phases == {Phase.CANCELLED}


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    hours=st.lists(st.floats(1, 900), min_size=14, max_size=14),
    work=st.floats(0.5, 6),
    slack=st.floats(0.1, 6),
    interruptible=st.booleans(),
    silent_from=st.floats(0, 14),
    step=st.floats(-2, 2),
    step_at=st.floats(0, 6),
)
def test_no_deadline_is_missed_under_any_forecast(
    hours: list[float],
    work: float,
    slack: float,
    interruptible: bool,
    silent_from: float,
    step: float,
    step_at: float,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder), hours)
        state = {"stepped": False}

        def disturb() -> None:
            passed = scene.clocks.steady / 3600
            if passed >= silent_from:
                scene.planner.broken = SignalUnavailable("gone", fix="wait")
            if not state["stepped"] and passed >= step_at and step < 0:
                state["stepped"] = True
                scene.clocks.wall += step * HOUR

        scene.clocks.on_sleep = disturb
        entry = scene.one(scene.order(hours=work, by=work + slack, interruptible=interruptible))
        assert kept_deadline(entry)
        assert entry.progress.ran_s == pytest.approx(work * 3600, abs=150)
        scene.book.close()
        assert timedelta(seconds=entry.progress.ran_s) > timedelta(0)


def test_a_worker_naps_while_a_job_runs(tmp_path: Path) -> None:
    """The last safe moment of what runs moves on with the clock: it is nothing to wake up for.

    In these hours one wakes up a moment before it, and the moment stays ahead.
    """
    hours = [
        100.86996550107442, 589.1271391674678, 79.66902930459901, 461.62016204910583,
        820.1623645677072, 211.78991922902324, 277.32827863339855, 550.6123042373521,
        516.5539972982338, 504.87348996184585, 353.44012564113405, 37.76395986588035,
        536.1161759350709, 249.81310421316815,
    ]  # fmt: skip
    work, slack = 3.9123317869814485, 2.6835303529459837
    scene, naps = Scene(tmp_path, hours), [0]

    def count() -> None:
        naps[0] += 1
        assert naps[0] < 1500

    scene.clocks.on_sleep = count
    assert kept_deadline(scene.one(scene.order(hours=work, by=work + slack, interruptible=True)))
    scene.book.close()


def test_a_job_that_cannot_be_stopped_is_not_begun_in_the_way_of_another(tmp_path: Path) -> None:
    hours = [900.0] * 4 + [10.0, 5.0, 5.0] + [800.0] * 7
    scene = Scene(tmp_path, hours)
    long, short = scene.go(
        scene.order("long", hours=3, by=14),
        scene.order("short", hours=2, by=7.5),
        limits=Limits(slots=1),
    )
    assert kept_deadline(short)
    assert kept_deadline(long)
    assert scene.machine.most_at_once == 1
    scene.book.close()


@pytest.mark.parametrize("speed", [1.0, 60.0, 3600.0])
def test_jobs_with_clocks_of_their_own_are_laid_out_in_real_time(
    tmp_path: Path, speed: float
) -> None:
    scene = Scene(tmp_path, [1.0] * 14)
    lengths = []
    for shown in (START, START - 5 * HOUR, START + 9 * HOUR):
        pace = Pace(speed, began=START, shown=shown)
        by = shown + 6 * HOUR
        order = scene.order(hours=2, release=shown, by=(by - START) / HOUR, pace=pace)
        stint = Stint(scene.book.get(scene.book.add(order, "queue")), scene.book, scene.means())
        need = _need(stint, START, by - 3 * HOUR)
        lengths.append((need.latest - START, need.seconds, _lain(stint, START)[1] - START))
    assert lengths == [(6 * HOUR / speed, 3 * 3600 / speed, 2 * HOUR / speed)] * 3
    scene.book.close()
