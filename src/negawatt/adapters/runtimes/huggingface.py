"""Read a Hugging Face folder into torch, quietly and without a second copy."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

from negawatt.core import registry
from negawatt.core.errors import BrokenWeights, NotAModel, UnsupportedArchitecture
from negawatt.core.records import ENCODERS


@contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars, loader remarks and tracer warnings from the user's terminal."""
    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def stored_dtype(folder: Path) -> torch.dtype:
    """The number format the weights of `folder` were saved in; float32 when it does not say.

    Raises:
        NotAModel: there is no readable `config.json`.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotAModel(
            f"{folder} has no readable config.json",
            fix="give a Hugging Face model folder: config.json and *.safetensors",
        ) from error
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    found = getattr(torch, name.removeprefix("torch."), torch.float32)
    return found if isinstance(found, torch.dtype) else torch.float32


def check_files(folder: Path) -> None:
    """Read the headers of every safetensors file in `folder`.

    Raises:
        NotAModel: there is none.
        BrokenWeights: a file is shorter than its header says, or has no header.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise NotAModel(
            f"{folder} has no .safetensors file", fix="save the model as safetensors first"
        )
    for file in files:
        try:
            with safetensors.safe_open(file, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            raise BrokenWeights(
                f"{file} is damaged: {error}", fix="download the model again and check its size"
            ) from error


def load(folder: Path, dtype: torch.dtype) -> Any:
    """The causal language model in `folder`, in `dtype`, ready for inference.

    Weights already stored in `dtype` stay mapped from the file.

    Raises:
        NotAModel: no model of a known kind is there.
        BrokenWeights: the weights are truncated or missing.
    """
    if not (folder / "config.json").is_file():
        raise NotAModel(
            f"{folder} has no config.json",
            fix="give a Hugging Face model folder: config.json and *.safetensors",
        )
    check_files(folder)
    model: Any
    try:
        with quiet():
            builder = _builder(folder)
            fused = getattr(builder, "_supports_sdpa", True)  # some encoders have no such form
            model = builder.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa" if fused else "eager",
                local_files_only=True,
            )
            model = registry.load(registry.FORMS, "experts")(model)
    except (OSError, ValueError, RuntimeError) as error:
        raise BrokenWeights(
            f"the weights in {folder} cannot be loaded: {error}",
            fix="download the model again and check its size",
        ) from error
    model.eval()
    model.requires_grad_(requires_grad=False)
    return model


def is_encoder(folder: Path) -> bool:
    """True for a model that reads a text as a whole and writes none."""
    return _told(folder).get("model_type") in ENCODERS


def _told(folder: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told


def _builder(folder: Path) -> Any:
    """The class that builds the model: an encoder's own, or the one for all decoders."""
    if not is_encoder(folder):
        return AutoModelForCausalLM
    name = next(iter(_told(folder).get("architectures") or ()), "")
    found = getattr(transformers, name, None)
    if found is None:
        raise NotAModel(
            f"{folder / 'config.json'} names no architecture that transformers has: {name!r}",
            fix='name it there, for example "architectures": ["BertModel"]',
        )
    return found


def is_matrix(module: torch.nn.Module) -> bool:
    """True for what may be stored as codes: linear layers, and tables of tokens.

    A table that does more than look up a row, as OPT's of positions, stays as it is.
    """
    if isinstance(module, torch.nn.Embedding):
        return type(module) is torch.nn.Embedding or hasattr(module, "scalar_embed_scale")
    return isinstance(module, torch.nn.Linear)


def embedding_scale(module: torch.nn.Embedding) -> float:
    """What an embedding multiplies its rows by; some families scale them.

    Raises:
        UnsupportedArchitecture: the embedding does something else besides.
    """
    scale = getattr(module, "scalar_embed_scale", None)
    if type(module) is not torch.nn.Embedding and scale is None:
        raise UnsupportedArchitecture(
            f"{type(module).__name__} is an embedding of an unknown kind",
            fix="use a model with a plain or a scaled embedding",
        )
    return 1.0 if scale is None else float(scale)


def matrices(folder: Path) -> dict[str, tuple[int, int]]:
    """Rows and columns of every weight matrix by module path, without reading a weight.

    Linear layers and embeddings; a head is listed also when its weights are tied.

    Raises:
        NotAModel: no model of a known kind is there.
    """
    try:
        with quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            builder = _builder(folder)
            build: Callable[[Any], Any] = getattr(builder, "from_config", builder)
            model = registry.load(registry.FORMS, "experts")(build(config))
    except (OSError, ValueError, KeyError) as error:
        raise NotAModel(
            f"{folder} holds no causal language model: {error}",
            fix="give a Hugging Face model folder: config.json and *.safetensors",
        ) from error
    return {
        name: (int(module.weight.shape[0]), int(module.weight.shape[1]))
        for name, module in model.named_modules()
        if is_matrix(module)
    }
