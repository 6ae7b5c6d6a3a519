"""The chosen variant as a Hugging Face folder that other tools load.

The folder is a plain one: safetensors, `config.json` with a
`quantization_config` in the `compressed-tensors` format, the source's
tokenizer files, a model card and `negawatt.json`, which records what was
chosen, what was stored and every note about the difference.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from negawatt.compress.export_huggingface_anatomy import Anatomy, model_class
from negawatt.compress.export_huggingface_card import model_card
from negawatt.compress.export_huggingface_files import (
    RECORD,
    ShardWriter,
    SourceWeights,
    arriving,
    copy_company,
    read_json,
    write_json,
)
from negawatt.compress.export_huggingface_layout import (
    Reader,
    StoredLayer,
    lay_out,
    library,
    quantization_config,
    vllm_obstacles,
)
from negawatt.core.errors import BrokenWeights, UsageError
from negawatt.core.protocols import Precision
from negawatt.core.records import Array, Format, QuantisedWeight
from negawatt.models.licence import licence_in
from negawatt.models.quiet import quiet

_OPTIONAL = "pooler."  # no vector of a position goes through it, and few folders have it
_LABELS = 2  # axes of the answers of a classifier


def export(
    model: Path,
    weights: Mapping[str, QuantisedWeight],
    out: Path,
    *,
    card: Mapping[str, str],
    reader: Reader = "transformers",
) -> Path:
    """Write `model` with the layers in `weights` quantised, as a Hugging Face folder.

    Linear layers and the head are packed at their bits; layers absent from
    `weights` keep the source's own values. A quantised embedding is stored
    dense, because no common reader takes a packed one for certain, and a head
    that shared its matrix is written apart once the two differ. `notes(out)`
    returns every such departure in words, and the model card shows them.

    The folder appears whole or not at all; the source is only read.

    Args:
        model: Folder with `config.json` and safetensors weights.
        weights: Chosen weights by `Layer.name`; may be lazy, each value is read once.
        out: New or empty folder, or an earlier export, which is replaced.
        card: What to tell in `README.md`, label to text. `name`, `source` and
            `licence` have their own places; the rest becomes a table.
        reader: Whose loader decides where they disagree: for `transformers`
            zero points are folded into one more bit (same values), for `vllm`
            they are packed as such.

    Returns:
        `out`.

    Raises:
        UsageError: a name or shape in `weights` is not the model's.
        NotAModel, BrokenWeights, UnsupportedArchitecture: `model` cannot be used.
        OutputError: `out` is taken, full or not writable.
        RuntimeUnavailable: `compressed-tensors` is not installed.
    """
    version = str(library("version").__version__)  # fail before any work is done
    anatomy = Anatomy.read(model)
    source = SourceWeights(model)
    anatomy.check_names(weights, source)
    with arriving(out) as folder:
        copy_company(model, folder)
        writer = ShardWriter(folder, source.size)
        stored = _write_weights(source, weights, anatomy, writer, reader)
        config = _config(anatomy, stored)
        remarks = _remarks(anatomy, stored, reader)
        write_json(folder / "config.json", config)
        text = model_card(
            {"licence": licence_in(model), **card},
            formats={name: layer.stored for name, layer in stored.items()},
            notes=remarks,
            sizes=(source.size, writer.size),
            compressed_tensors=version,
            family=anatomy.family,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_json(folder / RECORD, _record(stored, remarks))
    return out


def notes(out: Path) -> tuple[str, ...]:
    """Where an exported folder departs from what was chosen, and who cannot load it, in words.

    Raises:
        BrokenWeights: `out` is no folder that `export` wrote.
    """
    return tuple(read_json(out / RECORD)["notes"])


def reload_check(
    out: Path, tokens: Array, *, precision: Precision = "exact", lean: bool = False
) -> Array:
    """Load an exported folder as any transformers user would, and return its logits.

    Args:
        out: A folder that `export` wrote.
        tokens: int64, [1, n].
        precision: "exact" computes in float32, "fast" in the type the folder states.
        lean: When exact, keep the weights in the type the folder states, to which they are
            then rounded, and widen them one module at a time: half the memory.

    Returns:
        float32, [1, n, vocabulary]; of an encoder hidden states, or labels, [1, 1, labels].

    Raises:
        BrokenWeights: transformers refuses the folder, or would fill in missing weights.
    """
    import torch

    library("version")  # named with its fix when missing
    load: Callable[..., Any] = model_class(read_json(out / "config.json")).from_pretrained
    # compressed-tensors draws its own progress bars, across the caller's display.
    with quiet(), contextlib.redirect_stderr(io.StringIO()), torch.inference_mode():
        try:
            model, loaded = load(
                out,
                dtype=torch.float32 if precision == "exact" and not lean else "auto",
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError, ImportError, AttributeError) as error:
            raise BrokenWeights(
                f"transformers does not load {out}: {error}",
                fix="export again with reader='transformers', or load it with the other reader",
            ) from error
        wrong = {key: sorted(map(str, names)) for key, names in loaded.items()}
        wrong = {
            key: kept
            for key, names in wrong.items()
            if (kept := [name for name in names if not name.startswith(_OPTIONAL)])
        }
        if wrong:
            raise BrokenWeights(
                f"transformers loads {out} only in part: {wrong}",
                fix="export the model again; the folder and its config.json do not agree",
            )
        if precision == "exact" and lean:
            _widen_in_turn(model)
        found = model.eval()(torch.tensor(np.array(tokens)))
        said = found.logits if hasattr(found, "logits") else found.last_hidden_state
        values: Array = (said if said.ndim > _LABELS else said[:, None]).float().numpy()
    return values


def ready() -> None:
    """Bring in what reading an exported folder needs, but no model."""
    library("version")
    for name in ("compressed_tensors.compressors", "transformers.quantizers.auto"):
        importlib.import_module(name)


def _widen_in_turn(model: Any) -> None:
    """Have every module compute in float32, with its own weights widened while it does.

    A whole model in float32 would take twice the memory, of which one module at a time is used.
    """
    import torch

    kept: dict[int, list[tuple[Any, Any]]] = {}

    def widen(module: Any, given: Any) -> Any:
        kept[id(module)] = [(held, held.data) for held in module.parameters(recurse=False)]
        for held, data in kept[id(module)]:
            held.data = data.float()
        return tuple(
            value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for value in given
        )

    def narrow(module: Any, *_: Any) -> None:
        for held, data in kept.pop(id(module)):
            held.data = data

    for module in model.modules():
        if any(held.is_floating_point() for held in module.parameters(recurse=False)):
            module.register_forward_pre_hook(widen)
            module.register_forward_hook(narrow)


def _write_weights(
    source: SourceWeights,
    weights: Mapping[str, QuantisedWeight],
    anatomy: Anatomy,
    writer: ShardWriter,
    reader: Reader,
) -> dict[str, StoredLayer]:
    """Stream every tensor, quantised or as it was; returns how each chosen layer lies."""
    stored: dict[str, StoredLayer] = {}
    for key, place in _pairs(source, anatomy, apart=anatomy.parts_ways(weights)):
        name = key.removesuffix(".weight")
        if name == key or name not in weights:
            writer.add(key, source.read(place))
            continue
        weight = weights[name]
        _check_shape(name, weight, source.shape(place))
        dense = source.dtype(place)
        layer = lay_out(weight, kind=anatomy.kind(name), dense=dense, reader=reader)
        for part, tensor in layer.tensors.items():
            writer.add(f"{name}.{part}", tensor)
        # What was packed is on its way to disk; only its description is kept.
        stored[name] = StoredLayer(layer.chosen, layer.stored, {})
    writer.finish()
    return stored


def _pairs(source: SourceWeights, anatomy: Anatomy, *, apart: bool) -> Iterator[tuple[str, str]]:
    """Tensors to write, each with the source tensor it comes from."""
    yield from ((key, key) for key in source)
    head = f"{anatomy.head}.weight"
    if apart and head not in source:
        yield head, f"{anatomy.embedding}.weight"


def _check_shape(name: str, weight: QuantisedWeight, shape: tuple[int, ...]) -> None:
    rows, cols = shape
    groups = cols // (weight.format.group or cols)
    fits = weight.format.fits(cols) and tuple(weight.codes.shape) == shape
    if not fits or tuple(weight.scale.shape) != (rows, groups):
        raise UsageError(
            f"{name} is {list(shape)}, but its {weight.format} codes are"
            f" {list(weight.codes.shape)} with scales {list(weight.scale.shape)}",
            fix="quantise the layers of this very model, in a format that fits their rows",
        )


def _config(anatomy: Anatomy, stored: Mapping[str, StoredLayer]) -> dict[str, Any]:
    """The source's `config.json` with what has changed."""
    packed = {name: layer.stored for name, layer in stored.items() if layer.stored.bits != 16}
    ignore = [name for name in anatomy.linear if name not in packed]
    config = dict(anatomy.config)
    if anatomy.parts_ways(stored):
        config["tie_word_embeddings"] = False
        if isinstance(config.get("text_config"), dict):
            config["text_config"] = {**config["text_config"], "tie_word_embeddings": False}
    entry = quantization_config(packed, ignore)
    if entry is not None:
        config["quantization_config"] = entry
    return config


def _remarks(anatomy: Anatomy, stored: Mapping[str, StoredLayer], reader: Reader) -> list[str]:
    """Every difference between what was chosen and what lies on the disk, in words."""
    remarks = []
    for name, layer in stored.items():
        if layer.stored.bits == 16:
            why = (
                "common loaders take no packed embedding"
                if name in anatomy.embeddings
                else "packed checkpoints keep no minimum of a group"
                if layer.chosen.has_minimum
                else "transformers loads no packed zero points"
            )
            remarks.append(
                f"{name} was chosen as {layer.chosen} and is stored dense, with the values of"
                f" {layer.chosen} rounded to the source's own type: {why}"
            )
    folded: dict[tuple[Format, Format], int] = {}
    for layer in stored.values():
        if layer.stored.bits != 16 and layer.stored != layer.chosen:
            pair = (layer.chosen, layer.stored)
            folded[pair] = folded.get(pair, 0) + 1
    for (chosen, kept), count in folded.items():
        told = f"{count} layers chosen as {chosen} are stored as {kept}: the same values at "
        if chosen.nested and not chosen.levels:
            more = (16 - 8 - 16 / chosen.nested) / chosen.group
            remarks.append(
                f"{told}{more:.2g} bits more per weight, each scale being kept by itself"
            )
        elif chosen.levels:
            remarks.append(f"{told}{kept.bits} bits per weight, because no loader has their levels")
        else:
            remarks.append(
                f"{told}one more bit per weight, because transformers loads no packed zero points"
            )
    if anatomy.parts_ways(stored):
        remarks.append(
            f"{anatomy.head} and {anatomy.embedding} shared one matrix in the source; here they"
            " differ, so both are stored (tie_word_embeddings is false)"
        )
    packed = {name: layer.stored for name, layer in stored.items() if layer.stored.bits != 16}
    if reader == "vllm" and any(not fmt.symmetric for fmt in packed.values()):
        remarks.append("written for vLLM: transformers refuses its packed zero points")
    return remarks + vllm_obstacles(packed, anatomy.linear)


def _record(stored: Mapping[str, StoredLayer], remarks: list[str]) -> dict[str, object]:
    return {
        "version": 1,
        "layers": {
            name: {"chosen": layer.chosen.name, "stored": layer.stored.name}
            for name, layer in stored.items()
        },
        "notes": remarks,
    }
