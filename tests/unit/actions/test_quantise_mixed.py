"""A search for the inputs of an encoder that are worth rounding; times are of a fake race."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from small_encoder import manual, small_encoder
from transformers import AutoModel

import negawatt
from negawatt.actions.quantise import mixing_work, work
from negawatt.cli import root
from negawatt.compress.mixed import ALL, NONE
from negawatt.compress.quantised import Quantised
from negawatt.core.errors import BudgetUnreachable, UsageError
from negawatt.core.records import InputGrid
from negawatt.models.likeness import Likeness
from negawatt.reports.quantised import show

pytest.importorskip("openvino")

_TURNS = (1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0)


@pytest.fixture
def races(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Races whose times are known: 10 ms, less 0.5 ms for a rounded inlet, nothing for `down`."""
    seen: list[int] = []

    def race(*given: Any) -> dict[str, tuple[float, ...]]:
        _, _, _, asked, _, _ = given
        seen.append(len(asked))
        return {name: tuple(turn * cost(some) for turn in _TURNS) for name, some in asked.items()}

    def cost(rounded: Sequence[str]) -> float:
        return 10e-3 - 5e-4 * sum("layer.0.output" not in one for one in rounded)

    def coarse(*given: Any) -> dict[str, InputGrid]:
        found = find_inputs(*given)
        return {
            name: InputGrid(6 * one.low, 6 * one.high, one.factor) for name, one in found.items()
        }

    find_inputs = work.find_inputs
    monkeypatch.setattr(work, "find_inputs", coarse)  # harm that stands above that of the weights
    monkeypatch.setattr(mixing_work, "race_mixes", race)
    return seen


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    manual(folder / "manual.txt")
    return small_encoder(folder / "model")


def run(model: Path, out: Path, near: float, **changes: Any) -> Quantised:
    given: dict[str, Any] = {
        "format": "int8-row-sym",
        "method": "rtn",
        "targets": ("openvino",),
        "text": str(model.parent / "manual.txt"),
        "activations": "mixed",
        "max_distance": near,
    }
    return negawatt.quantise(str(model), out=out, **(given | changes))


def rounded(found: Quantised) -> Mapping[str, bool]:
    assert found.mix is not None
    return {one.inlet.name: one.rounded for one in found.mix.inlets}


def test_a_wide_limit_rounds_all_that_saves_time(
    model: Path, tmp_path: Path, races: list[int]
) -> None:
    found = run(model, tmp_path / "out", 0.5)
    mix, operations = found.mix, found.operations
    assert mix is not None
    assert operations is not None
    assert mix.trials[0].ratio is not None
    assert mix.trials[0].ratio.value == pytest.approx(0.65)  # seven of eight save 0.5 ms each
    assert sum(rounded(found).values()) in {7, 8}  # the eighth saves nothing, and costs nothing
    assert {one.name for one in mix.trials} >= {ALL, NONE}
    assert 0 < operations.integer <= operations.narrow
    assert len(races) == 2  # for prices, and of all trials


def test_a_narrow_limit_rounds_less_and_is_kept(
    model: Path, tmp_path: Path, races: list[int]
) -> None:
    wide = run(model, tmp_path / "out", 0.5)
    assert wide.mix is not None
    ends = {one.name: one.sure for one in wide.mix.trials}
    limit = ends[NONE] + 0.5 * (ends[ALL] - ends[NONE])
    found = run(model, tmp_path / "out", limit)
    mix = found.mix
    assert mix is not None
    best = next(one for one in mix.trials if one.name == mix.choice)
    assert best.sure <= limit
    assert 0 < sum(rounded(found).values()) < sum(rounded(wide).values())
    assert found.operations is not None
    assert wide.operations is not None
    assert 0 < found.operations.integer < wide.operations.integer
    assert isinstance(found.quality, Likeness)
    assert found.served["openvino"].distance.value < 2 * limit
    # The least harmful go first: what is left out is worse for its time than the mean.
    rates = {one.inlet.name: one.harm for one in mix.inlets if one.saves.value > 0}
    left = [rates[name] for name, done in rounded(found).items() if name in rates and not done]
    taken = [rates[name] for name, done in rounded(found).items() if name in rates and done]
    assert max(left) > max(taken)
    count = len(races)
    again = run(model, tmp_path / "out", limit)
    assert again.mix == mix
    assert again.cpu_seconds == found.cpu_seconds  # of the search that was done
    assert len(races) == count  # nothing was timed anew


def test_channels_are_balanced_where_inputs_are_rounded_and_nowhere_else(
    tmp_path: Path, races: list[int]
) -> None:
    manual(tmp_path / "manual.txt")
    model = small_encoder(tmp_path / "model")
    uneven = AutoModel.from_pretrained(model)
    for layer in uneven.encoder.layer:  # two channels that stand out, as in real models
        layer.attention.output.LayerNorm.weight.data[3::40] *= 30
    uneven.save_pretrained(model)
    plain = run(model, tmp_path / "plain", 0.9)
    smooth = run(model, tmp_path / "smooth", 0.9, transforms=("smooth",))
    assert plain.mix is not None
    assert smooth.mix is not None
    usual, found = ({one.name: one for one in mix.trials} for mix in (plain.mix, smooth.mix))
    assert found[NONE].distance == usual[NONE].distance  # weights as they were
    assert found[ALL].distance.value < 0.7 * usual[ALL].distance.value
    limit = (found[NONE].sure + found[ALL].sure) / 2
    some = run(model, tmp_path / "smooth", limit, transforms=("smooth",))
    assert some.mix is not None
    assert 0 < sum(rounded(some).values()) < 8
    # Weights for divided inputs go with inputs that are divided, in the artifact too.
    assert some.served["openvino"].distance.value < 2 * limit
    assert races


def test_another_engine_is_asked_anew(model: Path, tmp_path: Path, races: list[int]) -> None:
    pytest.importorskip("onnxruntime")
    one = run(model, tmp_path / "out", 0.5)
    count = len(races)
    other = run(model, tmp_path / "out", 0.5, targets=("onnxruntime", "openvino"))
    assert len(races) == 2 * count
    assert one.mix is not None
    assert other.mix is not None
    assert one.mix.engine.startswith("openvino")
    assert other.mix.engine.startswith("onnxruntime")
    assert set(other.served) == {"onnxruntime", "openvino"}


def test_a_limit_that_nothing_meets_says_what_would_do(
    model: Path, tmp_path: Path, races: list[int]
) -> None:
    with pytest.raises(BudgetUnreachable, match="no choice of inputs") as raised:
        run(model, tmp_path / "out", 1e-9)
    enough = float(raised.value.fix.split("--max-distance ")[1].split(",")[0])
    assert run(model, tmp_path / "out", enough).mix is not None
    assert races


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_distance": None}, "belong together"),
        ({"activations": "int8"}, "belong together"),
        ({"max_distance": 0.0}, "nothing to choose"),
        ({"transforms": ("awq",)}, "is for decoders"),
        ({"targets": ()}, "none is named"),
        ({"targets": ("huggingface",)}, "holds weights"),
        ({"format": "int4-g32-sym"}, "not in int4"),
    ],
)
def test_what_cannot_be_mixed_is_refused(
    model: Path, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    near = changes.get("max_distance", 0.002)
    with pytest.raises(UsageError, match=told):
        run(model, tmp_path / "out", near, **changes)


def test_the_real_race_times_every_trial(model: Path, tmp_path: Path) -> None:
    found = run(model, tmp_path / "out", 0.5)
    assert found.mix is not None
    for one in found.mix.trials:
        assert one.cpu is not None
        assert one.ratio is not None
        assert one.energy is not None
        assert 0 < one.cpu.value < 1
        assert one.energy.unit == "J/text"
    none = next(one for one in found.mix.trials if one.name == NONE)
    assert none.ratio is not None
    assert none.ratio.value == 1.0


def test_the_page_and_the_json_tell_the_search(
    model: Path, tmp_path: Path, races: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["quantise", str(model), "--format", "int8-row-sym", "--method", "rtn"]
    asked += ["--activations", "mixed", "--max-distance", "0.5", "--as", "openvino"]
    asked += ["--text", str(model.parent / "manual.txt"), "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(root, [*asked, "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)["mix"]
    assert told["choice"] in {one["name"] for one in told["trials"]}
    assert len(told["inlets"]) == 8
    show(run(model, tmp_path / "out", 0.5), Console(width=150))
    page = capsys.readouterr().out
    for part in ("inputs of 8 bits, timed in openvino", "Chosen:", NONE, "J a text"):
        assert part in page
    assert races


def test_optimize_sends_encoders_there(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="writes no text") as raised:
        negawatt.optimize(str(model), out=tmp_path / "out")
    assert "--activations mixed" in raised.value.fix
