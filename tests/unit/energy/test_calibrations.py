from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from engine_sample import decoder
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.estimate import Estimate
from negawatt.core.records import Workload
from negawatt.energy.calibrations import VERSION, Anatomy, Lesson, carry, load_lessons, remember
from negawatt.energy.costs import CostTable, kept_at
from negawatt.energy.model import PHASES, Calibration, EnergyModel

CHAT = Workload(128, 128, 1)
FITS = {"prefill": Calibration(1e-3, 1.1, 0.05), "decode": Calibration(4e-3, 0.9, 0.02)}
SMALL = Anatomy.of("LlamaForCausalLM", decoder())
WHERE = {"machine": "here", "runtime": "priced 1.0"}


def lesson(anatomy: Anatomy = SMALL, workload: Workload = CHAT, threads: int = 1) -> Lesson:
    return Lesson(anatomy, workload, threads, 1, FITS)


def calibrated(workload: Workload = CHAT, rest: float = 4e-3) -> EnergyModel:
    return EnergyModel(
        layers=decoder(),
        table=CostTable(**WHERE, rows=()),
        workload=workload,
        threads=1,
        joules_per_cpu_s=Estimate.exact(2.0, unit="J/s", source="test"),
        calibration=FITS | {"decode": replace(FITS["decode"], rest=rest)},
    )


def kept(cache: Path) -> tuple[Lesson, ...]:
    return load_lessons(kept_at(cache, what="calibrations", **WHERE), **WHERE)


def test_what_a_job_learnt_is_there_afterwards(tmp_path: Path) -> None:
    remember(tmp_path, calibrated(), architecture="LlamaForCausalLM", threads=2)
    assert kept(tmp_path) == (lesson(threads=2),)
    assert kept_at(tmp_path, what="calibrations", **WHERE).name.startswith("calibrations-")


def test_the_newest_lesson_of_a_kind_stays_and_other_kinds_stay_too(tmp_path: Path) -> None:
    for rest in (1.0, 2.0):
        remember(tmp_path, calibrated(rest=rest), architecture="LlamaForCausalLM", threads=1)
    remember(tmp_path, calibrated(Workload(512, 64, 8)), architecture="X", threads=1)
    assert [one.fits["decode"].rest for one in kept(tmp_path)] == [2.0, 4e-3]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"prompt": 128', '"prompt": 0'),
        lambda text: text.replace('"fits": {', '"fits": 3, "x": {'),
        lambda text: text.replace(f'"version": {VERSION}', '"version": 1'),
        lambda text: text.replace("here", "there"),
        lambda _: "[]",
    ],
)
def test_damaged_or_foreign_lessons_are_none(tmp_path: Path, damage: object) -> None:
    remember(tmp_path, calibrated(), architecture="LlamaForCausalLM", threads=1)
    path = kept_at(tmp_path, what="calibrations", **WHERE)
    before = path.read_text()
    assert callable(damage)
    path.write_text(damage(before))
    assert path.read_text() != before
    assert kept(tmp_path) == ()


def test_the_same_shape_and_workload_take_the_lesson_as_it_is() -> None:
    found = carry([lesson()], SMALL, CHAT, None)
    assert found is not None
    assert found.exact
    assert found.fits == FITS
    assert found.rest == {phase: (FITS[phase].rest, FITS[phase].rest) for phase in PHASES}


def test_without_a_lesson_for_these_threads_there_is_none() -> None:
    assert carry([], SMALL, CHAT, None) is None
    assert carry([lesson(threads=2)], SMALL, CHAT, 1) is None
    assert carry([lesson(threads=2)], SMALL, CHAT, 2) is not None


def test_the_same_shape_teaches_more_than_one_of_the_same_size() -> None:
    other = replace(SMALL, architecture="Qwen2ForCausalLM")
    found = carry([lesson(other), lesson(SMALL, Workload(512, 512, 1))], SMALL, CHAT, None)
    assert found is not None
    assert found.lesson.anatomy == SMALL
    assert not found.exact


def test_twice_the_blocks_of_one_width_have_twice_the_rest() -> None:
    found = carry([lesson()], Anatomy.of("X", decoder(blocks=4)), CHAT, None)
    assert found is not None
    assert found.fits["decode"].rest == pytest.approx(8e-3)
    assert found.rest["decode"] == pytest.approx((8e-3, 8e-3))
    assert found.fits["decode"].kappa == 0.9


def test_a_wider_model_has_between_the_same_rest_and_one_in_proportion() -> None:
    found = carry([lesson()], Anatomy.of("X", decoder(width=512)), CHAT, None)
    assert found is not None
    assert found.rest["prefill"] == pytest.approx((1e-3, 4e-3))
    assert found.fits["prefill"].rest == pytest.approx(2e-3)


@given(
    blocks=st.integers(1, 100),
    width=st.sampled_from([64, 128, 960]),
    workload=st.builds(Workload, st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 64)),
)
def test_the_rest_lies_between_its_ends(blocks: int, width: int, workload: Workload) -> None:
    anatomy = Anatomy.of("X", decoder(blocks=blocks, width=width))
    found = carry([lesson()], anatomy, workload, None)
    assert found is not None
    for phase in PHASES:
        low, high = found.rest[phase]
        assert 0 < low * (1 - 1e-9) <= found.fits[phase].rest <= high * (1 + 1e-9)


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    remember(tmp_path, calibrated(), architecture="LlamaForCausalLM", threads=1)
    path = kept_at(tmp_path, what="calibrations", **WHERE)
    (one,) = json.loads(path.read_text())["lessons"]
    assert one["anatomy"]["blocks"] == 2
    assert one["fits"]["decode"] == {"rest": 4e-3, "kappa": 0.9, "spread": 0.02}
