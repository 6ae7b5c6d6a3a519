"""Take channels, heads and blocks out of a model: what is left is an ordinary smaller model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from negawatt.compress.pruned import no_heads
from negawatt.core.errors import UnsupportedArchitecture, UsageError

if TYPE_CHECKING:
    from torch import Tensor

#: What writes the inner channels and what reads them, by the last parts of their names.
_PARTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("intermediate.dense",), "output.dense"),
    (("ffn.lin1",), "ffn.lin2"),
)
_BLOCK = re.compile(r"(?:^|\.)(layers?)\.(\d+)\.")
_WIDTHS = ("intermediate_size", "hidden_dim")  # in configurations, by family
_DEPTHS = ("num_hidden_layers", "n_layers")
_PER_BLOCK = ("layer_types", "no_rope_layers")  # lists with an entry for each block
_HEADS = ("num_attention_heads", "num_key_value_heads", "head_dim")
#: Entries of a configuration that surgery changes.
SIZES = (*_WIDTHS, *_DEPTHS, *_PER_BLOCK, *_HEADS, "vocab_size")
FRIENDLY = 64  # channels: widths that kernels and groups of weights divide


@dataclass(frozen=True, slots=True)
class Part:
    """Channels of a block that can go: those of its feed-forward part, or its attention heads.

    Args:
        block: Its number.
        writers: Matrices whose rows make the channels; as many rows of each for every group.
        reader: The matrix whose columns they are.
        width: How many there are.
        group: How many go or stay together.
    """

    block: int
    writers: tuple[str, ...]
    reader: str
    width: int
    group: int = 1


def feeds(model: nn.Module) -> list[Part]:
    """Every feed-forward part, in order.

    Raises:
        UnsupportedArchitecture: the model has none of a known form, or of different widths.
    """
    linear = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear)}
    found = []
    for name, module in linear.items():
        for writers, reader in _PARTS:
            place = name.removesuffix(reader)
            partners = tuple(place + writer for writer in writers)
            block = _BLOCK.search(name)
            if place == name or block is None or not all(one in linear for one in partners):
                continue
            found.append(Part(int(block[2]), partners, name, module.in_features))
    if not found or len({one.width for one in found}) > 1:
        raise UnsupportedArchitecture(
            f"{type(model).__name__} has no feed-forward parts of one known form",
            fix="give a Llama, Mistral, Qwen, Gemma 3, SmolLM3, BERT, DistilBERT, RoBERTa or MPNet",
        )
    return found


def attentions(model: nn.Module) -> list[Part]:
    """Every attention, in order; a group is a head of keys and values with those that ask it.

    Raises:
        UnsupportedArchitecture: fewer heads cannot be told to the library, or are not found.
    """
    config: Any = model.config
    name = type(model).__name__
    if getattr(config, "head_dim", None) is None or not hasattr(config, "num_key_value_heads"):
        raise no_heads(name)
    linear = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear)}
    found = []
    for reader, module in linear.items():
        place, block = reader.removesuffix("o_proj"), _BLOCK.search(reader)
        writers = tuple(place + one for one in ("q_proj", "k_proj", "v_proj"))
        if place != reader and block is not None and all(one in linear for one in writers):
            width = module.in_features
            group = width // config.num_key_value_heads
            found.append(Part(int(block[2]), writers, reader, width, group))
    if not found or len({one.width for one in found}) > 1:
        raise UnsupportedArchitecture(
            f"{name} has no attention of one known form", fix="leave --heads out"
        )
    return found


def groups_for(share: float, part: Part) -> int:
    """Groups of heads that stay when a share is asked for.

    >>> groups_for(0.67, Part(0, ("q", "k", "v"), "o", 576, 192))
    2

    Raises:
        UsageError: nothing would go, because the groups are few.
    """
    total = part.width // part.group
    count = max(1, round(share * total))
    if count == total and share < 1:
        shares = ", ".join(f"{number / total:.0%}" for number in range(1, total))
        raise UsageError(
            f"heads go in {total} groups that share keys and values, and {share:.0%} is all of them",
            fix=f"choose one of: {shares}" if shares else "leave --heads out",
        )
    return count


def width_for(share: float, width: int) -> int:
    """Channels that stay when a share is asked for: a width that kernels like.

    >>> width_for(0.5, 1536), width_for(0.7, 1536), width_for(0.5, 172), width_for(0.01, 1536)
    (768, 1088, 86, 64)
    """
    step = FRIENDLY if width % FRIENDLY == 0 else 2 if width % 2 == 0 else 1
    return max(step, min(width, round(share * width / step) * step))


def narrow(model: nn.Module, part: Part, kept: Tensor, columns: Tensor) -> None:
    """Leave the channels `kept` [keep] in one part; `columns` [rows, keep] are read from them."""
    groups = kept[:: part.group] // part.group
    for name in part.writers:
        module: Any = model.get_submodule(name)
        size = module.out_features * part.group // part.width  # rows of a group
        _keep_rows(module, (groups[:, None] * size + torch.arange(size)).flatten())
    reader: Any = model.get_submodule(part.reader)
    reader.weight = nn.Parameter(columns.to(reader.weight.dtype), requires_grad=False)
    reader.in_features = len(kept)


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The blocks of a model, in order.

    Raises:
        UnsupportedArchitecture: they are in no list.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in {"layer", "layers"}:
            return module
    raise UnsupportedArchitecture(
        f"{type(model).__name__} keeps its blocks in no list", fix="leave --blocks out"
    )


def without(model: nn.Module, going: Sequence[int]) -> None:
    """Take blocks out, in place; those that stay are numbered anew."""
    blocks = blocks_of(model)
    stay = [one for number, one in enumerate(blocks) if number not in set(going)]
    for place, block in enumerate(stay):
        for module in block.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place  # type: ignore[assignment]
    del blocks[len(stay) :]
    for place, block in enumerate(stay):
        blocks[place] = block
    config: Any = model.config
    for key in _DEPTHS:
        if hasattr(config, key):
            setattr(config, key, len(stay))
    for key in _PER_BLOCK:
        listed = getattr(config, key, None)
        if listed:
            left = [one for number, one in enumerate(listed) if number not in set(going)]
            setattr(config, key, left)


def told_width(model: nn.Module, width: int) -> None:
    """Note the new width in the configuration."""
    config: Any = model.config
    for key in _WIDTHS:
        if hasattr(config, key):
            setattr(config, key, width)


def told_heads(model: nn.Module, groups: int) -> None:
    """Note how many heads there are now; their size, which some work out, stays what it was."""
    config: Any = model.config
    asking = config.num_attention_heads // config.num_key_value_heads
    size = config.head_dim
    config.num_attention_heads, config.num_key_value_heads = groups * asking, groups
    config.head_dim = size


def heads_of(model: nn.Module) -> int:
    """How many heads a block has that ask."""
    config: Any = model.config
    return int(getattr(config, "num_attention_heads", 0) or getattr(config, "n_heads", 0))


def dispensable(model: nn.Module, count: int, apart: Callable[[], float]) -> list[int]:
    """Which blocks go, one after another: each time the one whose absence changes least.

    Args:
        model: In evaluation mode; left as it is.
        count: How many go.
        apart: How far the model's answers are from the whole model's.

    Raises:
        UsageError: that many cannot go.
    """
    blocks = list(blocks_of(model))
    if not 0 <= count < len(blocks):
        raise UsageError(
            f"of {len(blocks)} blocks {count} cannot go",
            fix=f"let 1 to {len(blocks)} blocks stay with --blocks",
        )
    gone: list[int] = []
    with torch.no_grad():
        for _ in range(count):
            found = {}
            for number in range(len(blocks)):
                if number not in gone:
                    with _skipped([blocks[one] for one in (*gone, number)]):
                        found[number] = apart()
            gone.append(min(found, key=lambda number: found[number]))
    return sorted(gone)


class _skipped:  # noqa: N801  # used as a word
    """Blocks that hand on what they are given."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self._blocks = blocks
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        def same(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any], out: Any) -> Any:
            given = args[0] if args else named["hidden_states"]
            return (given, *out[1:]) if isinstance(out, tuple) else given

        for block in self._blocks:
            self._handles.append(block.register_forward_hook(same, with_kwargs=True))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _keep_rows(module: nn.Module, kept: Tensor) -> None:
    linear: Any = module
    linear.weight = nn.Parameter(linear.weight.detach()[kept].clone(), requires_grad=False)
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.detach()[kept].clone(), requires_grad=False)
    linear.out_features = len(kept)
