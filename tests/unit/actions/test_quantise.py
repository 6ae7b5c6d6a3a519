"""One method over a whole model: what it loses, what it weighs, and what it leaves behind."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from safetensors.torch import load_file

import negawatt
from negawatt.actions.optimize.plans import stored_bytes
from negawatt.cli import root
from negawatt.compress.quantised import Quantised, Recipe, fitted, plan_of
from negawatt.core.errors import BrokenWeights, RuntimeUnavailable, UsageError
from negawatt.core.records import Format, Layer
from negawatt.reports.quantised import show

from .conftest import made_up

TARGETS = ("huggingface", "openvino")


def run(story: Any, out: Path, **changes: Any) -> Quantised:
    given: dict[str, Any] = {"format": "int4-g32-sym", "targets": (), "text": str(story.text)}
    return negawatt.quantise(str(story.model), out=out, **(given | changes))


@pytest.fixture(scope="module")
def found(story: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Quantised, Path]:
    pytest.importorskip("openvino")
    out = tmp_path_factory.mktemp("quantised")
    return run(story, out, targets=TARGETS, transforms=("awq",)), out


def test_it_tells_what_was_lost_and_what_it_weighs(found: tuple[Quantised, Path]) -> None:
    result, _ = found
    assert 0 < result.quality.kl.value < 1
    assert result.quality.loss.low <= result.quality.loss.value <= result.quality.loss.high
    assert 4 < result.bits_per_weight < 9
    assert result.size_bytes < 0.6 * result.base_bytes
    assert result.cpu_seconds.value > 0
    assert result.energy.value > 0
    assert set(result.formats.values()) == {"int4-g32-sym", "int8-row-sym"}
    assert any("scaling" in note for note in result.notes)


def test_every_artifact_is_there_and_the_weights_in_it_are_the_codes(
    found: tuple[Quantised, Path],
) -> None:
    result, out = found
    assert dict(result.artifacts) == {kind: kind for kind in TARGETS}
    packed = load_file(next((out / "huggingface").glob("*.safetensors")))
    assert any(value.dtype == torch.int32 for value in packed.values())
    assert list((out / "openvino").glob("*.xml"))
    assert (out / "openvino" / "tokenizer.json").is_file()


def test_a_second_run_goes_on_from_the_first(
    story: Any, found: tuple[Quantised, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.actions.quantise import work

    def never(*_: object) -> None:
        raise AssertionError("it was done already")

    result, out = found
    for task in ("rewrite", "round_layers", "grade"):
        monkeypatch.setattr(work, task, never)
    again = run(story, out, transforms=("awq",))
    assert again.quality == result.quality
    assert again.seconds == result.seconds
    assert any("earlier run" in note for note in again.notes)


def test_a_stopped_run_keeps_the_layers_it_had(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.compress.bank import WeightBank

    put, written = WeightBank.put, list[str]()

    def stop_after_three(self: WeightBank, layer: str, weight: Any) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        put(self, layer, weight)
        written.append(layer)

    monkeypatch.setattr(WeightBank, "put", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        run(story, tmp_path)
    first = list(written)
    monkeypatch.setattr(WeightBank, "put", lambda s, n, w: (put(s, n, w), written.append(n))[0])
    result = run(story, tmp_path)
    assert len(written) == len(set(written)) == len(result.formats)
    assert written[:3] == first


def test_the_source_is_not_touched(story: Any, tmp_path: Path) -> None:
    before = {file.name: file.read_bytes() for file in story.model.iterdir()}
    run(story, tmp_path, method="rtn", transforms=("rotate", "awq"))
    assert {file.name: file.read_bytes() for file in story.model.iterdir()} == before


def test_finer_formats_lose_less(story: Any, tmp_path: Path) -> None:
    kl = [
        run(story, tmp_path, format=f"int{bits}-g32-sym", head="bf16", method="rtn").quality.kl
        for bits in (3, 4, 6)
    ]
    assert kl[0].value > 2 * kl[1].value > 4 * kl[2].value > 0


def test_a_rotated_model_keeps_head_and_embedding_apart(story: Any, tmp_path: Path) -> None:
    result = run(story, tmp_path, transforms=("rotate",), targets=("huggingface",))
    config = json.loads((tmp_path / "huggingface" / "config.json").read_text(encoding="utf-8"))
    assert config["tie_word_embeddings"] is False
    assert result.quality.kl.value < 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "int1-g32-sym"}, "1 bits"),
        ({"format": "int9-row-sym"}, "9 bits"),
        ({"format": "bf16"}, "bf16"),
        ({"format": "q4_0"}, "q4_0"),
        ({"head": "int12-row-sym"}, "12 bits"),
        ({"method": "no-such"}, "no-such"),
        ({"transforms": ("no-such",)}, "no-such"),
        ({"targets": ("no-such",)}, "no-such"),
        ({"format": "int3-g32-sym", "targets": ("openvino",)}, "int3-g32-sym"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    story: Any, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    if "openvino" in changes.get("targets", ()):
        pytest.importorskip("openvino")
    with pytest.raises(UsageError, match=told) as caught:
        run(story, tmp_path, **changes)
    assert caught.value.fix
    assert not list((tmp_path / "work").glob("bank-*"))


def test_a_layer_with_values_that_are_no_numbers_is_named(
    story: Any, tmp_path: Path, broken: Callable[[str], Path]
) -> None:
    with pytest.raises(BrokenWeights, match=r"layers\.1\.mlp\.up_proj"):
        run(replace(story, model=broken("model.layers.1.mlp.up_proj.weight")), tmp_path)


@pytest.fixture
def broken(story: Any, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the model with one value that is no number in the tensor named."""
    from safetensors.torch import save_file

    def make(name: str) -> Path:
        folder = tmp_path / "broken"
        shutil.copytree(story.model, folder)
        weights = load_file(folder / "model.safetensors")
        weights[name][0, 0] = torch.nan
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def test_the_page_for_people_has_the_figures(
    found: tuple[Quantised, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    show(found[0], Console(width=120))
    told = capsys.readouterr().out
    for part in ("awq, then polished", "int4-g32-sym", "KL to the 16-bit model", "modelled"):
        assert part in told


def test_the_command_prints_one_json_object(story: Any, tmp_path: Path) -> None:
    asked = ["quantise", str(story.model), "--out", str(tmp_path), "--text", str(story.text)]
    shown = CliRunner().invoke(root, [*asked, "--method", "rtn", "--as", "none", "--json"])
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["recipe"]["method"] == "rtn"
    assert told["quality"]["kl"]["unit"] == "nat/token"


# ------------------------------------------------------------------ small parts


def test_groups_are_halved_until_they_fit_and_tiny_ones_are_not_made() -> None:
    assert fitted(Format(4, 128), 576) == Format(4, 64)
    assert fitted(Format(4, 128, symmetric=False), 640) == Format(4, 128, symmetric=False)
    assert fitted(Format(4, 32), 172) == Format(8)
    assert fitted(Format(4), 173) == Format(4)


def test_a_shared_matrix_weighs_once_only_while_it_is_one() -> None:
    layers = (
        Layer("embed", "embedding", 100, 64),
        Layer("block", "linear", 64, 64, 0),
        Layer("head", "head", 100, 64, tied_to="embed"),
    )
    base = 2 * (100 * 64 + 64 * 64 + 64)  # and a norm
    one = plan_of(Recipe(Format(4, 32), "rtn", head=Format(8)), layers)
    apart = one | {"head": Format(4, 32)}
    assert stored_bytes(dict.fromkeys(one, Format(16)), layers, base) == base
    assert stored_bytes(one, layers, base) == 128 + 100 * 64 + 100 * 2 + 64 * 64 * 4.5 / 8
    assert stored_bytes(apart, layers, base) - stored_bytes(one, layers, base) == 100 * 64 * 4.5 / 8


def test_what_does_not_fit_gets_what_the_engines_execute() -> None:
    layers = (Layer("odd", "linear", 64, 60, 0), Layer("even", "linear", 64, 64, 0))
    recipe = Recipe(Format(4, 32), "rtn")
    assert plan_of(recipe, layers)["odd"] == Format(8)
    rows = [Format(16), Format(8), Format(4, 32)]
    groups = [Format(16), Format(8, 32), Format(4, 32)]
    assert plan_of(recipe, layers, [rows])["odd"] == Format(8)
    assert plan_of(recipe, layers, [rows, groups])["odd"] == Format(16)
    assert plan_of(recipe, layers, [rows, groups])["even"] == Format(4, 32)


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_llama_cpp_itself_loads_the_file_and_takes_text(story: Any, tmp_path: Path) -> None:
    import llama_cpp

    run(story, tmp_path, head="int8-g32-sym", targets=("llamacpp",))
    file = tmp_path / "llamacpp" / "model.gguf"
    model: Any = llama_cpp.Llama(str(file), verbose=False, n_ctx=128)
    said = model("Once upon a time", max_tokens=12, temperature=0.0)
    model.close()
    assert said["usage"]["completion_tokens"] > 4  # of a random model: how many words is chance
    assert said["choices"][0]["text"].strip()


# ------------------------------------------------------------------------- memory


def test_memory_is_stated_beforehand_and_measured(story: Any, tmp_path: Path) -> None:
    said: list[str] = []
    result = run(story, tmp_path, method="rtn", progress=lambda what, _: said.append(what))
    stated = next(i for i, what in enumerate(said) if what.startswith("memory: at most"))
    assert stated < said.index("candidates")
    assert result.stated_bytes is not None
    assert result.stated_bytes > 64 * 2**20
    assert result.added_bytes is not None
    assert result.added_bytes > 0


@pytest.mark.parametrize(
    ("free", "changes", "told"),
    [
        (10**8, {}, "block by block"),
        (700 * 10**6, {"transforms": ("awq",)}, "awq holds all weights"),
        (
            700 * 10**6,
            {"targets": ("llamacpp",), "format": "int8-g32-sym", "head": "int8-g32-sym"},
            "llamacpp holds all",
        ),
    ],
)
def test_a_machine_with_too_little_memory_is_told_before_any_text_is_read(
    story: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    changes: dict[str, Any],
    told: str,
) -> None:
    from negawatt.actions.quantise import room

    if "llamacpp" in changes.get("targets", ()) and find_spec("llama_cpp") is None:
        pytest.skip("llama-cpp-python is not installed")
    monkeypatch.setattr(room, "free_memory", lambda: free)
    monkeypatch.setattr(room, "WHOLE", 10**4)  # as a model of some gigabytes would take
    with pytest.raises(RuntimeUnavailable, match=told) as caught:
        run(story, tmp_path, **changes)
    assert caught.value.fix
    assert not (tmp_path / "work" / "reference-walked").exists()


def test_an_artifact_too_large_to_load_whole_is_written_and_that_is_told(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.actions.quantise import job

    monkeypatch.setattr(job, "RELOADING", 10**9)
    result = run(story, tmp_path, method="rtn", targets=("huggingface",))
    assert result.artifacts == {"huggingface": "huggingface"}
    assert any("not loaded again" in note for note in result.notes)


def test_a_model_that_knows_less_than_nothing_is_pointed_out(tmp_path: Path) -> None:
    """What a tokenizer of another model leads to; here the model is not trained."""
    result = run(made_up(tmp_path / "untrained"), tmp_path / "out", method="rtn")
    assert any("another model's" in note for note in result.notes)


# ---------------------------------------------------------------------- kill -9, base


_PROGRAM = """
import sys
from pathlib import Path
import torch, negawatt
torch.set_num_threads(1)
found = negawatt.quantise(
    sys.argv[1], format="int4-g32-sym", targets=(), text=sys.argv[2], out=Path(sys.argv[3]),
    progress=lambda what, share: print(what, share, flush=True),
)
"""


@pytest.mark.slow  # two processes, each with its own PyTorch
def test_killed_in_the_middle_of_rounding_it_keeps_every_finished_layer(
    story: Any, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(story.model), str(story.text), str(tmp_path)]

    def bank() -> dict[str, int]:
        found = tmp_path.glob("work/bank-*/*.bin")
        return {file.name: file.stat().st_mtime_ns for file in found}

    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    for line in job.stdout:
        if line.startswith("candidates") and float(line.split()[1]) > 0.3:
            break
    job.send_signal(signal.SIGKILL)
    job.communicate(timeout=60)
    kept = bank()
    assert job.returncode == -signal.SIGKILL
    assert len(kept) > 0

    result = run(story, tmp_path)
    after = bank()
    assert {name: after[name] for name in kept} == kept  # none of them made again
    assert len(kept) < len(after) == len(result.formats)
    assert not list(tmp_path.glob("work/bank-*/*.partial"))
    undisturbed = run(story, tmp_path / "other")
    assert result.quality.kl.value == pytest.approx(undisturbed.quality.kl.value, rel=0.02)


def test_a_base_that_may_only_be_read_is_enough(story: Any, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(story.model, base)
    stamps = {file.name: file.stat().st_mtime_ns for file in base.iterdir()}
    for file in (*base.iterdir(), base):
        file.chmod(0o555 if file.is_dir() else 0o444)
    try:
        run(replace(story, model=base), tmp_path / "out", method="rtn")
        assert {file.name: file.stat().st_mtime_ns for file in base.iterdir()} == stamps
    finally:
        base.chmod(0o755)
