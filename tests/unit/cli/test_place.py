"""`negawatt place`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import negawatt
from negawatt.cli.place import command
from negawatt.core.codec import decode
from negawatt.core.errors import NegawattError, UsageError
from negawatt.decisions.placement import Placement

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "tie_word_embeddings": False, "architectures": ["LlamaForCausalLM"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))


def place(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """The example, with its model beside it."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    file = tmp_path / "fleet.toml"
    file.write_text(place("--example").output)
    return file


def test_the_example_shows_an_old_device_that_pays(fleet: Path) -> None:
    shown = " ".join(place(str(fleet)).output.split())
    assert "chat stays on old; writing costs" in shown
    assert "kgCO2e a day" in shown
    assert "old alone: cannot serve all requests" in shown


def test_energy_and_carbon_choose_otherwise(fleet: Path) -> None:
    carbon, energy = (
        decode(Placement, json.loads(place(str(fleet), "--for", aim, "--json").output))
        for aim in ("carbon", "energy")
    )
    assert carbon == negawatt.place(fleet)
    assert {route.writing for route in carbon.routes} != {route.writing for route in energy.routes}
    assert energy.cost.unit == "W"
    assert "kW (" in place(str(fleet), "--for", "energy").output


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('device = "h100"', 'device = "nothing"', "nothing"),
        ("count = 8", "count = 8.5", "count"),
        ("count = 8", 'count = "8"', "count of machines.new"),
        ("count = 8\n", "", "machines.new lacks count"),
        ('site = "home"', 'site = "moon"', "moon"),
        ('zone = "DE"', 'zone = "XX"', "XX"),
        ('zone = "DE"', "", "sites.home needs a zone or an intensity"),
        ("rate = 10", "rate = -1", "rate of chat"),
        ("rate = 10", "speed = 10", "lacks rate"),
        ("pue = 1.1", "pue = 1.1\ncolour = 2", "colour"),
        ('precision = "bf16"', 'precision = "fp3"', "fp3"),
        ("[link]", "[wire]", "wire"),
        ("[link]", "[link", "no TOML"),
        ('config = "config.json"', 'config = "absent.json"', "absent"),
        ("[servers]", "[[servers]]", "servers is no table"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fleet: Path, old: str, new: str, what: str) -> None:
    text = fleet.read_text()
    assert old in text
    fleet.write_text(text.replace(old, new, 1))
    with pytest.raises(NegawattError, match=what):
        place(str(fleet))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        place(str(tmp_path / "absent.toml"))


def test_no_file_is_told() -> None:
    with pytest.raises(UsageError, match="no file") as caught:
        place()
    assert "--example" in caught.value.fix


def test_a_part_without_entries_is_told(tmp_path: Path) -> None:
    file = tmp_path / "fleet.toml"
    file.write_text("[sites]\n")
    with pytest.raises(UsageError, match="has no sites"):
        place(str(file))
    file.write_text("sites = 3\n")
    with pytest.raises(UsageError, match="has no sites"):
        place(str(file))
    file.write_text("[sites]\nhome = 3\n")
    with pytest.raises(UsageError, match=r"sites\.home in fleet\.toml is no table"):
        place(str(file))
