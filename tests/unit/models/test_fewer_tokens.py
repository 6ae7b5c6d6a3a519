"""A trimmed tokenizer cuts what it was trimmed for as before, and every other text somehow."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from small_tokenizer import trained

from negawatt.core.errors import TokenizerMissing, UnsupportedArchitecture, UsageError
from negawatt.models.fewer_tokens import Pieces, choose, numbers_named, rewrite
from negawatt.models.tokenizer import load_tokenizer

CORPUS = [topics[name] for name in sorted(topics)][20:24]
STRANGE = "Größe 你好 \U0001f600 qzxj <s>"


def cut(tokenizer: Any, text: str, **more: Any) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, verbose=False, **more)["input_ids"])


@pytest.mark.parametrize("spelt", [False, True])
def test_the_corpus_is_cut_as_before_and_any_text_can_be_written(
    tmp_path: Path, *, spelt: bool
) -> None:
    folder = trained(tmp_path, spelt=spelt)
    tokenizer = load_tokenizer(folder)
    before = [cut(tokenizer, text) for text in CORPUS]
    framed = tokenizer("a name")["input_ids"]
    counts = Counter(number for one in before for number in one)
    kept = choose(Pieces.read(folder), counts, numbers_named(folder), 16, None)
    assert len(kept) % 16 == 0
    assert len(kept) < len(tokenizer)
    rewrite(folder, kept)
    after = load_tokenizer(folder)
    assert len(after) == len(kept)
    assert [[kept[one] for one in cut(after, text)] for text in CORPUS] == before
    assert [kept[one] for one in after("a name")["input_ids"]] == framed
    assert after.decode(cut(after, STRANGE)) == tokenizer.decode(cut(tokenizer, STRANGE))
    assert len(cut(after, STRANGE)) >= len(cut(tokenizer, STRANGE))
    told = json.loads((folder / "generation_config.json").read_text())
    assert [kept[one] for one in told["eos_token_id"]] == [2, 900]
    assert (told["pad_token_id"], told["max_new_tokens"]) == (-1, 2)
    assert after.convert_tokens_to_ids("<tool>") == told["eos_token_id"][1]


def test_a_number_keeps_the_most_used(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    pieces = Pieces.read(folder)
    counts = Counter(one for text in CORPUS for one in cut(load_tokenizer(folder), text))
    kept = choose(pieces, counts, set(), 16, 333)
    assert len(kept) == 320
    common = [number for number, _ in counts.most_common(20)]
    assert set(common) <= set(kept)
    with pytest.raises(UsageError, match="too few"):
        choose(pieces, counts, set(), 16, 100)
    with pytest.raises(UsageError, match="would stay"):
        choose(pieces, dict.fromkeys(range(901), 1), set(), 16, None)


def test_other_kinds_of_tokenizers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerMissing):
        Pieces.read(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram"}}))
    with pytest.raises(UnsupportedArchitecture, match="Unigram"):
        Pieces.read(tmp_path)


def test_merges_written_as_one_string_are_read(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    told = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    told["model"]["merges"] = [" ".join(pair) for pair in told["model"]["merges"]]
    (folder / "tokenizer.json").write_text(json.dumps(told), encoding="utf-8")
    counts = Counter(cut(load_tokenizer(folder), CORPUS[0]))
    kept = choose(Pieces.read(folder), counts, set(), 16, None)
    before = cut(load_tokenizer(folder), CORPUS[0])
    rewrite(folder, kept)
    assert [kept[one] for one in cut(load_tokenizer(folder), CORPUS[0])] == before
