"""`negawatt predict --device`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import negawatt
from negawatt.cli.predict import command
from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.energy.foretold import Asked
from negawatt.energy.outlook import Outlook

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 128256, "tie_word_embeddings": False, "architectures": ["LlamaForCausalLM"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    return str(file)


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def outlook(*arguments: str) -> Outlook:
    found: Outlook = decode(Outlook, json.loads(predict(*arguments, "--json").output))
    return found


def test_a_table_over_devices_and_precisions(model: str) -> None:
    shown = predict(
        model, "--device", "h100", "--device", "l4", "--precision", "bf16", "--precision", "fp8",
        "--batch", "8", "--in", "512", "--out", "256",
    ).output  # fmt: skip
    assert shown.count("H100-SXM5-80GB") >= 2
    assert "512 tokens read and 256 written, 8 requests at once" in shown
    assert "takes the fewest joules a token" in shown
    assert "an engine that nobody measured" in " ".join(shown.split())


def test_the_record_says_the_same(model: str) -> None:
    found = outlook(model, "--device", "h100", "--batch", "8", "--grid", "100", "--pue", "1.2")
    (row,) = found.rows
    assert row.emissions.value == pytest.approx(row.told.per_token.value * 1e6 / 3.6e6 * 100 * 1.2)
    assert found.parameters == pytest.approx(8.03e9, rel=0.01)
    assert found.asked == Asked(batch=8, prompt=512, written=256)


def test_the_front_door_says_the_same(model: str) -> None:
    found = negawatt.foretell(model, ["h100"], asked=Asked(batch=8), grid="100", pue=1.2)
    assert found == outlook(
        model, "--device", "h100", "--batch", "8", "--grid", "100", "--pue", "1.2"
    )


def test_a_training(model: str) -> None:
    arguments = (model, "--device", "h100", "--train", "2T", "--gpus", "64", "--grid", "FR")
    (row,) = outlook(*arguments).trainings
    kwh = row.told.joules.value / 3.6e6
    assert 20_000 < kwh < 100_000
    assert row.emissions.value > 0
    shown = predict(*arguments).output
    assert "device time" in shown
    assert "kWh" in shown


@pytest.mark.parametrize("text", ["2e12", "2T", "2000B"])
def test_tokens_as_people_write_them(model: str, text: str) -> None:
    training = outlook(model, "--device", "h100", "--train", text).training
    assert training is not None
    assert training.tokens == 2e12


def test_a_model_that_does_not_fit_is_told(model: str) -> None:
    shown = predict(model, "--device", "t4", "--gpus", "1").output
    assert "too much" in shown
    assert "does not fit" in shown


def test_a_training_that_does_not_fit_is_told(model: str) -> None:
    assert "do not hold" in predict(model, "--device", "l4", "--train", "1B", "--gpus", "1").output


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--device", "h100", "--threads", "2"), "--threads"),
        (("--device", "h100", "--format", "bf16"), "--format"),
        (("--train", "1B"), "--train"),
        (("--grid", "DE"), "--grid"),
        (("--device", "h100", "--train", "many"), "many"),
        (("--device", "nothing"), "nothing"),
        (("--device", "h100", "--precision", "fp3"), "fp3"),
        (("--device", "h100", "--grid", "XX"), "XX"),
    ],
)
def test_what_cannot_be_is_refused(model: str, arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        predict(model, *arguments)
