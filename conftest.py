"""Ground rules of every test and doctest: no hub, no user settings, nothing kept in the home."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest


def pytest_collection_finish() -> None:
    """Leave out of later collections what is here to stay.

    Jobs collect garbage whenever they let go of a model, and with a million objects of libraries
    and tests at hand each of these takes a second.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _away_from_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the whole run folders of its own and an environment without our variables."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("NEGAWATT_")]:
            if variable != "NEGAWATT_DATA":  # where the corpora are is the machine's to say
                patch.delenv(variable)
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
