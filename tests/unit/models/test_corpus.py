from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negawatt.core.errors import TextError, UsageError
from negawatt.models.corpus import Corpus, runs, split
from negawatt.models.prose import Pool, Text

SIDES = ("calibration", "selection", "test")


class WordTokenizer:
    """One token a word, numbered as they come; optionally opens every text with token 0."""

    def __init__(self, opening: int | None = None) -> None:
        self.bos_token_id = opening
        self.words: dict[str, int] = {}

    def __call__(self, text: str, *, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        ids = [self.words.setdefault(word, len(self.words) + 1) for word in text.split()]
        opens = add_special_tokens and self.bos_token_id is not None
        return {"input_ids": [self.bos_token_id, *ids] if opens else ids}


def documents(count: int, words: int, seed: int = 0) -> tuple[str, ...]:
    rng = np.random.default_rng(seed)
    return tuple(" ".join(f"w{n}" for n in rng.integers(0, 5_000, words)) for _ in range(count))


def one_pool(*texts: str) -> Text:
    pool = Pool("some text", texts)
    return Text(pool, pool)


def dealt(corpus: Corpus) -> list[np.ndarray]:
    return [getattr(corpus, side) for side in SIDES]


def deal(text: Text, opening: int | None = None, **changes: Any) -> Corpus:
    settings = {
        "window": 64,
        "calibration_tokens": 640,
        "selection_tokens": 200,
        "test_tokens": 256,
    }
    return split(text, WordTokenizer(opening), **{**settings, **changes})


def test_windows_have_the_shapes_asked_for() -> None:
    corpus = deal(one_pool(*documents(30, 100)))
    assert [side.shape for side in dealt(corpus)] == [(10, 64), (4, 64), (4, 64)]
    assert all(side.dtype == np.int64 for side in dealt(corpus))
    assert corpus.opening is None
    assert corpus.texts["selection"].startswith("256 tokens from ")


def test_an_opening_token_stands_before_every_window() -> None:
    text = one_pool(*documents(30, 100))
    corpus, plain = deal(text, opening=0), deal(text)
    assert corpus.opening == 0
    for side, without in zip(dealt(corpus), dealt(plain), strict=True):
        assert (side[:, 0] == 0).all()
        assert (side[:, 1:] != 0).all()
        assert side.shape == without.shape


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1_000), copies=st.integers(1, 6), opening=st.sampled_from([None, 0]))
def test_no_long_run_is_on_two_sides(seed: int, copies: int, opening: int | None) -> None:
    texts = list(documents(40, 100, seed))
    quotation = texts[0][:400]
    rng = np.random.default_rng(seed)
    for number in rng.choice(40, copies, replace=False):
        texts[number] += " " + quotation
    corpus = deal(one_pool(*texts), opening, seed=seed)
    bodies = [side[:, 0 if opening is None else 1 :] for side in dealt(corpus)]
    hashes = [runs(body, 32) for body in bodies]
    for first in range(3):
        for second in range(first):
            assert len(np.intersect1d(hashes[first], hashes[second])) == 0


def test_a_document_is_on_one_side_only() -> None:
    texts = [" ".join(f"d{n}w{i}" for i in range(100)) for n in range(30)]
    tokenizer = WordTokenizer()
    corpus = split(
        one_pool(*texts), tokenizer, window=64, calibration_tokens=640, selection_tokens=200,
        test_tokens=256,
    )  # fmt: skip
    names = {number: word.partition("w")[0] for word, number in tokenizer.words.items()}
    found = [{names[int(token)] for token in side.ravel()} for side in dealt(corpus)]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


def test_two_pools_are_kept_apart() -> None:
    text = Text(
        Pool("one", documents(20, 100)), Pool("other", documents(20, 100, seed=1)), ("a b",)
    )
    corpus = deal(text)
    assert corpus.texts["calibration"].endswith("of one")
    assert corpus.texts["test"].endswith("of other")
    assert corpus.passages == ("a b",)


def test_the_same_seed_deals_the_same_and_another_does_not() -> None:
    text = one_pool(*documents(30, 100))
    assert deal(text).digests == deal(text).digests
    assert deal(text, seed=1).digests["test"] != deal(text).digests["test"]


def test_a_few_long_documents_do_not_fill_a_side_alone() -> None:
    text = one_pool(*documents(3, 2_000), *documents(60, 100, seed=2))
    corpus = deal(text, test_tokens=640)
    used = int(corpus.texts["test"].split(" documents")[0].rsplit(" ", 1)[1])
    assert used >= 7


def test_text_that_is_just_long_enough_is_dealt_in_whole_documents() -> None:
    corpus = deal(one_pool(*documents(3, 700)))
    assert len(corpus.calibration) == 10


def test_a_text_that_is_too_short_says_what_is_there_and_what_is_needed() -> None:
    with pytest.raises(TextError, match=r"it has 500 tokens, 1,096 are needed") as caught:
        deal(one_pool(*documents(5, 100)))
    assert "--text" in caught.value.fix
    text = Text(Pool("short one", documents(2, 50)), Pool("long one", documents(20, 100, seed=1)))
    with pytest.raises(
        TextError, match=r"short one is too short: it has 100 tokens, 640 are needed"
    ):
        deal(text)


@pytest.mark.parametrize("change", [{"window": 8}, {"test_tokens": 0}])
def test_quotas_that_make_no_sense_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        deal(one_pool(*documents(5, 100)), **change)
