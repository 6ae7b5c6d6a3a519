"""One method over a whole model: what it loses, what it weighs, and what it leaves behind."""

from __future__ import annotations

import json
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
from negawatt.core.errors import BrokenWeights, UsageError
from negawatt.core.records import Format, Layer
from negawatt.reports.quantised import show

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
    import shutil

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
    said = model("Once upon a time", max_tokens=12, temperature=0.0)["choices"][0]["text"]
    model.close()
    assert len(said.split()) > 4
