"""Unlike devices together: beside every choice there is, and where old devices pay."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from negawatt.core.errors import UsageError
from negawatt.decisions.placement import (
    Fleet,
    Link,
    Machine,
    Model,
    Placement,
    RequestClass,
    Site,
    place,
)
from negawatt.decisions.placement.options import Option, Stage, options_of, servers_of
from negawatt.decisions.placement.program import server_cost, solve, work_cost
from negawatt.decisions.placement.records import Aim
from negawatt.energy.catalogue import catalogue
from negawatt.energy.configs import anatomy_of

CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
EIGHT = Model(name="eight", anatomy=anatomy_of(CONFIG, "eight"))
SMALL = Model(
    name="small",
    anatomy=anatomy_of({**CONFIG, "hidden_size": 2048, "num_hidden_layers": 16}, "small"),
)
KNOWN = catalogue()
CLEAN, DIRTY = Site(name="clean", intensity=10.0, pue=1.2), Site(name="dirty", intensity=800.0)


def machine(name: str, device: str, count: int, site: Site, made: float | None = 0.0) -> Machine:
    return Machine(name=name, profile=KNOWN.find(device), count=count, site=site, embodied_kg=made)


def long_prompts(site: Site) -> Fleet:
    """Prompts that an old device reads too slowly, replies that it writes soon enough."""
    return Fleet(
        machines=(
            machine("new", "h100", 8, site, made=164.0),
            machine("old", "a100", 16, site),
        ),
        models=(EIGHT,),
        classes=(
            RequestClass(
                name="papers", model="eight", rate=2.0, prompt=8192, written=1024,
                first_s=0.3, token_s=0.1,
            ),
        ),
    )  # fmt: skip


def test_old_devices_write_where_their_making_is_paid() -> None:
    found = place(long_prompts(CLEAN), "carbon")
    route = max(found.routes, key=lambda route: route.share)
    assert route.share > 0.5
    assert (route.reading, route.writing) == ("new", "old")
    assert route.sent_bytes == 8192 * 2 * 32 * 8 * 128 * 2
    assert {one.reading for one in found.routes} == {"new"}
    whole, new, old = found.rivals
    assert whole.ratio is not None
    assert whole.ratio > 1.1
    assert new.ratio == pytest.approx(whole.ratio)
    assert old.ratio is None  # it cannot read in time
    why = next(text for text in found.because if "written on old" in text)
    assert "is read on new and written on old: sending 1.07e+03 MB costs" in why
    assert "reading costs" in why
    assert "no other machine can" in why


def test_where_joules_decide_old_devices_stay_off() -> None:
    for fleet, aim in ((long_prompts(DIRTY), "carbon"), (long_prompts(CLEAN), "energy")):
        found = place(fleet, aim)  # type: ignore[arg-type]
        assert {(route.reading, route.writing) for route in found.routes} == {("new", "new")}
        assert {one.machine for one in found.servers} == {"new"}


def test_a_dear_link_keeps_reading_and_writing_together() -> None:
    fleet = replace(long_prompts(CLEAN), link=Link(joules_per_byte=1e-5))
    assert {route.sent_bytes for route in place(fleet).routes} == {0.0}


def test_a_slow_link_keeps_them_together_too() -> None:
    fleet = replace(long_prompts(CLEAN), link=Link(bandwidth=1e8))
    assert {route.sent_bytes for route in place(fleet).routes} == {0.0}


def test_work_goes_to_the_cleaner_site() -> None:
    fleet = Fleet(
        machines=(machine("here", "h100", 4, DIRTY), machine("there", "h100", 4, CLEAN)),
        models=(EIGHT,),
        classes=(RequestClass(name="chat", model="eight", rate=5, prompt=512, written=256),),
    )
    found = place(fleet)
    assert {route.writing for route in found.routes} == {"there"}
    assert found.rivals[1].ratio == pytest.approx(800 / (10 * 1.2), rel=1e-6)


def check(found: Placement, fleet: Fleet) -> None:
    """What must hold of every placement."""
    assert math.fsum(found.parts.values()) == pytest.approx(found.cost.value, rel=1e-12)
    for asked in fleet.classes:
        shares = [route.share for route in found.routes if route.asked == asked.name]
        assert math.fsum(shares) == pytest.approx(1.0)
    for route in found.routes:
        asked = next(one for one in fleet.classes if one.name == route.asked)
        assert route.first_s <= asked.first_s
        assert route.token_s <= asked.token_s
    used = dict.fromkeys((one.name for one in fleet.machines), 0)
    for one in found.servers:
        assert one.busy <= fleet.busy * (1 + 1e-6)
        used[one.machine] += one.count * one.devices
    assert all(used[one.name] <= one.count for one in fleet.machines)


def many() -> Fleet:
    rng = np.random.default_rng(0)
    devices = ("h100", "h100", "b200", "a100", "V100-SXM2-32GB", "l4", "L40S", "t4")
    machines = tuple(
        machine(f"{device} {i}", device, 48, CLEAN if i % 2 else DIRTY, made=50.0 * i)
        for i, device in enumerate(devices)
    )
    classes = tuple(
        RequestClass(
            name=f"class {i}", model=("eight", "small")[i % 2], rate=float(rng.uniform(0.2, 4)),
            prompt=float(rng.choice([128, 512, 2048])), written=float(rng.choice([64, 256])),
            first_s=float(rng.choice([0.5, 2.0, 10.0])), token_s=float(rng.choice([0.05, 0.2])),
        )
        for i in range(24)
    )  # fmt: skip
    return Fleet(machines=machines, models=(EIGHT, SMALL), classes=classes)


@pytest.mark.parametrize("aim", ["carbon", "energy"])
def test_many_classes_on_many_machines(aim: Aim) -> None:
    fleet = many()
    found = place(fleet, aim)
    check(found, fleet)
    assert found.gap <= 0.01
    options, _ = options_of(fleet)
    begun = time.process_time()
    assert solve(fleet, options, aim) is not None
    assert time.process_time() - begun < 2.0  # 0.1 s on a quiet machine


def stage(place_: Machine, joules: float, busy_s: float) -> Stage:
    return Stage(machine=place_, devices=1, batch=1, joules=joules, busy_s=busy_s, wait_s=0.0)


@st.composite
def small(draw: st.DrawFn) -> tuple[Fleet, tuple[Option, ...]]:
    """Few classes, few machines, made-up costs; some readers may not be paired with some writers."""
    machines = tuple(
        machine(f"m{i}", draw(st.sampled_from(["h100", "a100", "t4"])), draw(st.integers(1, 2)),
                draw(st.sampled_from([CLEAN, DIRTY])), made=draw(st.sampled_from([0.0, 200.0])))
        for i in range(draw(st.integers(1, 2)))
    )  # fmt: skip
    classes = tuple(
        RequestClass(name=f"c{i}", model="eight", rate=1.0, prompt=100, written=100)
        for i in range(draw(st.integers(1, 2)))
    )
    fleet = Fleet(machines=machines, models=(EIGHT,), classes=classes, busy=1.0)
    cost, busy = st.integers(1, 900), st.integers(1, 9)
    options = []
    for asked in classes:
        reading = [stage(one, draw(cost), draw(busy) / 10) for one in machines]
        writing = [stage(one, draw(cost), draw(busy) / 10) for one in machines]
        pairs = [(r, w) for r in reading for w in writing if draw(st.integers(0, 3))]
        options += [
            Option(
                asked=asked, reading=r, writing=w, first_s=0.0,
                sent_bytes=0.0, sent_joules=0.0 if r.machine is w.machine else 20.0,
            )
            for r, w in pairs or [(reading[0], writing[0])]
        ]  # fmt: skip
    return fleet, tuple(options)


def least(fleet: Fleet, options: tuple[Option, ...], aim: Aim) -> float | None:
    """The best of every number of servers, shares being found by linear programming alone."""
    places = servers_of(options)
    best = None
    names = [one.name for one in fleet.classes]
    sums = np.array([[float(o.asked.name == name) for o in options] for name in names])
    for counts in product(*(range(there.count + 1) for there, _ in places.values())):
        work = np.array(
            [
                [sum(o.asked.rate * s.busy_s for s in (o.reading, o.writing)
                     if s.place == key[1:]) for o in options]
                for key in places
            ]
        )  # fmt: skip
        found = linprog(
            [o.asked.rate * work_cost(o, aim) for o in options],
            A_ub=work, b_ub=np.array(counts, dtype=float), A_eq=sums, b_eq=np.ones(len(names)),
            bounds=(0, 1),
        )  # fmt: skip
        if found.status == 0:
            on = sum(
                count * server_cost(there, devices, aim)
                for count, (there, devices) in zip(counts, places.values(), strict=True)
            )
            best = min(found.fun + on, best if best is not None else math.inf)
    return best


@settings(max_examples=60)
@given(made_up=small(), aim=st.sampled_from(["carbon", "energy"]))
def test_no_placement_costs_less(made_up: tuple[Fleet, tuple[Option, ...]], aim: Aim) -> None:
    fleet, options = made_up
    found, best = solve(fleet, options, aim, gap=1e-9), least(fleet, options, aim)
    assert (found is None) == (best is None)
    if found is None or best is None:
        return
    assert found.cost == pytest.approx(best, rel=1e-6)
    # The shares that are told cost what was minimised.
    places = servers_of(options)
    told = math.fsum(
        share * o.asked.rate * work_cost(o, aim)
        for o, share in zip(options, found.shares, strict=True)
    ) + sum(n * server_cost(*places[key], aim) for key, n in found.servers.items())
    assert told == pytest.approx(found.cost, rel=1e-6)


def test_too_few_machines_are_told_with_a_mend() -> None:
    fleet = Fleet(
        machines=(machine("one", "h100", 1, CLEAN),),
        models=(EIGHT,),
        classes=(RequestClass(name="chat", model="eight", rate=500, prompt=512, written=256),),
    )
    with pytest.raises(UsageError, match="too few") as caught:
        place(fleet)
    assert "of one" in caught.value.fix


def test_a_class_that_nobody_serves_is_named_with_reasons() -> None:
    fleet = Fleet(
        machines=(machine("one", "t4", 1, CLEAN), machine("two", "l4", 1, CLEAN)),
        models=(EIGHT,),
        classes=(
            RequestClass(name="chat", model="eight", rate=1, prompt=512, written=9, token_s=1e-3),
        ),
    )
    with pytest.raises(UsageError, match="no machine serves chat") as caught:
        place(fleet)
    assert "one: 1 devices do not hold eight" in str(caught.value)
    assert "two: a token takes longer than 0.001 s" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"machines": ()}, "no machines"),
        ({"busy": 0.0}, "busy"),
        ({"models": (EIGHT, EIGHT)}, "one name"),
        ({"models": (SMALL,)}, "asks for eight"),
    ],
)
def test_a_fleet_that_makes_no_sense_is_refused(change: dict[str, object], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        replace(long_prompts(CLEAN), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Site(name="s", intensity=-1),
        lambda: Site(name="s", intensity=1, pue=0.5),
        lambda: machine("m", "h100", 0, CLEAN),
        lambda: machine("m", "h100", 1, CLEAN, made=-1.0),
        lambda: RequestClass(name="c", model="m", rate=0, prompt=1, written=1),
    ],
)
def test_absurd_numbers_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(UsageError) as caught:
        wrong()
    assert caught.value.fix.startswith("give")
