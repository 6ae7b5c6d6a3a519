"""Find text to calibrate and evaluate on: the user's, the shared corpora, or Python's own manual."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from negawatt.core.errors import TextError

_SECTION = 4_000  # characters; a text without document marks is cut about here, between paragraphs
_FIX_FILE = "give a UTF-8 text file, a .jsonl file with a `text` field, or a folder of .txt files"


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents of one origin. A document never ends up on both sides of a split."""

    name: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """What to calibrate on and what to hold out.

    When both are the same pool, its documents are dealt out between the two.
    """

    calibration: Pool
    held_out: Pool
    passages: tuple[str, ...] = ()  # for the cloze task, last word to be guessed

    @property
    def shared(self) -> bool:
        """True when both sides come from one pool."""
        return self.calibration is self.held_out


def load_text(spec: str | None = None, data: Path | None = None) -> Text:
    """Choose the text: `spec` if given, else corpora below `data`, else Python's own manual.

    Args:
        spec: A text file, a .jsonl file with a `text` field a line, or a folder of .txt files.
        data: Folder of corpora: WikiText-2 to evaluate, Wikipedia articles or C4 to calibrate.

    Raises:
        TextError: the file is missing, unreadable, not UTF-8 or empty.
    """
    if spec is not None:
        pool = _from_path(Path(spec).expanduser())
        return Text(pool, pool)
    found = _corpora(data) if data is not None else None
    if found is not None:
        return found
    pool = _python_manual()
    return Text(pool, pool)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{path} is not UTF-8 text: byte {error.start:,} cannot be read",
            fix=f"iconv -f latin1 -t utf-8 {path.name} > {path.stem}.utf8.txt",
        ) from error
    except FileNotFoundError as error:
        raise TextError(f"there is no text file {path}", fix=_FIX_FILE) from error
    except PermissionError as error:
        raise TextError(f"{path} may not be read", fix=f"chmod u+r {path}") from error
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror}", fix=_FIX_FILE) from error


def _from_path(path: Path) -> Pool:
    if path.is_dir():
        files = sorted(path.rglob("*.txt"))
        documents = [part for file in files for part in _documents(_read(file))]
    elif path.suffix == ".jsonl":
        documents = list(_json_lines(path))
    else:
        documents = _documents(_read(path))
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise TextError(f"{path} holds no text", fix=_FIX_FILE)
    return Pool(path.name, tuple(documents))


def _json_lines(path: Path) -> Iterable[str]:
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError) as error:
            raise TextError(
                f"line {number} of {path} is no JSON object with a `text` field",
                fix='write one object a line, such as {"text": "One document."}',
            ) from error
        yield str(text)


def _documents(text: str) -> list[str]:
    """Cut a text at its own document marks, else about every `_SECTION` characters."""
    marked = re.findall(r"<doc [^>]*>\n(.*?)</doc>", text, flags=re.DOTALL)
    if marked:
        return [str(document) for document in marked]
    if "<|endoftext|>" in text:
        return text.split("<|endoftext|>")
    articles = re.split(r"(?m)^(?= = [^=].*[^=] = $)", text)  # WikiText headings
    if len(articles) > 2:
        return articles
    return _sections(text)


def _sections(text: str) -> list[str]:
    """Runs of whole paragraphs (else lines, words, characters) of at least `_SECTION` characters."""
    units, mark = re.split(r"\n\s*\n", text), "\n\n"
    for finer in ("\n", " "):
        if max(map(len, units)) > 2 * _SECTION:
            units, mark = text.split(finer), finer
    if max(map(len, units)) > 2 * _SECTION:  # a script that puts no spaces
        units, mark = [text[i : i + _SECTION] for i in range(0, len(text), _SECTION)], ""
    sections: list[str] = []
    held: list[str] = []
    size = 0
    for unit in units:
        held.append(unit)
        size += len(unit) + len(mark)
        if size >= _SECTION:
            sections.append(mark.join(held))
            held, size = [], 0
    return [*sections, mark.join(held)] if held else sections


def _corpora(data: Path) -> Text | None:
    """WikiText-2 with Wikipedia articles or C4, where they are found below `data`."""
    for root in (data, data / "text", data / "data" / "text"):
        test = root / "wikitext2" / "wiki.test.raw"
        sources = {
            "Wikipedia articles": root / "wikipedia-extract" / "wiki.txt",
            "C4 web text": root / "c4-sample" / "c4.txt",
        }
        known = {name: path for name, path in sources.items() if path.is_file()}
        if test.is_file() and known:
            name, path = next(iter(known.items()))
            held_out = Pool("WikiText-2, test split", tuple(_documents(_read(test))))
            lambada = sorted((root / "lambada").glob("*.jsonl"))
            passages = tuple(_json_lines(lambada[0])) if lambada else ()
            return Text(Pool(name, tuple(_documents(_read(path)))), held_out, passages)
    return None


def _python_manual() -> Pool:
    """The language reference that every CPython carries for `help()`."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise TextError(
            "this Python came without its manual (pydoc_data), the default text",
            fix="name a text with --text FILE",
        ) from error
    documents = clean_topics(topics)
    return Pool(f"the Python {platform.python_version()} language reference", documents)


def clean_topics(topics: Mapping[str, str]) -> tuple[str, ...]:
    """Prose paragraphs of manual topics, one document a topic, each paragraph once.

    Code, grammar, tables and rulings are left out, and hard line ends are
    joined. Topics quote one another at length; a paragraph stays with the
    topic that comes first by name.

    >>> clean_topics(
    ...     {"a": "Title\\n*****\\n\\nOne long enough sentence of plain prose\\nis kept here.\\n"}
    ... )
    ('One long enough sentence of plain prose is kept here.',)
    """
    seen: set[str] = set()
    documents = []
    for name in sorted(topics):
        kept = []
        for block in re.split(r"\n\s*\n", topics[name]):
            line = " ".join(block.split())
            if _is_prose(line) and line not in seen:
                seen.add(line)
                kept.append(line)
        if kept:
            documents.append("\n\n".join(kept))
    return tuple(documents)


def _is_prose(line: str) -> bool:
    plain = sum(letter.isalpha() or letter == " " for letter in line)
    return len(line.split()) >= 8 and plain >= 0.75 * len(line) and "::=" not in line
