"""`make` installs what is pinned: nothing that an extra asks for may be left to chance."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = {
    **PROJECT["optional-dependencies"],
    "the package itself": PROJECT["dependencies"],
}


def _plain(name: str) -> str:
    """A distribution's name, however it is spelled."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    stated = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(version for _, _, version in stated), "every line is NAME==VERSION"
    names = [_plain(name) for name, _, _ in stated]
    assert len(names) == len(set(names)), "every name stands there once"
    return {_plain(name): version for name, _, version in stated}


@pytest.mark.parametrize("extra", WANTED)
def test_what_an_extra_asks_for_is_pinned_in_a_version_it_takes(
    extra: str, pins: dict[str, str]
) -> None:
    for requirement in WANTED[extra]:
        found = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?(?:>=([\w.]+))?$", requirement)
        assert found, f"{requirement} has a form that this test does not know"
        name, least = _plain(found[1]), found[2]
        if name == "negawatt":
            continue  # an extra made of others
        assert name in pins, f"{name} of {extra} has no line in constraints.txt"
        if least:
            assert _version(pins[name]) >= _version(least)
