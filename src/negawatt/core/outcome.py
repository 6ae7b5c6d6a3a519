"""What one `negawatt optimize` found: the record that reports, ledger and JSON share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from negawatt.core.estimate import Estimate
from negawatt.core.records import Decision, Layer, Variant, Workload

Role = Literal["reference", "base", "uniform", "searched"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the job was run on and for."""

    model: str  # as the user named it
    architecture: str
    parameters: int
    digest: str  # SHA-256 of the source weights
    machine: Mapping[str, str]  # cpu, cores, memory, os, ...
    versions: Mapping[str, str]  # negawatt, engines, python
    workload: Workload
    max_loss: float  # relative perplexity increase allowed [1]
    texts: Mapping[str, str]  # calibration, selection, test -> description
    seed: int
    notes: tuple[str, ...] = ()  # facts the user should know, e.g. a source found on a grid


@dataclass(frozen=True, slots=True)
class Point:
    """One measured variant.

    `quality` in `variant` is on the test text; `selection_loss` is on the text
    that was used to choose, so the two do not share their luck. `expected_loss` weighs
    the latter with the divergence from the base, and `meets_budget` is judged by it.
    `cpu_vs_reference` and `cpu_vs_int8` are paired ratios of CPU-seconds per
    decoded token, taken in one interleaved run.
    """

    role: Role
    variant: Variant
    size_bytes: int
    energy: Estimate  # workload mean, prefill and decode [J/token]
    predicted_energy: Estimate | None  # by the energy model, before running [J/token]
    cpu_vs_reference: Estimate | None  # [1]
    cpu_vs_int8: Estimate | None  # [1]
    selection_loss: Estimate | None  # [1]
    on_front: bool
    meets_budget: bool
    expected_loss: Estimate | None = None  # selection loss weighed with the divergence [1]


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """Why one layer got its format. Mappings are keyed by format name."""

    layer: Layer
    chosen: str
    sensitivity: Mapping[str, float]  # expected KL if this layer alone changed [nat/token]
    energy: Mapping[str, float]  # by the energy model, at the workload [J/token]
    next_best: str
    because: str


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a variant's energy per token; the parts of a variant sum to its total."""

    name: str  # "attention", "ffn", "head", "embedding", "rest"
    energy: Estimate  # [J/token]


@dataclass(frozen=True, slots=True)
class Check:
    """A gate that was passed or not, with its figure."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step of the job."""

    name: str
    seconds: float  # wall [s]
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything one optimisation found, ready to be rendered or kept."""

    facts: Facts
    points: tuple[Point, ...]
    decision: Decision  # choice is a `Variant.name`
    layers: tuple[LayerChoice, ...]
    before: tuple[Part, ...]  # uniform int8, the usual default
    after: tuple[Part, ...]  # the chosen variant
    checks: tuple[Check, ...]
    steps: tuple[Step, ...]
    sample_prompt: str
    sample_text: str
    stated_memory_bytes: int
    peak_memory_bytes: int
    job_energy: Estimate  # of the optimisation itself [J]
    payback_tokens: float | None  # after so many tokens the job has paid for itself
    artifacts: Mapping[str, str]  # "openvino", "huggingface" -> folder, relative to the report
    version: int = 1
