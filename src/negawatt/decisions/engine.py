"""Which engine, and how many threads: the least work for the workload, and where that changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.records import Decision, Workload


@dataclass(frozen=True, slots=True)
class Run:
    """A whole model, run by one engine in one way.

    Args:
        runtime: Name of the engine.
        version: Its version and build.
        format: Of the weights, by name.
        threads: Of the engine.
        prefill_cpu: Reading. [s/token]
        decode_cpu: Writing. [s/token]
        kl: How far its answers lie from the reference engine's. [nat/token]
        size_bytes: Weights as held.
    """

    runtime: str
    version: str
    format: str
    threads: int
    prefill_cpu: Estimate
    decode_cpu: Estimate
    kl: float
    size_bytes: int

    @property
    def name(self) -> str:
        """`openvino int8-row-sym, 1 thread`."""
        return f"{self.runtime} {self.format}, {self.threads} thread{'s' * (self.threads > 1)}"

    def cpu_s(self, workload: Workload) -> float:
        """CPU time of one request. [s]"""
        return workload.prompt * self.prefill_cpu.value + workload.generate * self.decode_cpu.value


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two runs take the same at `ratio` prompt tokens for each one written."""

    ratio: float  # [1]
    below: str  # the cheaper one with shorter prompts
    above: str  # and with longer ones

    @property
    def words(self) -> str:
        """The crossing as a sentence."""
        return (
            f"{self.above} takes less from {self.ratio:.3g} prompt tokens "
            f"for each written one, {self.below} below that"
        )


def crossing(one: Run, other: Run) -> Crossing | None:
    """Where two runs take the same; None when one is the cheaper in both phases.

    >>> from negawatt.core.estimate import Estimate, Kind
    >>> def run(name, read, write):
    ...     times = [
    ...         Estimate.exact(
    ...             v, unit="s/token", source="doc", boundary="process", kind=Kind.MEASURED
    ...         )
    ...         for v in (read, write)
    ...     ]
    ...     return Run(name, "1", "int8", 1, *times, kl=0.0, size_bytes=1)
    >>> found = crossing(run("a", 1.0, 9.0), run("b", 2.0, 6.0))
    >>> found.ratio, found.below
    (3.0, 'b int8, 1 thread')
    """
    read = one.prefill_cpu.value - other.prefill_cpu.value
    write = one.decode_cpu.value - other.decode_cpu.value
    if read * write >= 0:
        return None
    reader, writer = (one, other) if read < 0 else (other, one)
    return Crossing(-write / read, below=writer.name, above=reader.name)


def fronts(runs: Sequence[Run]) -> tuple[tuple[Run, float], ...]:
    """The cheapest run of every ratio of prompt to output, each with the ratio it begins at.

    Args:
        runs: That are alike in quality.

    Returns:
        From 0 prompt tokens for each written one upwards.
    """
    best = min(runs, key=lambda run: (run.decode_cpu.value, run.prefill_cpu.value))
    found, start = [(best, 0.0)], 0.0
    while True:
        nearer = [
            (cross.ratio, run)
            for run in runs
            if run.prefill_cpu.value < best.prefill_cpu.value
            and (cross := crossing(run, best)) is not None
            and cross.ratio >= start
        ]
        if not nearer:
            return tuple(found)
        start, best = min(nearer, key=lambda pair: (pair[0], pair[1].prefill_cpu.value))
        found.append((best, start))


def choose_engine(runs: Sequence[Run], workload: Workload) -> Decision:
    """The run with the least CPU time for the workload, and from where another would win.

    Args:
        runs: Of one model at one width of weights, so that their quality is alike.
        workload: Whose prompt and reply count.

    Raises:
        UsageError: there is nothing to choose from.
    """
    if not runs:
        raise UsageError(
            "no engine ran the model", fix="install one: pip install 'negawatt[openvino]'"
        )
    ranked = sorted(runs, key=lambda run: (run.cpu_s(workload), run.name))
    best = ranked[0]
    because = f"least CPU time for {workload.prompt} tokens read and {workload.generate} written"
    by_engine = [
        min(group, key=lambda run: run.cpu_s(workload))
        for _, group in groupby(
            sorted(ranked, key=lambda run: run.runtime), lambda run: run.runtime
        )
    ]
    facts: dict[str, float] = {}
    for other in sorted(by_engine, key=lambda run: run.cpu_s(workload)):
        facts[other.name] = other.cpu_s(workload)
        if other.runtime == best.runtime:
            continue
        times = other.cpu_s(workload) / best.cpu_s(workload)
        because += f"; {other.name} takes {times:.2f} times as much"
        cross = crossing(best, other)
        if cross is not None:
            because += f" ({cross.words})"
    return Decision(
        choice=best.name,
        because=because,
        alternatives=tuple(run.name for run in ranked[1:]),
        facts=facts,
    )
