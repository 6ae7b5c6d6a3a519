"""The seams: what an adapter must do to be plugged in. One to four methods each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self, runtime_checkable

from negawatt.core.caches import Cache, CacheLayout
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.quantities import Joules
from negawatt.core.records import Array, Format, InputGrid, QuantisedWeight


@runtime_checkable
class PowerMeter(Protocol):
    """An energy counter: what has flowed since a fixed, unknown moment.

    Only the difference of two reads means anything. Hardware that reports
    power alone is wrapped by `meters.integrate`, so callers see one shape.
    A meter may also say how often it wants to be read (`poll_every_s`), by how
    many joules a difference of two reads may be off because the counter moves
    in steps (`resolution_j`), and what a reader of its figure must know (`label`).
    """

    @property
    def name(self) -> str:
        """Which adapter and domain: `rapl:package-0`, `nvml:0`."""

    @property
    def boundary(self) -> str:
        """What the number includes: `gpu:0`, `package:0`, `dram:0`, `wall`."""

    def energy(self) -> Joules:
        """Read the counter; raise `MeterUnavailable`, never return a guess."""


class MeterSource(Protocol):
    """Finds the meters of one kind on this machine (entry point `negawatt.meters`)."""

    def __call__(self) -> Sequence[PowerMeter]:
        """Return every meter found.

        None where this machine has nothing of the kind and nothing can be done about it.

        Raises:
            MeterUnavailable: something stands in the way; the fix removes it.
        """


#: "exact" computes in float32 (for the numerics gate); "fast" as the engine
#: would serve by default on this machine.
Precision = Literal["fast", "exact"]


#: What a session is made for; see `RunOptions`.
Steps = Literal["any", "read", "write"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How an artifact is executed.

    Args:
        threads: Of the engine.
        precision: "exact" or "fast".
        steps: What the session is made for. Every session takes every input, and
            the choice moves memory and time alone: an engine may hold a form of
            the weights for long inputs and another one for single tokens. "any"
            holds both, from the first single token on. "read" holds the first
            alone, so that single tokens are dearer. "write" holds the second
            alone, so that a longer input is read one position at a time. In exact
            precision results agree to the rounding of float32; in fast precision
            a text read at once and the same text read in pieces may differ by
            the engine's own rounding, whichever session reads it.
        cache: Bits of the key-value cache. "own" leaves it to the artifact, which may
            say what it is meant to be served with, and else to the engine. Exact
            precision keeps it in float32.
        lean: Hold as little memory as the engine can, whatever time that takes. For sessions
            whose answers count and whose time does not: they agree to the rounding of float32.
        mapped: Leave weights pages of their file where the engine can multiply them there: other
            processes share them, the system takes them back when memory is short, and a token
            was seen to take up to 1.4 times what it takes with a copy on large pages. Lean ones do.

    Raises:
        UsageError: exact precision is asked for with a narrower cache.
    """

    threads: int = 1
    precision: Precision = "fast"
    steps: Steps = "any"
    cache: Cache = "own"
    lean: bool = False
    mapped: bool = False

    def __post_init__(self) -> None:
        if self.precision == "exact" and self.cache != "own":
            raise UsageError(
                f"an exact session keeps its cache in float32, not at {self.cache} bits",
                fix='choose the cache of a "fast" session',
            )


class Session(Protocol):
    """A loaded model with one key-value cache. Close it, or use it in a `with` block."""

    def reset(self) -> None:
        """Forget the cache; the next `forward` starts new sequences."""

    def forward(self, tokens: Array, *, keep: int | None = None) -> Array:
        """Append `tokens` to the cache and return logits.

        Args:
            tokens: int64, [batch, new]. The batch size is fixed by the first
                call after a `reset`.
            keep: How many of the last positions to compute logits for; all when None.

        Returns:
            float32, [batch, keep, vocabulary].
        """

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Reset, read `prompt`, and yield greedy tokens one at a time.

        Closing the iterator cancels the work. The stop token is not yielded.
        """

    @property
    def memory_bytes(self) -> int:
        """Weights held for this session, as stored by the engine. [B]"""

    def close(self) -> None:
        """Free the engine's memory; calling twice is harmless."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """What a model made of a text that was given to it.

    Args:
        log_probs: float64, [tokens - 1]; of every token after the first. [nat]
        tops: int64, [tokens - 1]; what the model would have said there.
    """

    log_probs: Array
    tops: Array


class Endpoint(Protocol):
    """A model behind a server's door (entry point `negawatt.endpoints`).

    A server hands out tokens and the likelihoods of a text, and no logits; nothing can be
    converted, rounded or timed alone behind its door. So this is no `Runtime`, and no `Session`.
    """

    @property
    def name(self) -> str:
        """`vllm`."""

    @property
    def version(self) -> str:
        """The server's own version; empty when it does not tell."""

    @property
    def model(self) -> str:
        """Name of the model that answers."""

    @property
    def context(self) -> int | None:
        """Tokens it takes at most; None when it does not tell."""

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        """Yield greedy tokens one at a time, as `Session.stream` does.

        The request is sent when the first token is asked for; closing the iterator ends it.
        """

    def likelihoods(self, tokens: Sequence[int]) -> Likelihoods:
        """How likely every token was, given those before it."""


class Kernel(Protocol):
    """Some copies of one matrix product, ready to be timed."""

    def run(self, rows_in: int) -> None:
        """Multiply every copy once with an activation of `rows_in` rows."""

    @property
    def copies(self) -> int:
        """How many distinct matrices one `run` multiplies."""


@runtime_checkable
class Runtime(Protocol):
    """An inference engine (entry point `negawatt.runtimes`)."""

    @property
    def name(self) -> str:
        """`openvino`, `llamacpp`, `torch`."""

    @property
    def version(self) -> str:
        """The engine's own version."""

    @property
    def formats(self) -> Sequence[Format]:
        """The weight formats this engine truly executes, `bf16` first."""

    @property
    def joins(self) -> bool:
        """True when `compress` multiplies the layers named in `joint` as one."""

    @property
    def second_look(self) -> float | None:
        """How far below the top logits of a narrow head are computed again. [nat]

        That takes a wide embedding that the head shares its matrix with; None: never.
        """

    @property
    def caches(self) -> Mapping[Cache, CacheLayout]:
        """The key-value caches that can be asked for, the engine's own first; none is no choice."""

    def convert(self, model: Path, out: Path) -> None:
        """Write the engine's own form of a Hugging Face `model` folder into `out`, at 16 bits."""

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        """Write a variant of a `converted` folder with the layers in `weights` replaced.

        Keys are `Layer.name`. `weights` may be lazy: each value is read once.
        Layers named together in `joint` read the same input and share a format;
        an engine may multiply them as one, or leave them apart: values are the same.
        """

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Load a `convert`ed or `compress`ed folder."""

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct [rows, cols] products in `fmt` for the cost table."""


@runtime_checkable
class RoundsInputs(Protocol):
    """A `Runtime` whose products can round what enters them to 8 bits as well."""

    @property
    def input_formats(self) -> Sequence[Format]:
        """The formats of weights that it multiplies with inputs of 8 bits, as codes with codes.

        Empty for a reference that only computes what such products would.
        """

    def compress_with_inputs(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        inputs: Mapping[str, InputGrid],
        out: Path,
    ) -> None:
        """As `compress`, and what enters the layers in `inputs` is rounded when the model runs."""


@runtime_checkable
class RunsOtherwise(Protocol):
    """A `Runtime` that runs some artifacts otherwise than elsewhere on some processors."""

    def otherwise(self, artifact: Path, options: RunOptions) -> str:
        """What it does with a session of `artifact` here, and why, in a sentence; empty: nothing.

        Whoever publishes what such a session took says it beside the figures.
        """


class Measured(Protocol):
    """What some work took: a closed window, or several added up."""

    @property
    def name(self) -> str:
        """What was measured."""

    @property
    def energy(self) -> Estimate:
        """Everything known, as weak as its weakest part. [J]"""

    @property
    def energies(self) -> Mapping[str, Estimate]:
        """Measured energy of each boundary; one that could not be read is absent. [J]"""

    @property
    def cpu_seconds(self) -> Estimate:
        """User and system CPU time. [s]"""

    @property
    def wall_seconds(self) -> Estimate:
        """Time from start to end. [s]"""


class Stretch(Protocol):
    """A window that somebody else's loop opens and closes."""

    def start(self) -> Self:
        """Open it."""

    def stop(self) -> Self:
        """Close it; closing it again changes nothing."""

    @property
    def result(self) -> Measured:
        """What was seen, so far while it is open."""


class Tracker(Protocol):
    """Where the figures of windows go (entry point `negawatt.trackers`)."""

    def record(self, window: Measured, *, step: int | None = None) -> None:
        """Write the figures of one window; made to be the `then` of `measure`.

        Args:
            window: What was measured.
            step: Its place on the axis of the chart; how many windows of that name
                came before when None.
        """

    def close(self) -> None:
        """Write what is held back and let go; closing twice is harmless."""
