from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chip_sample import ENCODER, SMALL
from click.testing import CliRunner, Result

from negawatt.cli import VERBS
from negawatt.cli.design import command
from negawatt.core.codec import decode
from negawatt.core.errors import NotAModel, UnsupportedArchitecture, UsageError
from negawatt.energy.chips.exploration import Exploration


@pytest.fixture
def model(tmp_path: Path) -> str:
    return written(tmp_path / "config.json", SMALL)


def written(file: Path, config: dict[str, Any]) -> str:
    file.write_text(json.dumps(config), encoding="utf-8")
    return str(file)


def explored(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def record(*arguments: str) -> Exploration:
    return decode(Exploration, json.loads(explored("--json", *arguments).stdout))


#: Fewer designs, so that a test is quick.
QUICK = ("--node", "7", "--memory", "hbm2e", "--precision", "int8")


def test_its_help_begins_with_its_line_in_the_list() -> None:
    assert str(command.help).splitlines()[0] == VERBS["design"]


def test_people_get_the_front_the_choice_and_how_far_to_trust_it(model: str) -> None:
    shown = explored(model, *QUICK).stdout
    for word in (
        "J/token",
        "mm²",
        "kgCO2e",
        "The choice",
        "modelled",
        "hbm2e",
        "7 nm",
        "no limits",
    ):
        assert word in shown
    assert re.search(r"κ = 1\.92 \(1\.\d…5\.\d\)", shown)
    assert "Kendall τ" in shown
    assert shown.count("▶") == 1
    assert "128 tokens read and 128 written, 1 at once" in shown


def test_machines_get_one_object(model: str) -> None:
    result = explored(model, *QUICK, "--json")
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""
    found = record(model, *QUICK)
    assert found.choice in found.front
    assert found.overhead.factor.low < found.overhead.factor.value < found.overhead.factor.high
    assert sum(found.choice.parts.values()) == pytest.approx(found.choice.joules, rel=1e-12)


def test_options_are_heard(model: str) -> None:
    found = record(
        model, "--mix", "64:32:4", "--mix", "batch", "--node", "7,5", "--memory", "lpddr5,hbm3",
        "--precision", "bf16", "--max-area", "600", "--max-power", "150", "--max-latency", "2",
    )  # fmt: skip
    assert found.workloads[0] == "64:32:4"
    assert len(found.workloads) == 2
    assert found.limits == {"area": 600, "power": 150, "seconds": 2}
    assert {one.design.node_nm for one in found.front} <= {5, 7}
    assert {one.design.memory for one in found.front} <= {"lpddr5", "hbm3"}
    assert {one.design.precision for one in found.front} == {"bf16"}
    assert max(one.peak for one in found.front) <= 150 * (1 + 1e-6)


def test_several_models_share_a_chip(model: str, tmp_path: Path) -> None:
    other = written(tmp_path / "encoder.json", ENCODER)
    found = record(model, other, *QUICK)
    assert found.models == (model, other)
    alone = record(model, *QUICK)
    assert found.choice.joules != alone.choice.joules


def test_a_folder_is_a_model_too(model: str) -> None:
    by_folder = record(str(Path(model).parent), *QUICK)
    assert by_folder.choice == record(model, *QUICK).choice


def test_a_page_is_written_with_everything_in_it(model: str, tmp_path: Path) -> None:
    page = tmp_path / "chips.html"
    shown = explored(model, *QUICK, "--html", str(page)).stdout
    assert str(page) in shown.replace("\n", "")
    text = page.read_text(encoding="utf-8")
    for word in (
        "How far to trust it",
        "TPUv5e",
        "spec-chips",
        "spec-chip-parts",
        "Kendall τ",
        "chosen",
    ):
        assert word in text
    assert 'src="http' not in text
    specs = re.findall(r'<script type="application/json" id="spec-chip[^>]*>(.*?)</script>', text)
    drawn = [json.loads(spec) for spec in specs]
    found = record(model, *QUICK)
    cloud = next(t for spec in drawn for t in spec["data"] if t.get("name") == "front")
    assert len(cloud["x"]) == len(found.front)
    bars = [t for spec in drawn for t in spec["data"] if t["type"] == "bar"]
    places = bars[0]["y"]
    assert len(set(places)) == len(places)
    sums = [sum(bar["x"][at] for bar in bars) for at in places]
    known = [one.joules for one in found.front]
    assert all(any(total == pytest.approx(one) for one in known) for total in sums)
    assert sums[0] == pytest.approx(known[0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--max-area", "-5"), "--max-area"),
        (("--max-power", "0"), "--max-power"),
        (("--max-latency", "1e-9"), "nearest"),
        (("--node", "6"), "6 nm"),
        (("--node", "seven"), "seven"),
        (("--memory", "hbm9"), "hbm9"),
        (("--precision", "fp3"), "fp3"),
        (("--mix", "talk"), "talk"),
    ],
)
def test_wrong_values_are_told_with_a_fix(model: str, wrong: tuple[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        explored(model, *wrong)
    assert raised.value.fix


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotAModel):
        explored(str(tmp_path))
    unknown = written(tmp_path / "config.json", {**SMALL, "model_type": "abacus"})
    with pytest.raises(UnsupportedArchitecture, match="abacus"):
        explored(unknown)
