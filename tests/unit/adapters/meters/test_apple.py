from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from meter_rigs import powermetrics, program

from negawatt.adapters.meters.apple import discover
from negawatt.core.errors import MeterUnavailable

Name = Callable[[str], None]
Says = Callable[..., None]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Makes a Mac whose `powermetrics`, run as root, prints a text."""

    def says(text: str, *, status: int = 0, user: int = 0) -> None:
        (tmp_path / "says").write_text(text)
        script = f"cat {tmp_path}/says; echo 'must be invoked as the superuser' >&2; exit {status}"
        program(tmp_path / "bin", "powermetrics", script, monkeypatch)
        monkeypatch.setattr(os, "geteuid", lambda: user)

    return says


@pytest.mark.parametrize("combined", [True, False])
def test_milliwatts_of_the_parts_are_one_package(combined: bool, name: Name, says: Says) -> None:
    name("apple://")
    says(powermetrics(4200.0, 1300.0, combined=combined))
    (gauge,) = discover("darwin")
    assert gauge.power().value == pytest.approx(5.5)
    assert (gauge.name, gauge.boundary) == ("apple:package", "package:0")
    assert "estimate" in gauge.label


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Machine model: Mac14,2\n",
        powermetrics(0.0, 0.0),
        powermetrics(-5.0, 0.0),
        powermetrics(1.0, 0.0, combined=False).replace("cpu_power", "package_joules"),
    ],
)
def test_what_is_not_known_is_never_zero(text: str, name: Name, says: Says) -> None:
    name("apple://")
    says(text)
    with pytest.raises(MeterUnavailable) as raised:
        discover("darwin")
    assert raised.value.fix


def test_a_failure_is_told_as_the_program_tells_it(name: Name, says: Says) -> None:
    name("apple://")
    says("", status=1)
    with pytest.raises(MeterUnavailable, match="superuser"):
        discover("darwin")


def test_only_root_is_answered(name: Name, says: Says) -> None:
    name("apple://")
    says(powermetrics(1.0, 1.0), user=501)
    with pytest.raises(MeterUnavailable, match="root only") as raised:
        discover("darwin")
    assert "sudo -E" in raised.value.fix


def test_a_mac_is_not_asked_unbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEGAWATT_OUTSIDE_METERS", raising=False)
    with pytest.raises(MeterUnavailable, match="not asked unbidden"):
        discover("darwin")
    assert discover("linux") == []
