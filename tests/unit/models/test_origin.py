from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from negawatt.core.errors import NotAModel
from negawatt.models.origin import locate


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that must not be imported."""
    folder = tmp_path / "site" / "tiny_llm_package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(folder.parent)
    importlib.invalidate_caches()
    return folder


def gguf(path: Path) -> Path:
    path.write_bytes(b"GGUF\x03\x00\x00\x00")
    return path


def test_a_package_is_searched_without_being_imported(package: Path) -> None:
    file = gguf(package / "model.gguf")
    for spelling in ("package:tiny_llm_package", "package:tiny-llm-package"):
        found = locate(spelling)
        assert (found.kind, found.path, found.name) == ("gguf", file, spelling)
    assert "tiny_llm_package" not in sys.modules


def test_a_package_may_hold_a_folder(package: Path) -> None:
    (package / "model").mkdir()
    (package / "model" / "config.json").write_text("{}")
    found = locate("package:tiny_llm_package")
    assert (found.kind, found.path) == ("folder", package / "model")


def test_a_package_with_several_models_asks_which(package: Path) -> None:
    gguf(package / "a.gguf")
    gguf(package / "b.gguf")
    with pytest.raises(NotAModel, match=r"2 models: a\.gguf, b\.gguf") as caught:
        locate("package:tiny_llm_package")
    named = caught.value.fix.removeprefix("name one: ")
    assert locate(named).path == package / "a.gguf"


def test_a_package_without_a_model_says_so(package: Path) -> None:
    with pytest.raises(NotAModel, match="holds no model"):
        locate("package:tiny_llm_package")


@pytest.mark.parametrize("name", ["no_such_package_here", "os.path", "not a name", ""])
def test_a_package_that_is_not_there_says_how_to_install(name: str) -> None:
    with pytest.raises(NotAModel, match="no installed package") as caught:
        locate(f"package:{name}")
    assert caught.value.fix.startswith("pip install")


def test_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    file = gguf(tmp_path / "some.gguf")
    assert locate(str(file)).kind == "gguf"
    assert locate(str(tmp_path)).path == file
    gguf(tmp_path / "other.gguf")
    with pytest.raises(NotAModel, match="2 GGUF files"):
        locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert locate(str(tmp_path)).kind == "folder"
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(NotAModel, match="not a GGUF file"):
        locate(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize("name", ["org/name", "org/name@main", "a-b/c.d_e@refs/pr/3"])
def test_hub_ids_are_recognised(name: str) -> None:
    assert locate(name).kind == "hub"


@pytest.mark.parametrize(
    "name", ["./missing", "/no/such/folder", "missing.gguf", "name", "", "a/b.gguf"]
)
def test_what_is_not_there_is_no_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep").write_text("")
    if name == "":
        with pytest.raises(NotAModel):
            locate(name)
    else:
        with pytest.raises(NotAModel, match="there is nothing at"):
            locate(name)
