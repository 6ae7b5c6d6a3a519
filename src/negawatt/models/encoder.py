"""Encoders: models that read a text as a whole, and what can be asked of them.

Their weights are kept as they are, in float32 mostly: unlike decoders they are small, and the
figures people compare are those of the float32 original.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from negawatt.core.codec import decode, encode
from negawatt.core.errors import BrokenWeights, UnsupportedArchitecture
from negawatt.core.records import ENCODERS, Layer
from negawatt.models import hub
from negawatt.models.opened import digest_of, read_config
from negawatt.models.origin import Origin, locate
from negawatt.models.quiet import quiet
from negawatt.models.source import MARKER, ModelSource
from negawatt.models.tokenizer import copy_tokenizer, load_tokenizer

if TYPE_CHECKING:
    import torch

#: What comes out: a vector for a text, labels for a text, or a distribution for every token.
Ending = Literal["embedding", "labels", "tokens"]
_ENDINGS: Mapping[str, Ending] = {
    "Model": "embedding",
    "ForSequenceClassification": "labels",
    "ForMaskedLM": "tokens",
}
_POOLING = Path("1_Pooling") / "config.json"
_COMPANY = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")
_OPTIONAL = ("pooler.", "position_ids")  # absent in many files, and of no weight here
_PREPARED = 1  # version of the folder; one of another is made again
_FLOAT32 = 4  # bytes


def find_encoder(model: str) -> Path | None:
    """The folder of `model` when it is an encoder; None when it is something else.

    Raises:
        NotAModel: there is no model of that name.
    """
    origin = locate(model)
    if origin.kind == "hub":
        origin = Origin("folder", model, hub.fetch(model))
    if origin.path is None or not (origin.path / "config.json").is_file():
        return None
    kind = read_config(origin.path / "config.json").get("model_type")
    return origin.path if kind in ENCODERS else None


def ending_of(architecture: str) -> Ending:
    """What a class of encoders ends in.

    >>> ending_of("BertForSequenceClassification"), ending_of("MPNetModel")
    ('labels', 'embedding')

    Raises:
        UnsupportedArchitecture: something else.
    """
    for last, ending in _ENDINGS.items():
        if architecture.endswith(last):
            return ending
    known = ", ".join(f"...{last}" for last in _ENDINGS)
    raise UnsupportedArchitecture(f"{architecture} is not supported", fix=f"give one of: {known}")


def prepare_encoder(model: str, path: Path, work: Path) -> ModelSource:
    """Write an encoder as float32 safetensors with its tokenizer into `work`; see `prepare`.

    Raises:
        UnsupportedArchitecture: it ends in something unknown.
        BrokenWeights: weights are missing or no numbers, by name.
        TokenizerMissing: there is no tokenizer.
    """
    folder = work / "model"
    asked = {"version": _PREPARED, "origin": model, "stamp": _stamp(path)}
    finished = _finished(folder, asked)
    if finished is not None:
        return finished
    config = read_config(path / "config.json")
    built = load_encoder(path, config)
    architecture = type(built).__name__
    if ending_of(architecture) == "embedding" and getattr(built, "pooler", None) is not None:
        built.pooler = None  # made for another use: no vector of a position goes through it
    partial = folder.with_name("model.partial")
    for old in (partial, folder):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    copy_tokenizer(path, partial)
    load_tokenizer(partial)
    for name in _COMPANY:
        if (path / name).is_file():
            shutil.copyfile(path / name, partial / name)
    if (path / _POOLING).is_file():
        (partial / _POOLING).parent.mkdir()
        shutil.copyfile(path / _POOLING, partial / _POOLING)
    with quiet():
        built.save_pretrained(partial)
    parameters = sum(one.numel() for one in built.parameters())
    files = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
    source = ModelSource(
        folder=folder,
        origin=model,
        digest=digest_of(files),
        architecture=architecture,
        parameters=parameters,
        bf16_bytes=2 * parameters,
        layers=layers_of(built),
        notes=(),
        grid=(),
        off_grid=False,
    )
    marker = {"asked": asked, "result": encode(source)}
    (partial / MARKER).write_text(json.dumps(marker), encoding="utf-8")
    partial.rename(folder)
    return source


def load_encoder(folder: Path, config: Mapping[str, Any] | None = None) -> Any:
    """The encoder in `folder`, in float32, ready for inference.

    Raises:
        UnsupportedArchitecture: its configuration names a class that there is not.
        BrokenWeights: weights are missing or no numbers, by name.
    """
    import torch
    import transformers

    told = read_config(folder / "config.json") if config is None else config
    name = next(iter(told.get("architectures") or ()), "")
    kind: Any = getattr(transformers, name, None) or transformers.AutoModel
    with quiet():
        found, report = kind.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    missing = [one for one in report["missing_keys"] if not any(part in one for part in _OPTIONAL)]
    if missing:
        raise BrokenWeights(
            f"{folder} lacks {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1)),
            fix="download the model again, or name its own class in config.json",
        )
    for part, value in found.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise BrokenWeights(
                f"{part} holds values that are not finite numbers",
                fix="download the file again; if they are in the original, it cannot be used",
            )
    if "pooler." in " ".join(report["missing_keys"]):
        found.pooler = None
    return found.eval().requires_grad_(requires_grad=False)


def pooling_of(folder: Path) -> Literal["mean", "cls"]:
    """How a vector is made from those of the positions: as the folder says, else their mean."""
    try:
        told = json.loads((folder / _POOLING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "mean"
    return "cls" if told.get("pooling_mode_cls_token") else "mean"


def layers_of(model: Any) -> tuple[Layer, ...]:
    """Matrices in execution order; a head that shares the embedding's weights names it."""
    from torch import nn

    inside, outside = model.get_input_embeddings(), model.get_output_embeddings()
    found: list[Layer] = []
    source = ""
    for name, module in model.named_modules():
        if module is inside:
            source = name
            found.insert(0, Layer(name, "embedding", *_shape(module)))
        elif isinstance(module, nn.Linear):
            tied = module is outside and module.weight is inside.weight
            block = re.search(r"\.layer\.(\d+)\.", f".{name}")
            found.append(
                Layer(
                    name,
                    "head" if module is outside else "linear",
                    *_shape(module),
                    int(block[1]) if block else None,
                    tied_to=source if tied else None,
                )
            )
    return tuple(found)


def _shape(module: Any) -> tuple[int, int]:
    weight = cast("torch.Tensor", module.weight)
    return int(weight.shape[0]), int(weight.shape[1])


def _stamp(path: Path) -> dict[str, list[int]]:
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


def _finished(folder: Path, asked: Mapping[str, Any]) -> ModelSource | None:
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        source = decode(ModelSource, marker["result"] | {"folder": str(folder)})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = (folder / "model.safetensors").is_file()
    return source if whole and marker["asked"] == dict(asked) else None
