from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from meter_rigs import DCMI, program

from negawatt.adapters.meters.ipmi import discover
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]


def says(text: str, folder: Path, patch: pytest.MonkeyPatch, *, error: str = "") -> None:
    (folder / "says").write_text(text)
    (folder / "error").write_text(error)
    ends = f"cat {folder}/error >&2; exit 1" if error else "exit 0"
    program(folder / "bin", "ipmitool", f"cat {folder}/says; {ends}", patch)


def test_the_reading_of_now_is_taken(
    name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name("ipmi://")
    says(DCMI.format(watts=220, state="activated"), tmp_path, monkeypatch)
    (gauge,) = discover()
    assert gauge.power().value == 220.0
    assert (gauge.name, gauge.boundary, gauge.poll_every_s) == ("ipmi:dcmi", "system", 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DCMI.format(watts=220, state="deactivated"), "measurement is deactivated"),
        (DCMI.format(watts=0, state="activated"), "0 W while this machine runs"),
        (DCMI.format(watts=-3, state="activated"), "less than nothing"),
        ("DCMI request failed because: Invalid command (c1)\n", "no instantaneous power"),
    ],
)
def test_what_is_not_known_is_never_zero(
    text: str, said: str, name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name("ipmi://")
    says(text, tmp_path, monkeypatch)
    with pytest.raises(MeterUnavailable, match=said):
        discover()


def test_a_controller_kept_to_root_says_how_to_open_it(
    name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name("ipmi://")
    refusal = (
        "Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: Permission denied"
    )
    says("", tmp_path, monkeypatch, error=refusal)
    with pytest.raises(MeterUnavailable, match="may not be asked by this user") as raised:
        discover()
    assert "/etc/udev/rules.d/" in raised.value.fix


def test_a_controller_is_not_asked_unbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEGAWATT_OUTSIDE_METERS", raising=False)
    device = tmp_path / "ipmi0"
    assert discover((device,)) == []
    device.touch()
    with pytest.raises(MeterUnavailable, match="not asked unbidden") as raised:
        discover((device,))
    assert "=ipmi://" in raised.value.fix


def test_a_missing_program_is_named(
    name: Name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name("ipmi://")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MeterUnavailable) as raised:
        discover()
    assert "apt install ipmitool" in raised.value.fix
