"""What a Hugging Face model is made of: the modules that may be quantised, and which share weights."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negawatt.compress.export_huggingface_files import SourceWeights, read_json
from negawatt.core.errors import (
    BrokenWeights,
    ModelError,
    NotAModel,
    UnsupportedArchitecture,
    UsageError,
)
from negawatt.core.records import ENCODERS, LayerKind, QuantisedWeight
from negawatt.models.quiet import quiet


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What the model is made of, by module name, without its weights."""

    config: Mapping[str, Any]  # config.json as it stands
    linear: Mapping[str, int]  # name -> columns, in the model's order
    embeddings: frozenset[str]
    embedding: str  # of the input tokens
    head: str
    tied: bool  # head and embedding share one matrix
    other: frozenset[str]  # modules with a weight that cannot be quantised

    @classmethod
    def read(cls, folder: Path) -> Anatomy:
        """Build the model without memory for its weights, and look at its modules."""
        import torch
        from transformers import AutoConfig

        from negawatt.models.experts import apart

        if not (folder / "config.json").is_file():
            raise NotAModel(f"{folder} has no config.json", fix="give a Hugging Face model folder")
        config = read_json(folder / "config.json")
        if "quantization_config" in config:
            raise ModelError(
                f"{folder} is quantised already", fix="start from the model at 16 bits"
            )
        family = model_class(config)
        build: Callable[..., Any] = getattr(family, "from_config", family)
        try:
            with quiet(), torch.device("meta"):
                parsed = AutoConfig.from_pretrained(folder, local_files_only=True)
                model = apart(build(parsed))
        except (KeyError, ValueError, OSError, RuntimeError, ImportError) as error:
            kind = config.get("model_type", "a model without a type")
            raise UnsupportedArchitecture(
                f"transformers cannot build {kind} from {folder}: {error}",
                fix="give a decoder that AutoModelForCausalLM knows",
            ) from error
        names = {module: name for name, module in model.named_modules()}
        inside, outside = model.get_input_embeddings(), model.get_output_embeddings()
        whole = config.get("model_type") in ENCODERS  # it may well have no head
        if inside not in names or not (whole or outside in names):
            raise UnsupportedArchitecture(
                f"{folder} has no token embedding or no head",
                fix="give a causal language model",
            )
        kinds = {name: module for module, name in names.items() if hasattr(module, "weight")}
        linear = {n: m.in_features for n, m in kinds.items() if isinstance(m, torch.nn.Linear)}
        tables = {n for n, m in kinds.items() if isinstance(m, torch.nn.Embedding)}
        return cls(
            config=config,
            linear=linear,
            embeddings=frozenset(tables),
            embedding=names[inside],
            head=names.get(outside, ""),
            tied=outside is not None and outside.weight is inside.weight,
            other=frozenset(set(kinds) - set(linear) - tables),
        )

    @property
    def family(self) -> str:
        """Class of an encoder; empty for a decoder."""
        encoder = self.config.get("model_type") in ENCODERS
        return str(model_class(self.config).__name__) if encoder else ""

    def kind(self, name: str) -> LayerKind:
        """What the layer does, and so how it may be stored."""
        if name in self.embeddings:
            return "embedding"
        return "head" if name == self.head else "linear"

    def check_names(self, weights: Mapping[str, QuantisedWeight], source: SourceWeights) -> None:
        """Raise `UsageError` for a layer that the model or its weights do not have."""
        known = {*self.linear, *self.embeddings}
        for name in weights:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                what = "is no linear layer or embedding" if name in self.other else "is no layer"
                raise UsageError(
                    f"{name} {what} of this {self.config.get('model_type', 'model')}",
                    fix=f"did you mean {near[0]}?" if near else "use names as in Layer.name",
                )
            shared = self.tied and name == self.head
            if f"{name}.weight" not in source and not shared:
                raise BrokenWeights(
                    f"the source holds no tensor {name}.weight",
                    fix="download the model again; if it is whole, its family stores weights"
                    " under other names and cannot be exported yet",
                )

    def parts_ways(self, changed: Mapping[str, object]) -> bool:
        """True when a shared matrix has to be written twice."""
        return self.tied and (self.head in changed or self.embedding in changed)


def model_class(config: Mapping[str, Any]) -> Any:
    """What loads a model: an encoder's own class, or the one for all decoders.

    >>> model_class({"model_type": "bert", "architectures": ["BertModel"]}).__name__
    'BertModel'
    """
    import transformers

    if config.get("model_type") not in ENCODERS:
        return transformers.AutoModelForCausalLM
    name = next(iter(config.get("architectures") or ()), "")
    return getattr(transformers, name, transformers.AutoModel)
