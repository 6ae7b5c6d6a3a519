"""Two encoders side by side: what differs shows, what does not is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negawatt.core.errors import TextError
from negawatt.models.likeness import Answers, Example, answers, likeness, read_task


def vectors(count: int = 40, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(0).normal(size=(count, 16))
    found = draw + noise * np.random.default_rng(seed).normal(size=draw.shape)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def logs(sharp: float) -> np.ndarray:
    draw = sharp * np.random.default_rng(0).normal(size=(40, 5))
    return np.asarray(draw - np.log(np.exp(draw).sum(1, keepdims=True)))


ABOUT = ("embedding", "pairs.csv", 640, "some text")


def test_a_model_is_entirely_like_itself() -> None:
    one = Answers(vectors(), np.zeros(0))
    found = likeness(one, one, [], ("embedding", "", 640, "some text"))
    assert found.distance.value == pytest.approx(0, abs=1e-12)
    assert found.same.value == 1.0
    assert found.task is None
    assert (found.measure, found.tokens) == ("1 - cosine", 640)


def test_more_noise_is_less_like() -> None:
    base = Answers(vectors(), np.zeros(0))
    found = [
        likeness(base, Answers(vectors(noise=noise, seed=7), np.zeros(0)), [], ABOUT).distance
        for noise in (0.05, 0.2, 1.0)
    ]
    assert found[0].value < found[1].value < found[2].value
    assert all(one.low <= one.value <= one.high for one in found)


def test_labels_and_tokens_are_compared_by_their_distributions() -> None:
    base = Answers(logs(2.0), np.zeros(0))
    found = likeness(base, Answers(logs(1.0), np.zeros(0)), [], ("labels", "", 640, "some text"))
    p, q = np.exp(logs(2.0)), np.exp(logs(1.0))
    assert found.measure == "KL"
    assert found.distance.value == pytest.approx(float((p * np.log(p / q)).sum(1).mean()))
    assert found.same.value == 1.0  # a flatter answer has the same first choice


def test_a_task_is_scored_in_pairs() -> None:
    draw = np.random.default_rng(1)
    wanted = draw.uniform(0, 5, 200)
    examples = [Example(("a", "b"), score) for score in wanted]
    good, bad = wanted + 0.1 * draw.normal(size=200), wanted + 3 * draw.normal(size=200)
    found = likeness(Answers(vectors(), good), Answers(vectors(), bad), examples, ABOUT).task
    assert found is not None
    assert found.name == "Spearman on pairs.csv"
    assert found.base > 0.95
    assert found.value < 0.8
    assert found.change.low <= found.change.value <= found.change.high < 0
    assert found.change.value == pytest.approx(found.value - found.base)


def test_a_classifier_is_scored_by_its_right_answers() -> None:
    examples = [Example((f"text {i}",), float(i % 2)) for i in range(50)]
    right = np.array([i % 2 for i in range(50)], float)
    wrong = right.copy()
    wrong[:10] = 1 - wrong[:10]
    base, variant = Answers(logs(1.0), right), Answers(logs(1.0), wrong)
    found = likeness(base, variant, examples, ("labels", "sst", 640, "some text")).task
    assert found is not None
    assert (found.base, found.value, found.examples) == (1.0, 0.8, 50)
    assert found.name == "accuracy on sst"


def test_tasks_are_read_from_their_two_forms(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text('"A man, a plan.",A canal.,2.5\nOne.,Two.,0\n', encoding="utf-8")
    assert read_task(pairs)[0] == Example(("A man, a plan.", "A canal."), 2.5)
    lines = tmp_path / "labels.txt"
    lines.write_text("1 a fine film .\n0 a long string of cliches .\n", encoding="utf-8")
    assert read_task(lines)[1] == Example(("a long string of cliches .",), 0.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "only,two\nonly,two\n"),
        ("a.csv", "a,b,high\nc,d,low\n"),
        ("a.txt", "good film\nbad film\n"),
        ("a.txt", "1\n0\n"),
        ("a.txt", "1 lonely\n"),
        ("a.txt", ""),
    ],
)
def test_another_form_is_refused_with_the_forms_there_are(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(TextError) as caught:
        read_task(tmp_path / name)
    assert caught.value.fix
    with pytest.raises(TextError, match="nothing"):
        read_task(tmp_path / "nothing.csv")


class Reading:
    """A session whose answer to a token is a vector of its own."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, tokens: np.ndarray) -> np.ndarray:
        self.shapes.append(tokens.shape)
        return np.stack([np.eye(8, dtype=np.float32)[one % 8] + 0.1 for one in tokens])


def test_texts_of_one_length_are_read_together_and_answered_in_their_order() -> None:
    def tokenizer(text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    words = ["abc", "ab", "xyz", "q", "bca", "no", "abc", "abd"]
    pairs = [Example((one, other), 0.0) for one, other in zip(words[::2], words[1::2], strict=True)]
    windows = np.arange(12).reshape(3, 4)
    together, alone, told = Reading(), Reading(), []
    given = (windows, pairs, tokenizer, ("embedding", "mean"))
    found = answers(together, *given, told.append)  # type: ignore[arg-type]
    assert sorted(together.shapes) == [(1, 1), (2, 2), (3, 4), (5, 3)]
    assert told[-1] == 1.0
    for at, pair in enumerate(pairs):
        one = answers(alone, windows[:1], [pair], *given[2:])  # type: ignore[arg-type]
        assert one.examples[0] == pytest.approx(found.examples[at])
    assert found.windows.shape == (3, 8)
