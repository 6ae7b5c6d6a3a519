"""Which windows a calibration measures: a designed set, as data.

rest       what the device draws when nothing is asked of it
product    one large matrix product for each number format: operations alone
copy       a large copy: bytes alone
decode     one token for each sequence: a tiny model, whose time is launches alone, and larger ones
           at several batches and contexts
prefill    a whole prompt at once, of two lengths
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from negawatt.core.errors import UsageError
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.configs import anatomy_of

What = Literal["rest", "product", "copy", "decode", "prefill"]

#: Group of the windows that are no models.
KERNELS = "kernels"
#: Steps of decoding after which the context is cut back to where it began.
STRIDE = 16
#: The format in which models run and whose products the law knows.
USUAL_DTYPE = "bfloat16"

_BYTES = 2.0  # of a value in 16 bits
_ROOM = 0.7  # of the device's memory that a window may take
_COPIES = 1.2  # of a context, what is needed while it is made up included


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a model of the Llama kind with random weights.

    Args:
        name: In the rows.
        hidden: Width between layers.
        layers: How many.
        heads: Of attention.
        kv_heads: Of keys and values.
        ffn: Width within the feed-forward block.
        vocabulary: Entries of the token table.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int

    @property
    def config(self) -> Mapping[str, Any]:
        """As in `config.json`."""
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.ffn,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 2**16,
            "tie_word_embeddings": False,
        }

    @property
    def anatomy(self) -> Anatomy:
        """What it consists of."""
        return anatomy_of(self.config, self.name)

    def bytes_held(self, batch: int, context: int) -> float:
        """Of weights and of a context while it grows. [B]"""
        anatomy = self.anatomy
        context_bytes = anatomy.kept_per_token * batch * (context + STRIDE) * _BYTES
        return anatomy.parameters * _BYTES + _COPIES * context_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is done in one window, again and again.

    Args:
        what: Kind of work.
        name: Unique in the plan.
        dtype: Number format of a product.
        edge: Rows and columns of both matrices of a product.
        copied: Bytes of a copy. [B]
        shape: Of the model that decodes or reads.
        batch: Sequences at once.
        tokens: Kept of each while decoding, or read of each.
    """

    what: What
    name: str
    dtype: str = USUAL_DTYPE
    edge: int = 0
    copied: int = 0
    shape: Shape | None = None
    batch: int = 0
    tokens: int = 0

    @property
    def group(self) -> str:
        """What is left out together when the fit is tried."""
        return self.shape.name if self.shape else KERNELS

    @property
    def fits(self) -> bool:
        """True when the law speaks of it: rest, and products in other formats, are read directly."""
        return self.what != "rest" and self.dtype == USUAL_DTYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A designed set of windows.

    Args:
        tasks: In the order in which they are measured; one model after the other.
        seconds: Of one window, at least. [s]
        repeats: Windows of each task.
    """

    tasks: tuple[Task, ...]
    seconds: float
    repeats: int

    @property
    def lasts(self) -> float:
        """About how long all of it takes, without loading. [s]"""
        return len(self.tasks) * self.seconds * (self.repeats + 0.5)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Sizes for a class of devices."""

    shapes: tuple[Shape, ...]
    edge: int
    copied: int
    batches: tuple[int, ...]
    context: int
    long: int
    prompts: tuple[int, int]


_TINY = Shape(name="tiny", hidden=64, layers=16, heads=4, kv_heads=2, ffn=192, vocabulary=512)
_CPU = (
    _TINY,
    Shape(name="15M", hidden=256, layers=12, heads=4, kv_heads=2, ffn=768, vocabulary=8192),
    Shape(name="40M", hidden=512, layers=10, heads=8, kv_heads=4, ffn=1536, vocabulary=8192),
    Shape(name="160M", hidden=1024, layers=12, heads=16, kv_heads=8, ffn=2816, vocabulary=8192),
)
_GPU = (
    _TINY,
    Shape(name="0.3B", hidden=1024, layers=16, heads=16, kv_heads=8, ffn=2816, vocabulary=32_768),
    Shape(name="1.5B", hidden=2048, layers=16, heads=32, kv_heads=8, ffn=8192, vocabulary=128_256),
    Shape(name="8B", hidden=4096, layers=32, heads=32, kv_heads=8, ffn=14_336, vocabulary=128_256),
)
_ROOMY = 40e9  # bytes of memory from which a GPU holds an 8B model and its contexts


def designed(
    *, accelerator: bool, memory_bytes: float, dtypes: Sequence[str], quick: bool = False
) -> Plan:
    """The windows for a device.

    Args:
        accelerator: True for a GPU, False for a CPU.
        memory_bytes: That the device holds. [B]
        dtypes: Formats in which it multiplies, by PyTorch's names.
        quick: Fewer and shorter windows.

    Raises:
        UsageError: the device holds too little for three models.

    >>> plan = designed(accelerator=False, memory_bytes=8e9, dtypes=["bfloat16", "float32"])
    >>> len({task.group for task in plan.tasks}), plan.lasts < 300
    (5, True)
    """
    scale = _scale(accelerator=accelerator, memory_bytes=memory_bytes)
    room = _ROOM * memory_bytes
    tasks = [
        Task(what="rest", name="rest"),
        *(
            Task(what="product", name=f"product {dtype}", dtype=dtype, edge=scale.edge)
            for dtype in dtypes
        ),
        Task(what="copy", name="copy", copied=scale.copied),
        *(task for shape in scale.shapes for task in _of(shape, scale, room, quick=quick)),
    ]
    if len({task.group for task in tasks}) <= len(scale.shapes):
        raise UsageError(
            f"{memory_bytes / 1e9:.3g} GB hold too little for the models of a calibration",
            fix="calibrate on a device with 2 GB or more free",
        )
    if quick:
        return Plan(tasks=tuple(tasks), seconds=0.4, repeats=2)
    return Plan(tasks=tuple(tasks), seconds=1.5, repeats=3)


def _scale(*, accelerator: bool, memory_bytes: float) -> _Scale:
    if not accelerator:
        return _Scale(_CPU, 1024, 2**28, (1, 4, 16), 128, 1024, (64, 256))
    shapes = _GPU if memory_bytes >= _ROOMY else _GPU[:-1]
    return _Scale(shapes, 8192, 2**30, (1, 8, 64), 512, 4096, (512, 2048))


def _of(shape: Shape, scale: _Scale, room: float, *, quick: bool) -> list[Task]:
    """Decoding at each batch, once more with a long context, and prompts of both lengths."""
    tiny = shape is _TINY
    spots = [(batch, scale.context) for batch in scale.batches]
    if not tiny:
        spots.append((scale.batches[1], scale.long))
        if not quick:
            spots.append((scale.batches[-1], scale.long))
    tasks = [
        Task(
            what="decode",
            name=f"decode {shape.name}, batch {batch}, context {context}",
            shape=shape,
            batch=batch,
            tokens=context,
        )
        for batch, context in spots
        if shape.bytes_held(batch, context) <= room
    ]
    if tiny:
        return tasks
    prompts = [
        Task(
            what="prefill",
            name=f"prefill {shape.name}, {tokens} tokens",
            shape=shape,
            batch=1,
            tokens=tokens,
        )
        for tokens in scale.prompts
        if shape.bytes_held(1, tokens) <= room
    ]
    return tasks + prompts
