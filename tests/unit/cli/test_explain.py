"""`negawatt explain`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import negawatt
from negawatt.cli.explain import command
from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.energy.explain import Explanation
from negawatt.energy.foretold import Asked

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


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def test_people_are_told_what_takes_most_and_what_to_do(model: str) -> None:
    shown = " ".join(explain(model, "--device", "h100").output.split())
    assert "static watts take" in shown
    assert "64 requests at once instead of 8" in shown
    assert "1 % more requests at once saves" in shown


def test_the_record_is_what_the_front_door_gives(model: str) -> None:
    found = decode(Explanation, json.loads(explain(model, "--batch", "16", "--json").output))
    assert found == negawatt.explain(model, "h100", asked=Asked(batch=16))
    assert found.model == model
    assert found.joules == pytest.approx(found.per_token.value * 16 * 256)


def test_the_page_holds_every_box_and_needs_no_network(model: str, tmp_path: Path) -> None:
    page = tmp_path / "flame.html"
    explain(model, "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert '"type": "icicle"' in text
    assert "all/writing/ffn/layer 32/weights from memory" in text
    assert "<script src" not in text


def test_boxes_hold_what_stands_in_them(model: str) -> None:
    from negawatt.reports.flame import flame

    (boxes,) = flame(negawatt.explain(model, "h100")).traces
    inside: dict[str, list[float]] = {}
    for parent, value in zip(boxes["parents"], boxes["values"], strict=True):
        inside.setdefault(parent, []).append(value)
    for name, value in zip(boxes["ids"], boxes["values"], strict=True):
        if name in inside:
            assert math.fsum(inside[name]) == pytest.approx(value, rel=1e-12)


def test_speedscope_gets_a_profile_of_its_format(model: str, tmp_path: Path) -> None:
    file = tmp_path / "flame.json"
    explain(model, "--speedscope", str(file))
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    (profile,) = content["profiles"]
    frames = content["shared"]["frames"]
    assert profile["type"] == "sampled"
    assert len(profile["samples"]) == len(profile["weights"])
    assert all(0 <= index < len(frames) for sample in profile["samples"] for index in sample)
    assert math.fsum(profile["weights"]) == pytest.approx(profile["endValue"])
    assert profile["endValue"] == pytest.approx(
        negawatt.explain(model, "h100", asked=Asked(batch=8)).joules
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("--device", "nothing"), "nothing"), (("--precision", "fp3"), "fp3")],
)
def test_what_is_not_known_is_refused(model: str, arguments: tuple[str, ...], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        explain(model, *arguments)
