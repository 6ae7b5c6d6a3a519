"""Where a setting may be given, and which of the places is believed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from negawatt.core.errors import UsageError

FILE_NAME = "negawatt.toml"

#: Reads the text of one setting; the path is the folder a relative path starts
#: from. Raises `ValueError` that says what the text should have been.
Reader = Callable[[str, Path], Any]


class Spec(NamedTuple):
    """How one setting is given and read."""

    read: Reader
    description: str
    environment: tuple[str, ...]
    default: str = ""  # read like any other text; empty leaves the setting unset


class Found(NamedTuple):
    """A value as it was given, where, and the folder its relative paths start from."""

    value: object
    origin: str
    base: Path


class File(NamedTuple):
    """A settings file, its names spelt as `section.key`."""

    path: Path
    values: Mapping[str, object]


def strongest(
    name: str,
    spec: Spec,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    files: list[File],
    folder: Path,
) -> Found:
    """The value of the strongest place that gives one: flag, environment, file, default."""
    if name in flags:
        return Found(flags[name], "flag", folder)
    for variable in spec.environment:
        if environ.get(variable):
            return Found(environ[variable], f"environment {variable}", folder)
    for file in files:
        if name in file.values:
            return Found(file.values[name], f"file {file.path}", file.path.parent)
    return Found(_expand(spec.default, environ), "default", folder)


def _expand(text: str, environ: Mapping[str, str]) -> str:
    """Put the XDG folders into a default path."""
    for variable, fallback in (("XDG_DATA_HOME", "~/.local/share"), ("XDG_CACHE_HOME", "~/.cache")):
        text = text.replace(f"${variable}", environ.get(variable) or fallback)
    return text


def file_paths(environ: Mapping[str, str], folder: Path) -> Iterator[Path]:
    """The settings files there are, strongest first."""
    config = Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    for path in (folder / FILE_NAME, config / "negawatt" / FILE_NAME):
        if path.is_file():
            yield path


def read_file(path: Path, known: Sequence[str]) -> File:
    """Read a settings file.

    Raises:
        UsageError: it cannot be read, or sets what there is not.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOML and UTF-8 errors are ValueErrors
        raise UsageError(
            f"settings file {path} cannot be read: {error}", fix="correct it, or move it away"
        ) from error
    values: dict[str, object] = {}
    for section, content in tree.items():
        if isinstance(content, dict):
            values |= {f"{section}.{key}": value for key, value in content.items()}
        else:
            values[section] = content
    refuse_unknown(values, known, f"file {path}")
    return File(path, values)


def refuse_unknown(values: Mapping[str, object], known: Sequence[str], place: str) -> None:
    """Refuse names that nothing is called by, and several values for one."""
    for name, value in values.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise UsageError(
                f"{place} sets {name}, and there is no such setting",
                fix=f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}",
            )
        if isinstance(value, list | dict):
            raise UsageError(
                f"{place} gives {name} several values", fix="give it one, or remove it"
            )


def ignored(environ: Mapping[str, str], specs: Iterable[Spec]) -> tuple[str, ...]:
    """Variables that look like settings and name none."""
    known = {variable for spec in specs for variable in spec.environment}
    return tuple(sorted(v for v in environ if v.startswith("NEGAWATT_") and v not in known))
