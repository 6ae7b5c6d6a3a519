"""What the job is asked for, and what it is given to work with."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from negawatt.core.caches import Cache
from negawatt.core.clock import Clock
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import Runtime
from negawatt.core.records import Workload

if TYPE_CHECKING:
    from negawatt.actions.optimize.workshop import Workshop

#: Told the stage and the share of it that is done, 0 to 1.
Progress = Callable[[str, float], None]

#: Stages in order, with the share of the whole job each usually takes.
STAGES: Mapping[str, float] = {
    "prepare": 0.03,
    "engines": 0.04,
    "convert": 0.02,
    "reference": 0.06,
    "costs": 0.07,
    "candidates": 0.12,
    "sensitivity": 0.09,
    "search": 0.14,
    "uniform": 0.22,
    "verify": 0.14,
    "export": 0.07,
}


@dataclass(frozen=True, slots=True)
class Effort:
    """How much text and how many steps; the defaults are for a machine with two cores."""

    window: int = 256  # tokens per scored window
    calibration_tokens: int = 24_576
    selection_tokens: int = 6_144
    test_tokens: int = 6_144
    kl_tokens: int = 1_024  # whose whole distribution is compared
    hessian_windows: int = 96  # fewer, and rounding is fitted to their noise
    sensitivity_samples: int = 32
    sample_tokens: int = 128  # tokens per sample of sensitivity and search
    search_steps: int = 3  # gradient steps per energy budget
    budget_shares: tuple[float, ...] = (0.8, 0.6, 0.35)
    refinements: int = 2  # more budgets, closing in on the allowed loss
    formats: int = 3  # candidates per layer, at most
    rounds: int = 4  # of paired timing per variant
    openings: int = 2  # among which those at writing are divided, at least one round each
    decode_tokens: int = 32  # written per round


@dataclass(frozen=True, slots=True)
class Order:
    """One `negawatt optimize`, as the user asked for it."""

    model: str
    max_loss: float  # relative perplexity increase [1]
    workload: Workload
    out: Path
    seed: int = 0
    threads: int | None = None  # the job chooses when None
    text: str | None = None
    effort: Effort = Effort()
    max_size: int | None = None  # of the packed weights [B]
    max_latency: float | None = None  # of a written token [s]
    cache: Cache | Literal["auto"] = "own"  # key-value cache to serve with

    def __post_init__(self) -> None:
        if not 0 < self.max_loss < 1:
            raise UsageError(
                f"a loss budget of {self.max_loss:.4g} makes no sense",
                fix="give a share between 0 and 100 %, for example --max-loss 1%",
            )


@dataclass(frozen=True, slots=True)
class Tools:
    """What the job works with; built by `wiring`."""

    runtime: Runtime
    engines: tuple[Runtime, ...]  # to choose from; `runtime` alone when the user named one
    reference: Runtime
    joules_per_cpu_s: Estimate  # [J/s]
    machine: Mapping[str, str]  # for people
    machine_id: str  # for the cost table
    versions: Mapping[str, str]
    cores: int
    cache: Path
    data: Path | None
    clock: Clock
    progress: Progress
    workshop: Workshop

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets all but the line to the user and the hold on workers."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return _rebuilt, (plain | {"progress": silent, "workshop": None},)


def silent(stage: str, share: float) -> None:
    """Tell nobody."""


def _rebuilt(plain: dict[str, Any]) -> Tools:
    from negawatt.actions.optimize.workshop import Here

    return Tools(**(plain | {"workshop": Here()}))


def fingerprint(*facts: object) -> str:
    """A digest of everything that decides a step's result.

    >>> fingerprint("a", 1) == fingerprint("a", 1), fingerprint("a", 1) == fingerprint("a", 2)
    (True, False)
    """
    return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()


_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20}
_UNITS |= {"GIB": 2**30}


def bytes_of(text: str) -> int:
    """Read `90MB`, `1.5 GB` or `90000000`; raise `UsageError`.

    >>> bytes_of("90MB"), bytes_of("1.5 GiB")
    (90000000, 1610612736)
    """
    match = re.fullmatch(r"([0-9.]+)\s*([KMGi]*B?)", text.strip(), re.IGNORECASE)
    unit = match[2].upper() if match else None
    try:
        value = float(match[1]) * _UNITS[unit] if match and unit is not None else 0.0
    except (ValueError, KeyError):
        value = 0.0
    if value < 1:
        raise UsageError(
            f"--max-size {text!r} is no size", fix="write it as 90MB, 1.5GB or a number of bytes"
        )
    return int(value)


_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def seconds_of(text: str) -> float:
    """Read `20ms` or `0.02 s`; raise `UsageError`.

    >>> seconds_of("20ms"), seconds_of("0.5 s")
    (0.02, 0.5)
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(us|µs|ms|s)", text.strip())
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if value <= 0:
        raise UsageError(
            f"--max-latency {text!r} is no time", fix="write it with its unit, as 20ms or 0.02s"
        )
    return value


def share_of_loss(text: str) -> float:
    """Read `1%`, `0.5 %` or `0.01`; raise `UsageError`.

    >>> share_of_loss("1%"), share_of_loss("0.02")
    (0.01, 0.02)
    """
    stripped = text.strip()
    try:
        value = float(stripped.removesuffix("%"))
    except ValueError:
        value = float("nan")
    value = value / 100 if stripped.endswith("%") else value
    if not 0 < value < 1:
        raise UsageError(
            f"--max-loss {text!r} is not a share between 0 and 100 %",
            fix="write it as 1% or 0.01",
        )
    return value
