"""A prepared model written down anew by transforms: another folder of the same form."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from negawatt.compress.transforms import named
from negawatt.core.errors import NumericsGateFailed
from negawatt.models.architecture import blueprint
from negawatt.models.checkpoint import write_bfloat16
from negawatt.models.load import load_reference
from negawatt.models.source import MARKER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from negawatt.core.records import Format
    from negawatt.models.source import ModelSource

_SAME = 1e-4  # nat/token: far above float32 rounding, far below any wrong factor
_WEIGHTS = "model.safetensors"


def transformed(
    source: ModelSource,
    names: Sequence[str],
    windows: NDArray[np.int64],
    fmt: Format,
    out: Path,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ModelSource, list[str]]:
    """Apply transforms one after another and write the result into the new folder `out`.

    Args:
        source: Left as it is.
        names: Of transforms, in order; see `negawatt.compress.transforms`.
        windows: Calibration text, int64 [windows, positions].
        fmt: What the model will be rounded to.
        out: Made when everything is done and checked.
        on_layer: Told how many layers of how many are done, for each transform anew.

    Returns:
        The model in its new form, and what was done, one sentence for each transform.

    Raises:
        UsageError: there is no transform of that name.
        UnsupportedArchitecture: the model does not let one of them.
        NumericsGateFailed: the model no longer computes what it computed.
    """
    methods = [named(name) for name in names]
    model: Any = load_reference(source.folder, torch.float32)
    probe = torch.from_numpy(windows[:1])
    wanted = _log_probabilities(model, probe)
    told = []
    for method in methods:
        told.append(method.apply(model, source.layers, windows, fmt, on_layer))
        kl = float((wanted.exp() * (wanted - _log_probabilities(model, probe))).sum(-1).mean())
        if not abs(kl) < _SAME:
            raise NumericsGateFailed(
                f"{method.name} changed what the model computes: KL {kl:.2e} nat/token",
                fix=f"leave {method.name} out, and report it with the model's name",
            )
    return decoder_written(source, model, out), told


def _log_probabilities(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits.double().log_softmax(-1)


def decoder_written(
    source: ModelSource, model: Any, out: Path, changes: Mapping[str, Any] | None = None
) -> ModelSource:
    """A changed decoder as a folder of the same form, whole or not at all.

    Args:
        source: What it was made from.
        model: With the weights that are to be written, rounded to bfloat16.
        out: Replaced when everything is written.
        changes: Entries of its configuration that are different now.
    """
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source.folder, partial, ignore=shutil.ignore_patterns(_WEIGHTS, MARKER))
    config = json.loads((source.folder / "config.json").read_text(encoding="utf-8"))
    config |= changes or {}
    config["tie_word_embeddings"] = bool(model.config.tie_word_embeddings)
    (partial / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    plan = blueprint(config)
    values = model.state_dict()

    def pieces() -> Iterator[torch.Tensor]:
        for name in plan.shapes:
            yield values[name].to(torch.bfloat16)

    write_bfloat16(partial / _WEIGHTS, plan.shapes, pieces())
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return replace(
        source,
        folder=out,
        layers=plan.layers,
        parameters=plan.parameters,
        bf16_bytes=2 * sum(prod(shape) for shape in plan.shapes.values()),
    )
