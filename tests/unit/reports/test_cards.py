"""Model cards: what is known is told with its interval, and what is not is called so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCardData
from outcome_sample import sample_outcome

from negawatt.compress.pruned import Cut, Pace, Pruned, Shape
from negawatt.compress.quantised import Quantised, Recipe, Speed
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.quantities import GramsPerKWh
from negawatt.core.records import Format
from negawatt.models.licence import licence_of
from negawatt.models.per_byte import PerByte
from negawatt.reports import cards

GRID = GramsPerKWh(250)
SPENT = Estimate(
    value=7200, low=3600, high=14400, unit="J", kind=Kind.MODELLED, source="band", boundary="CPU"
)
OLD = "---\nlibrary_name: transformers\ntags:\n- x\n---\n\n# Mine\n\n## What to know before using it\n\n- It is small.\n"


def figure(value: float, unit: str = "1") -> Estimate:
    return Estimate(
        value=value, low=0.9 * value, high=1.1 * value, unit=unit, kind=Kind.MEASURED, source="x"
    )


def quantised(**changes: Any) -> Quantised:
    quality = sample_outcome().points[-1].variant.quality
    assert quality is not None
    given: dict[str, Any] = {
        "model": "org/name",
        "architecture": "LlamaForCausalLM",
        "recipe": Recipe(Format(4, 64), "gptq", ("awq",)),
        "formats": {"h.0.q": "int4-g64-sym", "h.1.q": "int4-g64-sym", "head": "int8-row-sym"},
        "bits_per_weight": 4.5,
        "size_bytes": 10.0,
        "base_bytes": 40,
        "quality": quality,
        "calibration_tokens": 24576,
        "seconds": 60.0,
        "cpu_seconds": figure(100.0, "s"),
        "energy": SPENT,
        "peak_bytes": 10,
        "notes": ("One layer | is odd.",),
        "artifacts": {"huggingface": "huggingface", "llamacpp": "llamacpp"},
    }
    return Quantised(**(given | changes))


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def written(tmp_path: Path, facts: cards.Facts, *kinds: str) -> list[str]:
    for kind in kinds:
        (tmp_path / kind).mkdir(exist_ok=True)
    cards.write(facts, tmp_path, {kind: kind for kind in kinds})
    return [(tmp_path / kind / "README.md").read_text(encoding="utf-8") for kind in kinds]


def test_the_export_s_own_card_is_completed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "huggingface").mkdir()
    (tmp_path / "huggingface" / "README.md").write_text(OLD, encoding="utf-8")
    facts = cards.of_quantised(quantised(), GRID)
    (text,) = written(tmp_path, facts, "huggingface")
    assert text.index("# Mine") < text.index("## Energy") < text.index("## What to know")
    assert "- It is small." in text
    assert "2 Wh (1 to 4 Wh, modelled)" in text
    assert written(tmp_path, facts, "huggingface") == [text]  # again changes nothing


def test_a_known_grid_gives_grams_a_hub_can_read(tmp_path: Path) -> None:
    facts = cards.of_quantised(quantised(), GRID)
    (text,) = written(tmp_path, facts, "llamacpp")
    told = front(text)
    assert told["co2_eq_emissions"]["emissions"] == pytest.approx(0.5)  # 2 Wh at 250 g/kWh
    assert "compressing alone" in told["co2_eq_emissions"]["source"]
    assert told["base_model"] == "org/name"
    assert told["library_name"] == "gguf"
    data = ModelCardData(**told)
    assert data.to_dict()["base_model_relation"] == "quantized"
    assert "a stated 250 g CO2e/kWh" in text


def test_an_unknown_grid_is_unknown_and_not_zero(tmp_path: Path) -> None:
    (text,) = written(tmp_path, cards.of_quantised(quantised(), None), "openvino")
    assert "co2_eq_emissions" not in front(text)
    row = next(line for line in text.splitlines() if "Carbon of compressing" in line)
    assert "unknown, as the grid is; somewhere between" in row


def test_a_card_tells_method_formats_and_quality_with_intervals(tmp_path: Path) -> None:
    (text,) = written(tmp_path, cards.of_quantised(quantised(), None), "onnxruntime")
    assert "gptq after awq, 24,576 tokens" in text
    assert "| `q` | `int4-g64-sym` (2) |" in text
    assert "| `head` | `int8-row-sym` (1) |" in text
    assert "Perplexity beside the 16-bit model" in text
    assert "not measured: this command times no decoder" in text
    assert "not stated by the source" in text
    assert "- One layer | is odd." in text


def test_what_was_raced_tells_when_it_is_paid_back() -> None:
    wide = figure(0.004, "s/text"), figure(0.008, "s/text")
    speed = Speed("openvino 1", 128, *wide, figure(0.002, "s/text"), figure(0.5), figure(0.25))
    assert "50,000 texts of 128 tokens" in cards.of_quantised(quantised(speeds=(speed,)), None).paid
    slower = Speed("openvino 1", 128, *wide, figure(0.005, "s/text"), figure(1.2), figure(0.6))
    assert "never" in cards.of_quantised(quantised(speeds=(slower,)), None).paid


def test_an_optimisation_tells_its_joules_per_token(tmp_path: Path) -> None:
    outcome = sample_outcome()
    chosen = next(p for p in outcome.points if p.variant.name == outcome.decision.choice)
    facts = cards.of_outcome(outcome, GRID)
    (text,) = written(tmp_path, facts, "openvino")
    assert "Joules per token" in text
    assert str(chosen.energy.kind) in text
    assert f"{outcome.payback_tokens:,.0f} tokens" in text
    assert front(text)["co2_eq_emissions"]["hardware_used"] == outcome.facts.machine["cpu"]


def test_a_pruned_model_has_a_card_too(tmp_path: Path) -> None:
    quality = quantised().quality
    pace = Pace("openvino 1", "reading", figure(2.0, "s"), figure(1.0, "s"), figure(0.5))
    found = Pruned(
        model="org/name",
        architecture="LlamaForCausalLM",
        cut=Cut(0.5, None, "wanda"),
        gone=(),
        base=Shape(4, 100, 1000, 900),
        shape=Shape(4, 50, 700, 600),
        raw=quality,
        quality=quality,
        healing=None,
        paces=(pace,),
        calibration_tokens=10,
        seconds=1.0,
        cpu_seconds=figure(1.0, "s"),
        energy=SPENT,
        pays_back=1234.4,
        peak_bytes=1,
        notes=(),
        folder="model",
    )
    (text,) = written(tmp_path, cards.of_pruned(found, None), "model")
    assert "1,234 tokens read" in text
    assert "50 of 100 inner channels stay, not healed" in text
    assert front(text)["library_name"] == "transformers"


def test_a_trimmed_vocabulary_is_told_by_bytes() -> None:
    asked = PerByte(1.0, 1.02, figure(0.02), figure(0.05), 0.013, 99, "some text")
    told = cards._quality(asked)
    assert told["Bits for a byte of text"].startswith("1.0200, was 1.0000; +2.00%")
    assert told["Tokens for the same text"] == "+1.30%"


def test_a_licence_is_the_model_s_own_or_unknown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert licence_of(str(tmp_path)) == ""
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    assert licence_of(str(tmp_path)) == "mit"
    assert licence_of("/nowhere") == ""
    assert licence_of("nobody/has-fetched-this") == ""


def test_a_gguf_file_names_its_licence(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_license("Apache-2.0")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert licence_of(str(tmp_path / "m.gguf")) == "apache-2.0"
