from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from chip_sample import EIGHT_B, ENCODER, FEW, SMALL, design

from negawatt.core.codec import decode, encode
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.core.records import Workload
from negawatt.energy.chips.cost import Limits
from negawatt.energy.chips.design import Design, Space, columns_of, grid
from negawatt.energy.chips.exploration import Asked, Exploration, answer
from negawatt.energy.chips.explore import assess, described, search
from negawatt.energy.chips.mix import Mix, Task, served
from negawatt.energy.chips.overhead import overhead
from negawatt.energy.chips.reasons import limit_of
from negawatt.energy.chips.technology import PRECISIONS, chips, circuits, factors, published
from negawatt.energy.configs import anatomy_of
from negawatt.energy.workload import Step, work_of

CHAT = Workload(128, 128, 1)


@pytest.fixture(scope="module")
def mix() -> Mix:
    return served([anatomy_of(SMALL)], [CHAT])


def asked(mix: Mix, limits: Limits | None = None, space: Space = FEW) -> Asked:
    return Asked(
        models=("small",), workloads=(CHAT.spec,), mix=mix, space=space, limits=limits or Limits()
    )


# ---------------------------------------------------------------- technology


def test_every_constant_says_where_it_is_from_and_how_sure_it_is() -> None:
    for factor in factors().values():
        assert factor.low <= factor.value <= factor.high, factor.name
        assert factor.low > 0, factor.name
        assert factor.source, factor.name
        assert factor.licence, factor.name
        assert factor.estimate().kind is Kind.ASSUMED


def test_every_constant_is_used() -> None:
    class Heard(dict[str, float]):
        asked: set[str]

        def __getitem__(self, name: str) -> float:
            self.asked.add(name)
            return super().__getitem__(name)

    heard = Heard(published().constants)
    heard.asked = set()
    technology = published()
    object.__setattr__(technology, "constants", heard)
    mixed = served([anatomy_of(SMALL)], [CHAT])
    for one in ({}, {"chiplets": 2}):
        assess(design(**one), mixed, technology)
    technology.voltage_for(1e9)
    grid(FEW, technology)
    assert not set(factors()) - heard.asked


def test_wires_make_large_memories_dear() -> None:
    t = circuits()
    published_points = {1: 1.75, 4: 1.99, 128: 15.0}  # MB -> pJ/B
    for megabytes, told in published_points.items():
        ours = 1e12 * (t["sram_least"] + t["sram_wire"] * np.sqrt(megabytes))
        assert told / 1.5 < ours < told * 1.5


def test_constants_follow_from_the_shared_tables(shared: object) -> None:
    import csv
    from pathlib import Path

    file = Path(str(shared)) / "data" / "hardware" / "energy_per_op.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))

    def told(quantity: str, level: str, node: str) -> float:
        found = [
            float(row["value"])
            for row in rows
            if (row["quantity"], row["precision_or_level"], row["node_nm"])
            == (quantity, level, node)
        ]
        return found[0]

    t = factors()
    bf16 = told("mac_mul", "bf16", "7") + told("mac_add", "fp32", "7")
    assert t["mac_bf16"].value == pytest.approx(bf16)
    int8 = told("mac_mul", "int8", "7") + told("mac_add", "int32", "7")
    assert t["mac_int8"].value == pytest.approx(int8)
    ratios = [
        told("mac_mul", kind, "45") / told("mac_mul", kind, "7")
        for kind in ("int8", "fp16", "fp32")
    ]
    exponents = np.log(ratios) / np.log(45 / 7)
    assert min(exponents) * 0.95 < t["energy_exponent"].value < max(exponents)
    fitted = [row for row in rows if row["boundary"] == "chip" and row["quantity"] == "flop"]
    for row in chips()["regression"]:
        if "operation_pj" in row:
            ends = [(float(r["value"]), float(r["value_high"])) for r in fitted]
            assert any(low < row["operation_pj"] < high for low, high in ends), row["name"]


def test_a_clock_has_its_voltage() -> None:
    t = published()
    clocks = np.linspace(0.1e9, 2.1e9, 30)
    volts = t.voltage_for(clocks)
    assert (np.diff(volts) >= 0).all()
    assert volts[0] == 0.65  # memory cells need that much
    assert volts[-1] > 1


def test_nodes_that_nobody_knows_are_refused_with_those_that_are(mix: Mix) -> None:
    with pytest.raises(UsageError, match="6 nm") as raised:
        assess(design(node_nm=6), mix, published())
    assert "3, 4, 5, 7, 10, 12, 16" in raised.value.fix


# ------------------------------------------------------------------ overhead


def test_overhead_is_fitted_without_the_chip_it_is_tried_on() -> None:
    found = overhead(circuits())
    names = [clue.name for clue in found.clues]
    assert "TPUv4i" in names
    assert "TPUv4" not in names
    assert found.factor.low < 1.5 < found.factor.value < 2.5 < found.factor.high
    assert {clue.kind for clue in found.clues} == {"systolic", "gpu", "regression"}


@pytest.mark.parametrize("name", ["TPUv4i", "TPUv5e", "Gaudi2"])
def test_a_chip_left_out_is_told_by_the_others(name: str) -> None:
    alone = next(clue for clue in overhead(circuits()).clues if clue.name == name)
    others = overhead(circuits(), without=[name]).factor
    assert 1 / 1.4 < alone.factor / others.value < 1.4
    assert others.low < alone.factor < others.high


def test_dearer_circuits_leave_less_to_explain() -> None:
    t = circuits()
    dearer = t.changed({"mac_bf16": 2 * t["mac_bf16"]})
    assert overhead(dearer).factor.value < overhead(t).factor.value


# ----------------------------------------------------------------------- mix


@pytest.mark.parametrize("config", [SMALL, EIGHT_B, ENCODER], ids=["small", "8b", "encoder"])
def test_products_do_all_operations_and_load_all_values(config: dict[str, object]) -> None:
    anatomy = anatomy_of(config)
    step = Step(phase="prefill", batch=2, new=64)
    chore = Mix((Task(anatomy, step),), 1.0, ((1.0, 0.0),)).chores[0]
    load = work_of(
        anatomy, Step(phase="prefill", batch=2, new=64, weight_bits=8, context_bits=8)
    ).load
    done = sum(one.count * one.values * one.reuse for one in chore.products)
    assert done == pytest.approx(load.operations / 2)
    loaded = sum(one.count * one.values for one in chore.products) + chore.looked_up
    assert loaded == pytest.approx(load.weight_bytes + load.context_bytes)


def test_layers_that_are_alike_are_counted_together() -> None:
    mixed = served([anatomy_of(EIGHT_B)], [CHAT])
    assert all(len(chore.products) < 6 for chore in mixed.chores)


def test_an_encoder_only_reads() -> None:
    mixed = served([anatomy_of(ENCODER)], [Workload(100, 50, 3)])
    assert [task.step.phase for task in mixed.tasks] == ["prefill"]
    assert mixed.tokens == 300


def test_models_and_workloads_share_alike() -> None:
    one, other = anatomy_of(SMALL), anatomy_of(EIGHT_B)
    mixed = served([one, other], [CHAT, Workload(512, 64, 8)])
    assert mixed.tokens == pytest.approx((128 + 8 * 64) / 2)
    assert (mixed.needed() >= served([other], [CHAT]).needed()).all()


def test_memory_needed_is_weights_and_text() -> None:
    anatomy = anatomy_of(EIGHT_B)
    needed = dict(zip(PRECISIONS, served([anatomy], [CHAT]).needed(), strict=True))
    text = 32 * 2 * 8 * 128 * 256  # layers, keys and values, heads, size, tokens
    assert needed["bf16"] == pytest.approx(2 * anatomy.parameters + 2 * text)
    assert needed["int4"] == pytest.approx(anatomy.parameters / 2 + text)


@pytest.mark.parametrize(
    ("step", "weight", "words"),
    [
        (Step(phase="backward", new=5), 1.0, "backward"),
        (Step(), 0.0, "weight 0.0"),
        (Step(devices=2), 1.0, "2 devices"),
    ],
)
def test_tasks_that_designs_are_not_for(step: Step, weight: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Task(anatomy_of(SMALL), step, weight)


def test_a_mix_needs_something_to_do() -> None:
    with pytest.raises(UsageError, match="no work"):
        served([], [CHAT])
    with pytest.raises(UsageError, match="without tasks"):
        Mix((), 1.0, ())
    with pytest.raises(UsageError, match="0 tokens"):
        Mix((Task(anatomy_of(SMALL), Step()),), 0, ())


# ------------------------------------------------------------------- designs


@pytest.mark.parametrize("field", ["rows", "arrays", "shared_mb", "bandwidth", "frequency"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_absurd_designs_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=field) as raised:
        design(**{field: value})
    assert "above nought" in raised.value.fix


@pytest.mark.parametrize("field", ["dataflow", "precision", "memory"])
def test_names_are_refused_with_those_that_are_known(field: str) -> None:
    with pytest.raises(UsageError, match="wrong") as raised:
        design(**{field: "wrong"})
    assert "name one of" in raised.value.fix


def test_arrays_divide_among_dies() -> None:
    with pytest.raises(UsageError, match="3 dies"):
        design(arrays=8, chiplets=3)


def test_a_design_is_the_same_as_record_and_as_column() -> None:
    many = [design(), design(dataflow="output", precision="int4", memory="gddr6", stacks=8)]
    columns = columns_of(many)
    assert [columns[at] for at in range(len(columns))] == many


def test_a_grid_is_every_combination_once() -> None:
    designs = grid(FEW, published())
    assert len(designs) == len(FEW)
    lines = {tuple(encode(designs[at]).values()) for at in range(len(designs))}
    assert len(lines) == len(FEW)
    assert len(Space()) >= 12_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memories": ("hbm9",)}, "hbm9"),
        ({"precisions": ("fp3",)}, "fp3"),
        ({"nodes": ()}, "no nodes"),
        ({"arrays": (4, -1)}, "arrays hold -1"),
    ],
)
def test_absurd_spaces_are_refused(change: dict[str, tuple[object, ...]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Space(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arrays": 128, "node_nm": 16}, "mm²"),
        ({"capacity": 1e6}, "GB"),
        ({"frequency": 2.5e9}, "does not carry"),
    ],
)
def test_designs_that_cannot_be_are_refused_with_what_would_do(
    mix: Mix, change: dict[str, float], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        assess(design(**change), mix, published())
    assert raised.value.fix


# -------------------------------------------------------------------- answer


def test_an_answer_is_whole(mix: Mix) -> None:
    found = answer(asked(mix))
    assert found.tried == len(FEW) >= found.met >= len(found.front) > 0
    assert found.choice in found.front
    for field in fields(found.chosen):
        told = getattr(found.chosen, field.name)
        assert told.low <= told.value <= told.high, field.name
        assert (told.kind, bool(told.source), bool(told.boundary)) == (Kind.MODELLED, True, True)
    assert found.chosen.joules.value == found.choice.joules
    assert found.chosen.carbon.high > 1.2 * found.chosen.carbon.low
    assert len(found.because) == 3
    assert -1 <= found.stability.tau.low <= found.stability.tau.high <= 1
    assert 0 <= found.stability.stays <= 1
    assert found.gained >= 0


def test_an_answer_is_the_same_twice_and_survives_a_file(mix: Mix) -> None:
    found = answer(asked(mix))
    assert encode(answer(asked(mix))) == encode(found)
    text = json.dumps(encode(found), allow_nan=False)
    assert decode(Exploration, json.loads(text)) == found


def test_progress_tells_every_stage_to_its_end(mix: Mix) -> None:
    told: list[tuple[str, float]] = []
    answer(asked(mix), lambda stage, share: told.append((stage, share)))
    stages = dict(told)
    assert len(stages) == 3
    assert set(stages.values()) == {1.0}


def test_limits_hold_for_everything_that_is_shown(mix: Mix) -> None:
    free = answer(asked(mix))
    limits = Limits(
        area=float(np.median([one.area for one in free.front])),
        power=float(np.median([one.peak for one in free.front])),
        seconds=float(np.max([one.seconds for one in free.front])),
    )
    found = answer(asked(mix, limits))
    for one in found.front:
        assert one.area <= limits.area * (1 + 1e-6)
        assert one.peak <= limits.power * (1 + 1e-6)
        assert one.seconds <= limits.seconds * (1 + 1e-6)
        assert one.die <= 858 * (1 + 1e-6)
    assert found.met < free.met


_OPTIONS = {"--max-area": "area", "--max-power": "power", "--max-latency": "seconds"}


@pytest.mark.parametrize("limits", [{"area": 1.0}, {"power": 2.0}, {"seconds": 1e-6}])
def test_a_limit_that_nothing_keeps_is_told_with_one_that_something_keeps(
    mix: Mix, limits: dict[str, float]
) -> None:
    with pytest.raises(UsageError, match="nearest") as raised:
        answer(asked(mix, Limits(**limits)))
    words = raised.value.fix.removeprefix("allow ").split()
    pairs = zip(words[::2], words[1::2], strict=True)
    allowed = {**limits, **{_OPTIONS[option]: float(value) for option, value in pairs}}
    assert answer(asked(mix, Limits(**allowed))).met > 0


@pytest.mark.parametrize("name", ["area", "power", "seconds"])
@pytest.mark.parametrize("value", [0.0, -5.0, float("nan")])
def test_absurd_limits_are_refused(mix: Mix, name: str, value: float) -> None:
    with pytest.raises(UsageError, match="leaves nothing"):
        answer(asked(mix, Limits(**{name: value})))


def test_a_model_that_no_memory_holds_is_told_so() -> None:
    huge = anatomy_of({**EIGHT_B, "num_hidden_layers": 2000})
    with pytest.raises(UsageError, match=r"take \d+ GB") as raised:
        search(served([huge], [CHAT]), FEW, Limits(), published())
    assert "smaller model" in raised.value.fix


def test_what_limits_a_design_is_told_by_its_work() -> None:
    anatomy = anatomy_of(EIGHT_B)
    fast = design(bandwidth=1.6e12)
    reading = Mix((Task(anatomy, Step(phase="prefill", batch=4, new=512)),), 2048.0, ((1.0, 0.0),))
    writing = Mix((Task(anatomy, Step(context=64)),), 1.0, ((1.0, 0.0),))
    assert limit_of(assess(fast, reading, published())) == "compute"
    assert limit_of(assess(fast, writing, published())) == "memory"
    idle = design(bandwidth=2e10, shared_mb=256.0)
    assert limit_of(assess(idle, writing, published())) == "leakage"


def test_a_design_is_described_in_a_line() -> None:
    one: Design = design(dataflow="output", chiplets=2)
    assert described(one).endswith("1.64 TB/s, 1.5 GHz, 7 nm, 2 dies")
    assert "sums stay" in described(one)
