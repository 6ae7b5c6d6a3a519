"""One method over an encoder: likeness, a task, operations, and an artifact that says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from rich.console import Console
from small_encoder import WORDS, manual, small_encoder

import negawatt
from negawatt.adapters.runtimes.torch import TorchRuntime
from negawatt.cli import root
from negawatt.compress.quantised import Quantised
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RunOptions
from negawatt.models.likeness import Likeness
from negawatt.models.quiet import quiet
from negawatt.reports.quantised import show


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "pairs.csv"
    lines = [f"a name is bound {i},the value {i % 3} of it,{i % 5}" for i in range(20)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run(model: Path, out: Path, **changes: Any) -> Quantised:
    text = manual(out.parent / "manual.txt")  # where other corpora may be at hand
    given: dict[str, Any] = {"format": "int8-row-sym", "targets": (), "text": str(text)}
    return negawatt.quantise(str(model), out=out, **(given | changes))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, task: Path) -> tuple[Quantised, Path]:
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("encoder")
    model = small_encoder(folder / "model")
    out = folder / "out"
    return run(model, out, format="int4-g32-sym", targets=("openvino",), task=task), out


def test_it_tells_likeness_task_operations_and_speed(found: tuple[Quantised, Path]) -> None:
    result, _ = found
    quality = result.quality
    assert isinstance(quality, Likeness)
    assert 0 < quality.distance.value < 0.5
    assert quality.task is not None
    assert quality.task.examples == 20
    work = result.operations
    assert work is not None
    linear = 2 * (4 * 64 * 64 + 2 * 64 * 96)
    assert work.multiplications == 128 * linear + 2 * 2 * 128 * 128 * 64
    assert work.narrow == pytest.approx(128 * linear / work.multiplications)
    assert result.size_bytes < 0.3 * work.float32_bytes
    assert [speed.tokens for speed in result.speeds] == [128, 16]
    for speed in result.speeds:
        assert 0 < speed.ratio.value < 20
        assert 0 < speed.float32_ratio.value < 20
        assert speed.narrow.value < 1
    served = result.served["openvino"]
    assert served.task is not None
    assert served.distance.value == pytest.approx(quality.distance.value, rel=0.5)


def test_the_artifact_says_what_was_graded(found: tuple[Quantised, Path]) -> None:
    from negawatt.adapters.runtimes.openvino import OpenVinoRuntime

    _, out = found
    graded = next((out / "work").glob("graded-*"))
    tokens = np.random.default_rng(0).integers(5, WORDS, (2, 17))
    exact = RunOptions(precision="exact")
    with (
        TorchRuntime().open(graded, exact) as one,
        OpenVinoRuntime().open(out / "openvino", exact) as other,
    ):
        wanted, got = one.forward(tokens), other.forward(tokens)
        assert wanted.shape == (2, 17, 64)
        np.testing.assert_allclose(got, wanted, rtol=2e-2, atol=2e-2)
        np.testing.assert_array_equal(other.forward(tokens), got)  # nothing is remembered
        assert other.forward(tokens, keep=3).shape == (2, 3, 64)
        for session in (one, other):
            with pytest.raises(UsageError, match="writes"):
                session.stream([1, 2], max_new=2)
    with pytest.raises(UsageError, match="closed"):
        other.forward(tokens)


@pytest.mark.parametrize(
    ("architecture", "measure"),
    [("DistilBertForSequenceClassification", "KL"), ("BertForMaskedLM", "KL"), ("MPNetModel", "1")],
)
def test_other_endings_and_families_work(architecture: str, measure: str, tmp_path: Path) -> None:
    tasks = {
        "DistilBertForSequenceClassification": "\n".join(f"{i % 3} a name {i}" for i in range(12)),
        "MPNetModel": "\n".join(f"a name {i},a value,{i % 4}" for i in range(12)),
    }
    task = tmp_path / ("pairs.csv" if architecture == "MPNetModel" else "labels.txt")
    task.write_text(tasks.get(architecture, ""), encoding="utf-8")
    result = run(
        small_encoder(tmp_path / "model", architecture),
        tmp_path / "out",
        targets=("openvino",),
        task=task if architecture in tasks else None,
    )
    assert isinstance(result.quality, Likeness)
    assert result.quality.measure.startswith(measure)
    assert 0 < result.quality.distance.value < 0.1
    assert (result.quality.task is not None) == (architecture in tasks)


@pytest.mark.parametrize(
    ("architecture", "line"),
    [("BertForMaskedLM", "1 a name"), ("BertModel", "1 a name"), ("MPNetModel", "0 a name")],
)
def test_a_task_of_another_kind_is_refused(architecture: str, line: str, tmp_path: Path) -> None:
    task = tmp_path / "labels.txt"
    task.write_text(f"{line}\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be asked"):
        run(small_encoder(tmp_path / "model", architecture), tmp_path / "out", task=task)


def test_a_second_run_goes_on_from_the_first(
    found: tuple[Quantised, Path], task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.actions.quantise import work

    result, out = found

    def never(*_: object) -> None:
        raise AssertionError("it was done already")

    monkeypatch.setattr(work, "round_layers", never)
    again = run(out.parent / "model", out, format="int4-g32-sym", task=task)
    assert again.quality == result.quality


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"transforms": ("awq",)}, "decoders"),
        ({"transforms": ("smooth",)}, "nothing to balance"),
        ({"activations": "int8", "targets": ("huggingface",)}, "holds weights"),
        ({"activations": "int8", "targets": ("llamacpp",)}, "no format"),
        (
            {"activations": "int8", "format": "int4-g32-sym", "targets": ("openvino",)},
            "not in int4",
        ),
    ],
)
def test_what_encoders_do_not_have_is_refused(
    found: tuple[Quantised, Path], tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    if "llamacpp" in changes.get("targets", ()):
        pytest.importorskip("llama_cpp")
    with pytest.raises(UsageError, match=told):
        run(found[1].parent / "model", tmp_path, **changes)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, task: Path) -> tuple[Quantised, Path]:
    """Weights and inputs of 8 bits, for both engines that multiply them."""
    for engine in ("openvino", "onnxruntime"):
        pytest.importorskip(engine)
    folder = tmp_path_factory.mktemp("narrow")
    out = folder / "out"
    asked = {"targets": ("openvino", "onnxruntime"), "transforms": ("smooth",), "task": task}
    return run(small_encoder(folder / "model"), out, activations="int8", **asked), out


def test_inputs_of_8_bits_are_scored_as_each_engine_serves_them(
    narrow: tuple[Quantised, Path],
) -> None:
    result, _ = narrow
    assert result.operations is not None
    assert result.operations.integer == result.operations.narrow > 0.5
    assert set(result.served) == {"openvino", "onnxruntime"}
    for own in result.served.values():
        assert 0 < own.distance.value < 0.05
    assert any("12 of 12 layers" in note for note in result.notes)
    assert len(result.speeds) == 4


def test_a_classifier_with_inputs_of_8_bits_is_compared_on_many_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.actions.quantise import work

    seen: list[int] = []
    written = work.write_served

    def counted(*given: Any) -> Any:
        found = written(*given)
        seen.append(len(found))
        return found

    monkeypatch.setattr(work, "write_served", counted)
    model = small_encoder(tmp_path / "model", "BertForSequenceClassification")
    result = run(model, tmp_path / "out", activations="int8", targets=("openvino",))
    assert seen == [16]  # two rare numbers of one text may differ by chance
    assert result.served["openvino"].measure == "KL"


def plain(name: str, out: Path, tokens: NDArray[np.int64]) -> Any:
    """What an artifact says in the engine itself, with nothing of ours but how to ask for sums."""
    asked = {"tokens": tokens, "mask": np.ones_like(tokens)}
    if name == "openvino":
        core = pytest.importorskip("openvino").Core()
        from negawatt.adapters.runtimes.openvino_inputs import AS_NUMBERS, adds_up

        hint = {"INFERENCE_PRECISION_HINT": "f32"} | ({} if adds_up() else AS_NUMBERS)
        return core.compile_model(out / "model.xml", "CPU", hint)(asked)["ending"]
    engine = pytest.importorskip("onnxruntime")
    from negawatt.adapters.runtimes.onnx_engine import EXACT_SUMS

    told = engine.SessionOptions()
    told.add_session_config_entry(*EXACT_SUMS)
    session = engine.InferenceSession(out / "model.onnx", told, providers=["CPUExecutionProvider"])
    return session.run(None, asked)[0]


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_the_engine_itself_loads_the_artifact(name: str, narrow: tuple[Quantised, Path]) -> None:
    _, out = narrow
    tokens = np.random.default_rng(0).integers(5, WORDS, (2, 17))
    graded = next((out / "work").glob("graded-*"))
    with TorchRuntime().open(graded, RunOptions(precision="exact")) as session:
        wanted = session.forward(tokens)
    found = plain(name, out / name, tokens)
    assert np.square(found - wanted).sum() < 1e-3 * np.square(wanted).sum()


@pytest.mark.parametrize("fmt", ["int8-row-sym", "int4-g32-sym"])
def test_transformers_loads_what_is_written_for_it(fmt: str, tmp_path: Path) -> None:
    import torch
    import transformers

    pytest.importorskip("compressed_tensors")
    out = tmp_path / "out"
    result = run(small_encoder(tmp_path / "model"), out, format=fmt, targets=("huggingface",))
    assert result.artifacts == {"huggingface": "huggingface"}
    folder = out / "huggingface"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["quantization_config"]["format"] == "pack-quantized"
    assert "feature-extraction" in (folder / "README.md").read_text(encoding="utf-8")
    tokens = np.random.default_rng(0).integers(5, WORDS, (2, 17))
    with quiet(), torch.inference_mode():
        loaded = transformers.AutoModel.from_pretrained(folder, dtype="auto").eval()
        found = loaded(input_ids=torch.from_numpy(tokens)).last_hidden_state.float().numpy()
    graded = next((out / "work").glob("graded-*"))
    with TorchRuntime().open(graded, RunOptions(precision="exact")) as session:
        wanted = session.forward(tokens)
    assert np.square(found - wanted).sum() < 1e-4 * np.square(wanted).sum()


def test_the_page_and_the_json_have_the_figures(
    found: tuple[Quantised, Path], task: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(found[0], Console(width=120))
    told = capsys.readouterr().out
    for part in ("1 - cosine", "Spearman on pairs.csv", "multiplications", "CPU time of a text"):
        assert part in told
    model, out = found[1].parent / "model", found[1]
    asked = ["quantise", str(model), "--format", "int4-g32-sym", "--task", str(task)]
    asked += ["--text", str(manual(out.parent / "manual.txt"))]
    shown = CliRunner().invoke(root, [*asked, "--as", "none", "--out", str(out), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["quality"]["measure"] == "1 - cosine"
