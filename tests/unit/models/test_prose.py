from __future__ import annotations

import sys
from pathlib import Path

import pytest

from negawatt.core.errors import TextError
from negawatt.models.prose import clean_topics, load_text

LONG = "A paragraph of a few plain words that goes on for a while.\n\n" * 300


def test_the_default_is_the_manual_that_python_carries() -> None:
    text = load_text()
    assert text.shared
    assert "language reference" in text.held_out.name
    assert len(text.held_out.documents) > 40
    assert sum(map(len, text.held_out.documents)) > 200_000
    together = "\n\n".join(text.held_out.documents)
    assert "::=" not in together
    assert "***" not in together
    paragraphs = together.split("\n\n")
    assert len(paragraphs) == len(set(paragraphs))


def test_the_manual_is_the_same_in_any_order_of_topics() -> None:
    topics = {
        name: f"Head\n****\n\nThis is the paragraph that says all there is about {name} here.\n"
        for name in ("with", "assert", "del")
    }
    topics["twin"] = topics["with"]
    backwards = dict(reversed(topics.items()))
    assert clean_topics(topics) == clean_topics(backwards)
    assert len(clean_topics(topics)) == 3


def test_a_python_without_its_manual_asks_for_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(TextError, match="pydoc_data") as caught:
        load_text()
    assert "--text" in caught.value.fix


def test_a_plain_file_is_cut_between_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(LONG)
    text = load_text(str(tmp_path / "book.txt"))
    assert text.shared
    assert text.held_out.name == "book.txt"
    assert len(text.held_out.documents) == 5
    assert all(document.startswith("A paragraph") for document in text.held_out.documents)


@pytest.mark.parametrize("line_end", ["\n", " ", ""])
def test_a_file_without_blank_lines_is_cut_too(line_end: str, tmp_path: Path) -> None:
    whole = LONG.strip().replace("\n\n", line_end)
    whole = whole if line_end else whole.replace(" ", "")
    (tmp_path / "one.txt").write_text(whole)
    documents = load_text(str(tmp_path / "one.txt")).held_out.documents
    assert len(documents) >= 4
    assert line_end.join(documents) == whole


def test_documents_are_taken_as_marked(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}\n')
    (tmp_path / "b.txt").write_text("one<|endoftext|>two<|endoftext|>")
    (tmp_path / "c.txt").write_text('<doc id="1">\none\n</doc>\n<doc id="2">\ntwo\n</doc>\n')
    (tmp_path / "d.txt").write_text(
        " = One = \n\n text \n\n = = Part = = \n\n = Two = \n\n text \n"
    )
    for name in ("a.jsonl", "b.txt", "c.txt"):
        documents = load_text(str(tmp_path / name)).held_out.documents
        assert [document.strip() for document in documents] == ["one", "two"], name
    assert len(load_text(str(tmp_path / "d.txt")).held_out.documents) == 2
    assert len(load_text(str(tmp_path)).held_out.documents) == 6


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("latin.txt", "caf\xe9".encode("latin1"), "not UTF-8 text: byte 3"),
        ("empty.txt", b" \n", "holds no text"),
        ("bad.jsonl", b'{"text": "fine"}\n{"prompt": 1}\n', "line 2"),
        ("missing.txt", None, "no text file"),
    ],
)
def test_what_cannot_be_read_is_said(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=words):
        load_text(str(tmp_path / name))


def test_corpora_are_used_where_they_are(shared: Path) -> None:
    text = load_text(None, shared)
    assert not text.shared
    assert "WikiText-2" in text.held_out.name
    assert len(text.held_out.documents) == 63  # a lead and 62 articles
    assert len(text.calibration.documents) == 2_349
    assert len(text.passages) == 2_577
    again = load_text(None, shared / "data" / "text")
    assert again == text


def test_a_folder_without_corpora_gives_the_manual(tmp_path: Path) -> None:
    assert "language reference" in load_text(None, tmp_path).held_out.name
