"""`negawatt site`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import negawatt
from negawatt.cli.site import command
from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.decisions.site.account import Account


def site(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def roof(tmp_path: Path) -> Path:
    file = tmp_path / "roof.toml"
    file.write_text(site("--example").output)
    return file


def test_the_example_shows_what_each_part_saved(roof: Path) -> None:
    shown = " ".join(site(str(roof)).output.split())
    for part in ("free cooling -", "solar -", "battery -", "shifting -", "PUE 1.1", "L of water"):
        assert part in shown
    assert "What size" not in shown
    assert "on top for making panels and battery" in shown


def test_a_longer_time_tells_what_foresight_is_worth(roof: Path) -> None:
    roof.write_text(roof.read_text().replace("hours = 48", "hours = 96"))
    assert "planned each day by the day before, the battery keeps" in " ".join(
        site(str(roof)).output.split()
    )


def test_json_holds_the_whole_account(roof: Path) -> None:
    told = json.loads(site(str(roof), "--json").output)
    found = decode(Account, told)
    assert found.grams == negawatt.site(roof).grams
    assert len(found.steps["grid_w"]) == 48
    assert "job:finetune_w" in found.steps
    assert found.without.value - sum(found.saved.values()) == pytest.approx(found.grams.value)
    assert found.sizing is None
    assert found.foreseen is None
    assert found.making is not None
    # 60 kWp of 830 kg over 30 years, 40 kWh of 83 kg over 15, two days of them, less the wear.
    worn = found.energy["out of the battery"] * 16.6
    made = 2 / 365.25 * 1e3 * (60 * 830 / 30 + 40 * 83 / 15)
    assert found.making.value == pytest.approx(max(made - worn, 2 / 365.25 * 60e3 * 830 / 30))


def test_size_tells_what_to_build_beside_less(roof: Path) -> None:
    shown = " ".join(site(str(roof), "--size").output.split())
    assert "What size would be best, by carbon" in shown
    assert "solar alone" in shown
    assert "as if the whole year were like them" in shown
    found = decode(Account, json.loads(site(str(roof), "--size", "--json").output))
    assert found.sizing is not None
    assert found.sizing.best.solar_kwp <= 400
    assert found.sizing.best.grams.value <= found.sizing.beside[0].grams.value
    assert found.sizing.beside[0].grams.value <= found.sizing.beside[1].grams.value


def test_a_price_and_scarcity_are_told(roof: Path) -> None:
    text = roof.read_text().replace("# stress = 1.4", "stress = 1.4")
    text = text.replace("tower = true ", "tower = false ").replace(
        "dry_bulb_c = 18", "dry_bulb_c = 38"
    )
    roof.write_text(f"{text}\n[price]\nper_mwh = 90\n")
    shown = " ".join(site(str(roof)).output.split())
    assert "in the currency of the price" in shown
    assert "weighted by scarcity" in shown
    assert "chiller 100%" in shown


def test_least_cost_is_another_size(roof: Path) -> None:
    text = roof.read_text().replace("[size] ", "[price]\nper_mwh = 90\n\n[size] ")
    told = {}
    for aim in ("carbon", "cost"):
        prices = f'aim = "{aim}"\nsolar_price = 900\nbattery_price = 400\n'
        roof.write_text(text.replace("max_kwp = 400\n", f"max_kwp = 400\n{prices}"))
        told[aim] = negawatt.site(roof, size=True).sizing
    assert told["carbon"] is not None
    assert told["cost"] is not None
    assert told["cost"].best.cost is not None
    assert told["carbon"].best.cost is not None
    assert told["cost"].best.cost < told["carbon"].best.cost
    assert told["carbon"].best.grams.value < told["cost"].best.grams.value


def test_no_file_and_no_such_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file was named"):
        site()
    with pytest.raises(UsageError, match="cannot read"):
        site(str(tmp_path / "none.toml"))
