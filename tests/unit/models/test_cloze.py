from __future__ import annotations

from typing import Any

import numpy as np

from negawatt.models.cloze import Span, cloze_items, share_of


class PieceTokenizer:
    """Tokens are the words themselves with a space mark, a few in two pieces."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def encode(self, text: str) -> list[int]:
        ids = []
        for word in text.split(" "):
            parts = [f"Ġ{word[:4]}", word[4:]] if word.startswith("two") else [f"Ġ{word}"]
            for part in parts:
                if part not in self.pieces:
                    self.pieces.append(part)
                ids.append(self.pieces.index(part))
        return ids

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": self.encode(text)}

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [self.pieces[i] for i in ids]


def window(tokenizer: PieceTokenizer, *said: tuple[int, str]) -> np.ndarray:
    words = ["".join(chr(97 + (i // 26**k) % 26) for k in range(3)) + "fill" for i in range(100)]
    for place, word in said:
        words[place] = word
    return np.array([tokenizer.encode(" ".join(words))])


def test_a_word_said_before_is_an_item_and_its_span_is_the_word() -> None:
    tokenizer = PieceTokenizer()
    text = window(tokenizer, (10, "twopieces"), (70, "twopieces"))
    found = cloze_items(text, tokenizer)
    assert found.items == 1
    span = found.spans[0]
    assert tokenizer.convert_ids_to_tokens(text[0, span.start : span.stop].tolist()) == [
        "Ġtwop", "ieces",
    ]  # fmt: skip
    assert span.start == 71  # one more for the piece at the first mention


def test_early_short_and_new_words_are_no_items() -> None:
    tokenizer = PieceTokenizer()
    for said in ([(5, "again"), (20, "again")], [(5, "cat"), (70, "cat")], [(70, "sudden")],
                 [(5, "now."), (70, "now.")]):  # fmt: skip
        assert cloze_items(window(tokenizer, *said), tokenizer).items == 0, said


def test_the_commonest_words_are_no_items() -> None:
    tokenizer = PieceTokenizer()
    often = [(place, "ever") for place in range(0, 100, 9)]
    assert cloze_items(window(tokenizer, *often), tokenizer).items == 0


def test_items_are_spread_and_drawn_by_seed() -> None:
    tokenizer = PieceTokenizer()
    names = [f"wxyz{chr(97 + i)}" for i in range(50)]
    twice = [(i, name) for i, name in enumerate(names)] + [
        (50 + i, name) for i, name in enumerate(names)
    ]
    text = np.repeat(window(tokenizer, *twice), 2, axis=0)
    text[1] = np.roll(text[1], 7)
    counted = [span.start for span in cloze_items(text[:1], tokenizer).spans]
    assert counted == [50, 74]  # every word qualifies, one in 24 is taken
    few = [cloze_items(text[:1], tokenizer, limit=1, seed=seed) for seed in range(8)]
    assert {task.items for task in few} == {1}
    assert len({task.digest for task in few}) == 2


def test_a_passage_is_its_last_word() -> None:
    tokenizer = PieceTokenizer()
    found = cloze_items(np.zeros((1, 2), np.int64), tokenizer, ["he opened the twodoor\n", "alone"])
    assert [(passage.tokens, passage.answer) for passage in found.passages] == [
        (tuple(tokenizer.encode("he opened the twodoor")), 2)
    ]
    assert "LAMBADA" in found.name


def test_an_item_counts_only_when_all_its_tokens_are_right() -> None:
    windows = np.arange(20).reshape(1, 20)
    tops = np.arange(1, 20).reshape(1, 19)  # every choice right
    spans = [Span(0, 4, 6), Span(0, 9, 10), Span(0, 15, 19)]
    assert share_of(tops, windows, spans) == 3
    tops[0, 4] = 0  # the choice for token 5
    assert share_of(tops, windows, spans) == 2
    tops[0, 8] = 0  # the choice for token 9
    assert share_of(tops, windows, spans) == 1


def test_the_same_task_has_the_same_digest() -> None:
    tokenizer = PieceTokenizer()
    text = window(tokenizer, (10, "again"), (70, "again"))
    assert cloze_items(text, tokenizer).digest == cloze_items(text, tokenizer).digest
    assert cloze_items(text, tokenizer).digest != cloze_items(text[:, :60], tokenizer).digest
