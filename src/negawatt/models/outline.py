"""What a model consists of, read without its weights."""

from __future__ import annotations

from pathlib import Path

from negawatt.core.errors import NotAModel
from negawatt.models import hub
from negawatt.models.architecture import Blueprint, blueprint
from negawatt.models.opened import read_config
from negawatt.models.origin import locate


def outline(model: str) -> Blueprint:
    """Parameters, shapes and layers of `model`; no weight is read or downloaded.

    Args:
        model: As for `prepare`, or the path of a `config.json` alone. How its weights
            happen to be stored does not matter here, so quantised ones are no obstacle.

    Raises:
        NotAModel: there is no configuration there.
        UnsupportedArchitecture: it is of a family not known.
        BrokenWeights: the configuration contradicts itself.
    """
    file = Path(model).expanduser()
    if file.suffix == ".json" and file.is_file():
        return _plain(file)
    origin = locate(model)
    if origin.kind == "hub":
        return _plain(hub.fetch_config(model))
    if origin.path is None:
        raise NotAModel(f"{model} has no place on this machine", fix="report this as a bug")
    if origin.kind == "gguf":
        from negawatt.models.gguf import open_gguf

        return open_gguf(origin.path).plan
    return _plain(origin.path / "config.json")


def _plain(file: Path) -> Blueprint:
    config = read_config(file)
    return blueprint({key: value for key, value in config.items() if key != "quantization_config"})
