"""What the documents tell a reader to type can be typed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from negawatt.cli import root

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(?P<kind>\w*)[^\n]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)")
PAGES = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]


class Line(NamedTuple):
    """One command line of a document."""

    page: Path
    words: list[str]

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def lines_of(page: Path) -> Iterator[Line]:
    """The command lines: all of an `sh` block, those after `$ ` in a `console` block."""
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        body = block["body"].replace("\\\n", " ")
        if block["kind"] == "console":
            body = "\n".join(s.removeprefix("$ ") for s in body.splitlines() if s[:2] == "$ ")
        elif block["kind"] != "sh":
            continue
        for text in body.splitlines():
            words = shlex.split(text, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # VARIABLE=value before it
                words.pop(0)
            if words:
                yield Line(page, words)


LINES = [line for page in PAGES for line in lines_of(page)]
OURS = [line for line in LINES if Path(line.words[0]).name == "negawatt"]
MAKE = [line for line in LINES if line.words[0] == "make"]


def test_both_readmes_have_the_two_commands() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        told = [line.words for line in lines_of(REPOSITORY / name)]
        assert told[:2] == [["make", "run"], ["make", "test"]]


def test_both_readmes_tell_the_same_commands() -> None:
    english, chinese = (lines_of(REPOSITORY / f"README{x}.md") for x in ("", ".zh-CN"))
    assert [line.words for line in english] == [line.words for line in chinese]


@pytest.mark.parametrize("line", OURS, ids=str)
def test_negawatt_takes_this_command_line(line: Line) -> None:
    words = line.words[1:]
    context = click.Context(root, info_name="negawatt", **root.context_settings)
    command: click.Command = root
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        context = click.Context(found, info_name=name, parent=context)
        command = found
    if set(words) & {"-h", "--help", "--version"}:
        return
    given, _, _ = command.make_parser(context).parse_args(list(words))
    for parameter in command.params:
        if parameter.required:
            assert given.get(str(parameter.name)), f"{parameter.name} is missing"
        value = given.get(str(parameter.name))
        if value is not None:  # an option whose value may be left out has it filled in here
            value, _ = parameter.consume_value(context, given)
        if value and not isinstance(parameter.type, click.Path | click.File):
            parameter.type_cast_value(context, value)


@pytest.mark.parametrize("line", MAKE, ids=str)
def test_make_knows_this_target(line: Line) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        [make, "--dry-run", *line.words[1:]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_make_run_is_the_command_of_the_tutorial() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        [make, "--dry-run", "run"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    told = lines_of(REPOSITORY / "docs" / "tutorial" / "first-negawatts.md")
    assert done.stdout.splitlines()[-1].split() in [line.words for line in told]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        target = page.parent / link["target"]
        made_by_the_build = target.name == "python.md"
        assert made_by_the_build or target.exists(), link["target"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_no_page_names_a_place_on_one_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?:^|[\s`(])/(?:work|root|home/\w+|tmp)\b", text)
