"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A test's time is the machine's mood: no example fails for being slow. In CI the examples are
# the same for the same test, so that a change fails for what it changed; elsewhere they are new.
settings.register_profile("negawatt", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=2000)
_chosen = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "negawatt")
settings.load_profile(_chosen)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with `data/` and `models/` that is kept beside the repository.

    `NEGAWATT_DATA` may name it or its `data/` folder. Without it the tests
    that need real corpora or weights are skipped, and say why.
    """
    given = Path(os.environ.get("NEGAWATT_DATA") or REPOSITORY.parent / "shared").resolve()
    for folder in (given, given.parent):
        if (folder / "models").is_dir() and (folder / "data").is_dir():
            return folder
    pytest.skip(f"no corpora and models at {given}; NEGAWATT_DATA can name their folder")
