"""A prepared model of either kind, opened and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from negawatt.compress.pruning.surgery import SIZES
from negawatt.core.records import ENCODERS
from negawatt.models.source import MARKER

if TYPE_CHECKING:
    from negawatt.models.source import ModelSource

_WEIGHTS = "model.safetensors"


def opened(folder: Path) -> Any:
    """The prepared model in `folder`, decoder or encoder, in float32."""
    import torch

    from negawatt.models.encoder import load_encoder
    from negawatt.models.load import load_reference

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") in ENCODERS:
        return load_encoder(folder, config)
    return load_reference(folder, torch.float32)


def write(source: ModelSource, model: Any, out: Path) -> ModelSource:
    """The model as a folder of the same form as `source`, whole or not at all."""
    from negawatt.compress.transformed import decoder_written
    from negawatt.models.encoder import layers_of
    from negawatt.models.quiet import quiet

    changes = _changes(source.folder, model.config.to_dict())
    if model.config.model_type not in ENCODERS:
        return decoder_written(source, model, out, changes)
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source.folder, partial, ignore=shutil.ignore_patterns(_WEIGHTS, MARKER))
    with quiet():
        model.save_pretrained(partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    parameters = sum(one.numel() for one in model.parameters())
    return replace(
        source,
        folder=out,
        layers=layers_of(model),
        parameters=parameters,
        bf16_bytes=2 * parameters,
    )


def _changes(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a configuration that are no longer what the folder says."""
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {key: config[key] for key in SIZES if key in config and told.get(key) != config[key]}
