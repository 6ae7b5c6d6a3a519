"""What an artifact says about how it is meant to be served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from negawatt.core.caches import CacheLayout, offered
from negawatt.core.errors import BrokenWeights, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.serving import Serving


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    meant = Serving("8/4", "it is cheaper")
    meant.write(tmp_path)
    assert Serving.read(tmp_path) == meant


def test_a_folder_that_says_nothing_leaves_it_to_the_engine(tmp_path: Path) -> None:
    assert Serving.read(tmp_path).cache == "own"


@pytest.mark.parametrize("text", ["{", json.dumps({"cache": "2"}), "[]"])
def test_nonsense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / Serving.FILE).write_text(text)
    with pytest.raises(BrokenWeights, match=Serving.FILE):
        Serving.read(tmp_path)


def test_exact_sessions_take_no_narrow_cache() -> None:
    with pytest.raises(UsageError, match="float32"):
        RunOptions(precision="exact", cache="8")


def test_what_is_not_offered_is_refused_by_name() -> None:
    layouts = {"8": CacheLayout(8, 8), "16": CacheLayout(16, 16)}
    assert offered("own", layouts, "mine") is None  # type: ignore[arg-type]
    assert offered("8", layouts, "mine") == CacheLayout(8, 8)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mine keeps no key-value cache of 4 bits"):
        offered("4", layouts, "mine")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="openvino"):
        offered("4", {}, "mine")
