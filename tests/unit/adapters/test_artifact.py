import errno
import json
from pathlib import Path

import numpy as np
import pytest

from negawatt.adapters.runtimes.artifact import (
    MANIFEST,
    Manifest,
    Place,
    checked_fit,
    seal,
    unseal,
    writing,
)
from negawatt.core.errors import BrokenWeights, NotAModel, OutputError, UsageError
from negawatt.core.records import Format, QuantisedWeight


def make(folder: Path) -> Manifest:
    with writing(folder) as scratch:
        (scratch / "weights.bin").write_bytes(b"12345")
        return seal(scratch, Manifest("engine", "engine 1", {"a": Place("op", 1, 2, 4)}))


def test_what_was_sealed_is_read_back(tmp_path: Path) -> None:
    sealed = make(tmp_path / "out")
    assert unseal(tmp_path / "out", "engine") == sealed
    assert sealed.files == {"weights.bin": 5}
    assert len(sealed.digest) == 64


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    first = make(tmp_path / "one")
    assert make(tmp_path / "two").digest == first.digest
    with writing(tmp_path / "three") as scratch:
        (scratch / "weights.bin").write_bytes(b"12346")
        assert seal(scratch, first).digest != first.digest


def test_the_place_is_empty_until_the_end(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with writing(out) as scratch:
        assert not out.exists()
        (scratch / "file").touch()
    assert [p.name for p in out.iterdir()] == ["file"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with writing(tmp_path / "out") as scratch:
            (scratch / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_no_obstacle(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "half").touch()
    make(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [MANIFEST, "weights.bin"]
    assert not left.exists()


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    make(tmp_path)
    assert (tmp_path / MANIFEST).is_file()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out exists"):
        make(tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "fix"), [(errno.ENOSPC, "space"), (errno.EACCES, "may write"), (errno.EIO, "disk")]
)
def test_a_disk_that_fails_is_explained(tmp_path: Path, code: int, fix: str) -> None:
    with pytest.raises(OutputError) as caught, writing(tmp_path / "out"):
        raise OSError(code, "the disk says no")
    assert "the disk says no" in caught.value.what
    assert fix in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_another_engines_folder_is_refused_with_its_name(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with pytest.raises(NotAModel, match="written for engine, not for other"):
        unseal(tmp_path / "out", "other")


@pytest.mark.parametrize("text", ["", "[]", '{"runtime": "engine"}', "{"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    make(tmp_path / "out")
    (tmp_path / "out" / MANIFEST).write_text(text)
    with pytest.raises(BrokenWeights, match=MANIFEST):
        unseal(tmp_path / "out", "engine")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out" / "weights.bin").unlink()
    with pytest.raises(BrokenWeights, match=r"weights\.bin is missing"):
        unseal(tmp_path / "out", "engine")


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    make(tmp_path / "out")
    read = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert read["layers"]["a"] == {"node": "op", "port": 1, "rows": 2, "cols": 4, "format": "bf16"}


def test_codes_must_fit_their_layer() -> None:
    place = Place("op", 1, 2, 4)
    zeros = np.zeros((2, 2), np.uint8)
    good = QuantisedWeight(Format(4, 2), np.zeros((2, 4), np.uint8), zeros.astype("f2"), zeros)
    assert [name for name, _, _ in checked_fit({"a": place}, {"a": good})] == ["a"]
    one = np.zeros((2, 1), np.uint8)
    bad = QuantisedWeight(Format(4, 3), np.zeros((2, 4), np.uint8), one.astype("f2"), one)
    with pytest.raises(UsageError, match="a is 2 x 4"):
        list(checked_fit({"a": place}, {"a": bad}))
