"""Write the reference pages from the code they describe.

`python docs/generate.py` writes them; with `--check` it only says which are
stale, and its exit status is the number of those.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from negawatt import settings
from negawatt.cli import VERBS, root
from negawatt.core import errors

FOLDER = Path(__file__).parent
CLI_PAGE = FOLDER / "reference" / "cli.md"
SETTINGS_PAGE = FOLDER / "reference" / "settings.md"
ERRORS_PAGE = FOLDER / "reference" / "errors.md"

MADE = "<!-- Written by docs/generate.py from the code. Change the code, then `make docs`. -->\n\n"

CLI_INTRODUCTION = """\
# Command line

What is for a program goes to standard output, what is for a person watching to
standard error. Every verb that prints figures takes `--json`. Exit statuses are
listed under [errors](errors.md).
"""

SETTINGS_TEXT = """\
# Settings

A flag is stronger than the environment, the environment than a file, a file than the
default. Files are `{file}` in the current folder, then `negawatt/{file}` in
`$XDG_CONFIG_HOME` (`~/.config`). `negawatt settings` shows each value with the place
it came from.

| setting<br>environment | what it is for | default |
| --- | --- | --- |
{rows}

`$XDG_DATA_HOME` is `~/.local/share` and `$XDG_CACHE_HOME` is `~/.cache` where they are
not set. A relative path starts from the folder of the file that holds it, or from the
current folder.

A file with some of the defaults:

```toml
{example}
```
"""

ERRORS_TEXT = """\
# Errors

Every error raised on purpose is a `NegawattError`: it states the fact (`what`), then
what to type next (`fix`). The command line prints both on standard error and exits with
the status of the class; with `--json` it also prints `{{"error": ..., "fix": ...}}` on
standard output.

| error | exit status | meaning |
| --- | --- | --- |
{rows}

Besides these: 2 for a command line that cannot be read, 130 after Ctrl-C, and 1 with a
traceback for a defect of the program. `negawatt measure` exits with the status of the
command it ran.
"""


def main() -> int:
    """Write the pages that are kept in the repository, or check them."""
    kept = {
        CLI_PAGE: cli_page(),
        SETTINGS_PAGE: settings_page(),
        ERRORS_PAGE: errors_page(),
    }
    if sys.argv[1:] == ["--check"]:
        stale = [page for page, text in kept.items() if not is_current(page, text)]
        for page in stale:
            sys.stderr.write(f"{page.relative_to(FOLDER.parent)} is stale: make docs\n")
        return len(stale)
    for page, text in kept.items():
        write(page, text)
    return 0


def is_current(page: Path, text: str) -> bool:
    """True when the page on disk is the text."""
    return page.is_file() and page.read_text(encoding="utf-8") == text


def write(page: Path, text: str) -> None:
    """Write a page unless it is there already, so that nothing is rebuilt for nothing."""
    if not is_current(page, text):
        page.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------ commands


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command, subcommands included, with its full name."""
    top = click.Context(root, info_name="negawatt", **root.context_settings)
    yield "negawatt", root, top
    for verb in VERBS:
        command = root.get_command(top, verb)
        if command is not None:
            yield from _below(command, click.Context(command, info_name=verb, parent=top))


def _below(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _below(child, click.Context(child, info_name=name, parent=context))


def cli_page() -> str:
    """The page of the command line."""
    parts = [MADE + CLI_INTRODUCTION]
    for path, command, context in commands():
        parts += [f"## `{path}`\n", f"```text\n{_usage(command, context)}\n```\n"]
        parts += [_prose(command.help or ""), _options(command, context)]
    return tidy(parts)


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _prose(text: str) -> str:
    """Click's help as Markdown: paragraphs flow, those marked with a backspace stay as they are."""
    shown = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n")
            shown.append(f"```text\n{lines}\n```\n")
        else:
            shown.append(" ".join(paragraph.split()) + "\n")
    return "\n".join(shown)


def _options(command: click.Command, context: click.Context) -> str:
    rows = []
    names = ", ".join(sorted(context.help_option_names, key=len))
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" in parameter.opts:
            # A command that has run alone remembers the option's names of that time.
            record = (names, record[1])
        if record is not None and record[1]:  # an argument is explained in the text above
            rows.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
    if not rows:
        return ""
    return "\n".join(["| option | what it does |", "| --- | --- |", *rows]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


# ------------------------------------------------------------------ settings


def settings_page() -> str:
    """The page of the settings."""
    example = "\n".join(
        f"# {spec.description}\n{name} = {_toml(spec.default)}\n"
        for name, spec in settings.specs().items()
        if spec.default and "$" not in spec.default
    )
    rows = [
        f"| `{name}`<br>{'<br>'.join(f'`{v}`' for v in spec.environment)} |"
        f" {_cell(spec.description)} | {f'`{spec.default}`' if spec.default else 'unset'} |"
        for name, spec in settings.specs().items()
    ]
    return MADE + SETTINGS_TEXT.format(
        file=settings.FILE_NAME, rows="\n".join(rows), example=example.strip()
    )


def _toml(text: str) -> str:
    return text if text.isdigit() or text in {"true", "false"} else f'"{text}"'


# -------------------------------------------------------------------- errors


def errors_page() -> str:
    """The page of the errors and exit statuses."""
    rows = [
        f"| {'&emsp;' * depth}`{kind.__name__}` | {kind.exit_status} | {first_line(kind)} |"
        for kind, depth in _family(errors.NegawattError, 0)
    ]
    return MADE + ERRORS_TEXT.format(rows="\n".join(rows))


def _family(
    kind: type[errors.NegawattError], depth: int
) -> Iterator[tuple[type[errors.NegawattError], int]]:
    yield kind, depth
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _family(child, depth + 1)


def first_line(thing: object) -> str:
    """The first line of the docstring of a class or function."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def tidy(parts: list[str]) -> str:
    """The parts of a page as one text, a blank line between any two."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(part for part in parts if part)).strip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
