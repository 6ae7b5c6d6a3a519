"""Devices by name."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from negawatt.core.codec import encode
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Kind
from negawatt.energy.catalogue import carried_profiles, catalogue, unseen_band
from negawatt.energy.devices import known_datasheets


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("h100", "H100-SXM5-80GB"),  # several begin so, one was measured
        ("H100 PCIe", "H100-PCIe-80GB"),
        ("b200", "B200-SXM-180GB"),
        ("a100", "A100-SXM4-40GB"),
        ("rtx4090", "RTX-4090"),
        ("4090", "RTX-4090"),
        ("l4", "L4"),  # though L40 begins so
    ],
)
def test_a_device_is_found_by_what_people_call_it(name: str, device: str) -> None:
    assert catalogue().find(name).name == device


@pytest.mark.parametrize("name", ["h1000", "", "?"])
def test_an_unknown_device_is_refused_with_names(name: str) -> None:
    with pytest.raises(UsageError, match="no device") as caught:
        catalogue().find(name)
    assert "calibrate" in caught.value.fix


def test_several_unmeasured_devices_of_a_name_are_listed() -> None:
    with pytest.raises(UsageError, match="devices are called MI") as caught:
        catalogue().find("MI")
    assert "MI300X" in caught.value.fix


def test_measured_devices_carry_their_windows() -> None:
    for profile in carried_profiles().values():
        assert profile.kind is Kind.MODELLED
        assert profile.windows > 100
        assert profile.models >= 7
        assert profile.band.joules < (profile.expert_band or profile.band).joules
        assert known_datasheets()[profile.name].power_w == profile.sheet.power_w


def test_a_device_without_windows_is_assumed_and_wider_than_any_with() -> None:
    found = catalogue().find("RTX-4090")
    assert found.kind is Kind.ASSUMED
    assert found.band == unseen_band()
    assert all(found.band.joules > one.band.joules for one in carried_profiles().values())


def test_what_was_calibrated_here_goes_first(tmp_path: Path) -> None:
    carried = carried_profiles()["H100-SXM5-80GB"]
    own = replace(carried, windows=7)
    (tmp_path / "profile-own.json").write_text(json.dumps(encode(own)), encoding="utf-8")
    assert catalogue(tmp_path).find("h100").windows == 7


def test_of_two_calibrations_the_last_is_meant(tmp_path: Path) -> None:
    carried = carried_profiles()["H100-SXM5-80GB"]
    for age, (name, count) in enumerate((("b", 7), ("a", 9))):
        file = tmp_path / f"profile-{name}.json"
        file.write_text(json.dumps(encode(replace(carried, windows=count))), encoding="utf-8")
        os.utime(file, (1000 + age, 1000 + age))
    assert catalogue(tmp_path).find("h100").windows == 9


def test_a_profile_of_another_version_is_named_where_its_device_is_missed(tmp_path: Path) -> None:
    old = replace(carried_profiles()["H100-SXM5-80GB"], version=0)
    old = replace(old, sheet=replace(old.sheet, name="mine"))
    (tmp_path / "profile-old.json").write_text(json.dumps(encode(old)), encoding="utf-8")
    with pytest.raises(UsageError, match=r"profile-old\.json is of version 0, this is") as caught:
        catalogue(tmp_path).find("mine")
    assert "calibrate" in caught.value.fix


def test_the_band_is_the_one_that_was_found() -> None:
    file = Path(__file__).parents[3] / "bench" / "results" / "unseen.json"
    ends = json.loads(file.read_text(encoding="utf-8"))["ends"]
    assert unseen_band().joules == pytest.approx(ends["joules"], abs=0.005)
    assert unseen_band().seconds == pytest.approx(ends["seconds"], abs=0.005)
