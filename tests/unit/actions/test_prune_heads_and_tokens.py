"""Heads and tokens taken out by a whole job: what is left goes through every other verb."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from job_sample import EFFORT, some_order, some_tools
from rich.console import Console
from small_encoder import small_encoder

import negawatt
from negawatt import settings, wiring
from negawatt.actions.optimize.run import optimize
from negawatt.actions.prune.job import prune
from negawatt.actions.prune.steps import Wish
from negawatt.compress.pruned import Cut, Pruned
from negawatt.core import registry
from negawatt.core.errors import RuntimeUnavailable, UnsupportedArchitecture, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Quality
from negawatt.models.per_byte import PerByte
from negawatt.reports.pruned import show


def run(story: Any, out: Path, **cut: Any) -> Pruned:
    wish = Wish(str(story.model), Cut(**cut), out, text=str(story.text))
    return prune(wish, wiring.tools(settings.load({}), lambda _, share: None), EFFORT)


@pytest.fixture(scope="module")
def found(story: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pruned, Path]:
    out = tmp_path_factory.mktemp("pruned")
    corpus = out / "corpus.txt"
    corpus.write_text(story.text.read_text(encoding="utf-8")[:300], encoding="utf-8")
    result = run(story, out, heads=0.5, ffn=0.75, vocabulary=str(corpus), importance="gradient")
    return result, out


def test_heads_and_tokens_went_and_the_loss_is_told_by_byte(found: tuple[Pruned, Path]) -> None:
    result, _ = found
    base, shape = result.base, result.shape
    assert (shape.heads, shape.vocabulary % 64) == (base.heads // 2, 0)
    assert shape.vocabulary < base.vocabulary
    assert shape.head < base.head
    assert shape.multiplications < 0.8 * base.multiplications
    assert isinstance(result.raw, Quality)
    quality = result.quality
    assert isinstance(quality, PerByte)
    assert quality.value == pytest.approx(quality.base * (1 + quality.change.value))
    assert quality.longer >= 0
    page = io.StringIO()
    show(result, Console(file=page, width=100))
    for part in ("attention heads", "tokens of the vocabulary", "bits for a byte", "cut as before"):
        assert part in page.getvalue()


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime", "llamacpp"])
def test_every_engine_computes_what_is_left(
    found: tuple[Pruned, Path], tmp_path: Path, engine: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    result, out = found
    folder = out / result.folder
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).float()
    assert model.config.num_attention_heads == result.shape.heads
    tokens = AutoTokenizer.from_pretrained(folder)(
        "Once upon a time", return_tensors="pt"
    ).input_ids
    assert int(tokens.max()) < result.shape.vocabulary
    wanted = model(tokens).logits.detach().numpy()
    try:
        runtime = registry.build(registry.RUNTIMES, engine)
        runtime.convert(folder, tmp_path / "there")
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    options = RunOptions(threads=1, precision="exact")
    with runtime.open(tmp_path / "there", options) as session:
        logits = session.forward(tokens.numpy())
    np.testing.assert_allclose(logits, wanted, atol=0.05 * float(np.abs(wanted).max()))


def test_what_is_left_is_searched_like_any_model(
    found: tuple[Pruned, Path], story: Any, tmp_path: Path
) -> None:
    result, out = found
    order = some_order(out / result.folder, story.text, tmp_path / "out")
    again = optimize(order, some_tools(tmp_path / "cache"))
    assert again.facts.parameters == result.shape.parameters


def test_tokens_alone_leave_every_answer_among_them(story: Any, tmp_path: Path) -> None:
    result = run(story, tmp_path, vocabulary="448")
    assert result.shape.vocabulary == 448
    assert result.shape.multiplications == result.base.multiplications
    assert result.raw == result.quality
    assert isinstance(result.quality, PerByte)
    assert result.quality.longer > 0


def test_what_cannot_be_is_refused_with_the_reason(story: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a number nor a text"):
        negawatt.prune(str(story.model), vocabulary="absent.txt", out=tmp_path)
    with pytest.raises(UsageError, match="groups"):
        run(story, tmp_path, heads=0.95)
    model = small_encoder(tmp_path / "model")
    for cut, part in (
        ({"heads": 0.5}, "head size"),
        ({"vocabulary": "200"}, "looks its tokens up"),
    ):
        wish = Wish(str(model), Cut(**cut), tmp_path / "out")  # type: ignore[arg-type]
        with pytest.raises(UnsupportedArchitecture, match=part):
            prune(wish, wiring.tools(settings.load({}), lambda _, share: None), EFFORT)
