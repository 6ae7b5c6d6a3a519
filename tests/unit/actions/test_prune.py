"""Pruning as a whole: what is left, what it lost, what it saves, and going on after a stop."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from small_encoder import manual, small_encoder

import negawatt
from negawatt.actions.prune import work as tasks
from negawatt.cli import root
from negawatt.compress.pruned import Pruned
from negawatt.core.errors import UsageError
from negawatt.models.likeness import Likeness
from negawatt.reports.pruned import show
from negawatt.tune import heal


def run(story: Any, out: Path, **changes: Any) -> Pruned:
    given: dict[str, Any] = {"ffn": 0.5, "text": str(story.text)}
    return negawatt.prune(str(story.model), out=out, **(given | changes))


@pytest.fixture(scope="module")
def found(story: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pruned, Path]:
    out = tmp_path_factory.mktemp("pruned")
    return run(story, out, heal="4s"), out


def test_it_tells_what_went_what_that_lost_and_what_it_saves(found: tuple[Pruned, Path]) -> None:
    result, _ = found
    base, shape = result.base, result.shape
    assert shape.width <= 0.51 * base.width
    assert shape.blocks == base.blocks
    assert shape.parameters < base.parameters
    assert shape.multiplications < base.multiplications
    assert not isinstance(result.raw, Likeness)
    assert result.raw.kl.value > 0
    assert [pace.phase for pace in result.paces] == ["reading", "writing"]
    assert result.healing is not None
    assert result.healing.steps > 0
    assert result.healing.kept == (result.healing.after < result.healing.before)
    assert result.energy.value > 0


def test_healing_helps(found: tuple[Pruned, Path]) -> None:
    result, _ = found
    assert not isinstance(result.raw, Likeness)
    assert not isinstance(result.quality, Likeness)
    assert result.quality.kl.value < result.raw.kl.value


def test_what_is_left_is_an_ordinary_model(found: tuple[Pruned, Path], story: Any) -> None:
    from transformers import AutoModelForCausalLM

    result, out = found
    folder = out / result.folder
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert model.config.intermediate_size == result.shape.width
    again = negawatt.quantise(
        str(folder), format="int8-row-sym", targets=(), text=str(story.text), out=out / "again"
    )
    assert again.base_bytes == 2 * result.shape.parameters


def test_a_second_run_goes_on_from_the_first(
    found: tuple[Pruned, Path], story: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = found

    def never(*_: object) -> None:
        raise AssertionError("done before")

    for name in ("cut", "teach", "raced", "grade"):
        monkeypatch.setattr(tasks, name, never)
    again = run(story, out, heal="4s")
    assert again.quality == result.quality
    assert any("earlier run" in note for note in again.notes)


def test_stopped_learning_goes_on_from_its_checkpoint(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.compress.pruning.answers import answering
    from negawatt.compress.pruning.folder import opened
    from negawatt.tune.budget import Budget
    from negawatt.tune.lesson import Lesson

    result = run(story, tmp_path)
    folder = tmp_path / result.folder
    windows = _windows()
    monkeypatch.setattr(heal, "_SAVED", 0.0)  # a checkpoint after every step

    class Killed(Exception):
        pass

    def learner(stop: bool) -> Any:
        model, base = opened(folder), opened(tmp_path / "work" / "model")
        lesson = Lesson("weights", Budget(seconds=3.0))
        way = answering(model, folder)
        one = heal._Learner((model, base, ()), way, lesson, tmp_path / "state")

        def tell(_: float) -> None:
            if stop and one._steps == 5:
                raise Killed

        return one, tell

    first, tell = learner(stop=True)
    with pytest.raises(Killed):
        first.learn(windows, tell)
    assert (tmp_path / "state").is_file()
    second, tell = learner(stop=False)
    second._remember()
    assert second._steps == 4  # the fifth was not yet written down
    steps, tokens = second.learn(windows, tell)
    assert steps > 5
    assert tokens > 0
    second.forget()
    assert not (tmp_path / "state").exists()


def _windows() -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(3, 90, (16, 64))


def test_lora_is_merged_into_the_weights(story: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    result = run(story, tmp_path, heal="2s", how="lora", states=1.0, ffn=1.0, blocks=1)
    assert result.healing is not None
    assert result.healing.states == 1.0
    assert result.healing.joules > 0
    assert result.shape.blocks == 1
    assert len(result.gone) == result.base.blocks - 1
    kept = load_file(tmp_path / result.folder / "model.safetensors")
    assert not any("parametrizations" in name for name in kept)


def test_an_encoder_is_judged_by_likeness_and_task(tmp_path: Path) -> None:
    task = tmp_path / "pairs.csv"
    lines = [f"a name is bound {i},the value {i % 3} of it,{i % 5}" for i in range(20)]
    task.write_text("\n".join(lines), encoding="utf-8")
    model = small_encoder(tmp_path / "model")
    text = manual(tmp_path / "manual.txt")
    result = negawatt.prune(
        str(model), ffn="50%", out=tmp_path / "out", text=str(text), task=task, heal="2s"
    )
    assert isinstance(result.quality, Likeness)
    assert result.quality.task is not None
    assert result.shape.width == 48
    assert [pace.phase for pace in result.paces] == ["reading"]
    page = io.StringIO()
    show(result, Console(file=page))
    told = page.getvalue()
    for part in ("inner channels", "1 - cosine to the base", "Spearman", "paid back"):
        assert part in told


def test_the_command_prints_one_json_object(story: Any, tmp_path: Path) -> None:
    asked = ["prune", str(story.model), "--out", str(tmp_path), "--text", str(story.text)]
    shown = CliRunner().invoke(root, [*asked, "--ffn", "75%", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["cut"]["ffn"] == 0.75
    assert told["healing"] is None
    assert told["raw"] == told["quality"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"ffn": "half"}, "share"),
        ({"ffn": 1.0}, "nothing"),
        ({"importance": "luck"}, "luck"),
        ({"heal": "soon"}, "neither"),
        ({"heal": "1s", "how": "hope"}, "hope"),
        ({"heal": "1s", "states": -1.0}, "hidden states"),
        ({"ffn": 1.0, "blocks": 99}, "blocks"),
    ],
)
def test_what_cannot_be_is_refused(
    story: Any, tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(UsageError, match=part):
        run(story, tmp_path, **changes)
