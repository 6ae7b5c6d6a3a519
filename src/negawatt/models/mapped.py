"""A decoder in parts: its weights stay in their files until a part of it is used.

The skeleton has every module and no values. A part that is held gets views of the mapped
files, in the type they are stored in, or copies in another one; when it is let go, nothing
of it is left in this process. So a model of any size is held a block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn

from negawatt.core.errors import BrokenWeights
from negawatt.models.checkpoint import weight_files
from negawatt.models.quiet import quiet

#: What stands in the place of a layer's own weights, float [rows, cols]; None where nothing does.
Replaced = Callable[[str], Tensor | None]


class Parts(Protocol):
    """A model that is used a part at a time."""

    @property
    def model(self) -> Any:
        """All modules; only those of held parts have values for certain."""

    def held(self, *names: str) -> Any:
        """A context in which the modules of these names, and all below them, have values."""

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of the weight of a layer, as they are in the model; not to be changed."""


class Whole:
    """A model that is in memory anyway.

    >>> whole = Whole(nn.Sequential(nn.Linear(2, 3)))
    >>> whole.rows("0", 1, 3).shape
    torch.Size([2, 2])
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Nothing to do."""
        del names
        yield

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of the weight of a layer."""
        weight: Tensor = self.model.get_submodule(name).weight
        return weight.detach()[start:stop]


class Mapped:
    """A decoder whose weights stay in the safetensors files of a folder, one or several shards.

    Args:
        folder: With `config.json` and the weights.
        dtype: What is computed in; weights stored in it are mapped and not copied.
        replaced: Asked for every layer that is held; what it gives stands in the place of the
            stored weights, in `dtype`.

    Raises:
        NotAModel, BrokenWeights: there are no weights, or they are damaged.
    """

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype = torch.bfloat16,
        replaced: Replaced = lambda _: None,
    ) -> None:
        self.model: Any = skeleton(folder, dtype)
        self._dtype, self._replaced = dtype, replaced
        self._files: dict[str, Path] = {}
        for file in weight_files(folder):
            with safe_open(file, framework="pt") as stored:
                self._files |= dict.fromkeys(stored.keys(), file)
        self._other = _shared(self.model)

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Give the modules of these names, and all below them, their values for the moment."""
        empty: list[tuple[nn.Module, str, nn.Parameter]] = []
        try:
            for name in names:
                for path, module in self.model.get_submodule(name).named_modules():
                    self._fill(f"{name}.{path}" if path else name, module, empty)
            yield
        finally:
            for module, leaf, parameter in empty:
                setattr(module, leaf, parameter)

    def _fill(
        self, name: str, module: nn.Module, empty: list[tuple[nn.Module, str, nn.Parameter]]
    ) -> None:
        for leaf, parameter in list(module.named_parameters(recurse=False)):
            if not parameter.is_meta:
                continue  # held already
            own = self._replaced(name) if leaf == "weight" else None
            value = self._stored(f"{name}.{leaf}") if own is None else own
            empty.append((module, leaf, parameter))
            setattr(module, leaf, nn.Parameter(value.to(self._dtype), requires_grad=False))

    def _stored(self, name: str) -> Tensor:
        """A parameter, mapped from its file."""
        with self._open(name) as file:
            value: Tensor = file.get_tensor(self._other.get(name, name))
            return value

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Some rows of the weight of a layer, mapped from its file."""
        key = f"{name}.weight"
        with self._open(key) as file:
            part: Tensor = file.get_slice(self._other.get(key, key))[start:stop]
            return part

    def _open(self, name: str) -> Any:
        file = self._files.get(self._other.get(name, name))
        if file is None:
            raise BrokenWeights(
                f"{name} is missing from the weights", fix="download the model again"
            )
        return safe_open(file, framework="pt")


def skeleton(folder: Path, dtype: torch.dtype) -> Any:
    """The decoder of a folder with its buffers and without the values of its parameters."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet(), _parameters_on_meta():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    return model.eval().requires_grad_(requires_grad=False)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Have new parameters made without values; buffers, which are small, keep theirs."""
    usual = nn.Module.register_parameter

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=False)
        usual(self, name, param)

    nn.Module.register_parameter = register  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = usual  # type: ignore[method-assign]


def _shared(model: Any) -> dict[str, str]:
    """Under what name a parameter is stored that shares that of another module."""
    first: dict[int, str] = {}
    found = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = first.setdefault(id(parameter), name)
        if owner != name:
            found[name] = owner
    return found


def parts_of(model: Any) -> Parts:
    """A model as parts, whether it is in memory or mapped."""
    if isinstance(model, nn.Module):
        return Whole(model)
    parts: Parts = model
    return parts


def outside(model: Any, blocks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Modules with weights of their own that stand before the blocks and behind them.

    Which is which is not told by a model, so all but the head are taken to stand before and
    all but the embedding behind: beside those two they are small.
    """
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    found = [
        (name, module)
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        and not any(name == path or name.startswith(f"{path}.") for path in blocks)
    ]
    early = [name for name, module in found if module is not head]
    late = [name for name, module in found if module is not embedding]
    return early, late
