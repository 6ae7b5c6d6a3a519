"""Every installed engine runs the same model, in turns: which one serves it on the fewest joules."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.journal import Journal
from negawatt.actions.optimize import memory, needs, stages
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.actions.optimize.plans import divergence, haven, uniform_plan
from negawatt.compress.race import Half, centre, race_reading, race_writing
from negawatt.core.errors import ModelError, RuntimeUnavailable
from negawatt.core.estimate import Estimate
from negawatt.core.protocols import RunOptions, Runtime, Session, Steps
from negawatt.core.records import Decision, Format
from negawatt.decisions.engine import Run, choose_engine
from negawatt.models.source import ModelSource

#: A text in tokens, and logits on it.
Said = tuple[NDArray[np.int64], NDArray[np.float32]]

_VERSION = 1  # of the steps; results of another one are not reused
_GATE_KL = 1e-2  # nat/token between the 16-bit forms of two engines
_ROUNDS = 3  # of reading
_TURNS = 2  # rounds of writing
_WRITTEN = 32  # tokens in each
_NARROW = 4  # bits of the second form that is run
_TEXT = (
    "The cheapest energy is the energy that is never used. Before a house gets a larger stove, "
    "one looks for the window that does not close. With machines that read and write it is the "
    "same: first find out where the work goes, then leave out what nobody asked for."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What every engine took, and which one to use."""

    runs: tuple[Run, ...]
    refused: Mapping[str, str]  # engine -> why it has no runs
    decision: Decision  # among runs of 8-bit weights

    def chosen(self, engines: Sequence[Runtime]) -> Runtime:
        """The engine of the decision."""
        name = self.decision.choice.split(" ", 1)[0]
        return next(engine for engine in engines if engine.name == name)


def place_of(work: Path, runtime: Runtime, key: str) -> Path:
    """Where the 16-bit model is kept in an engine's form."""
    return work / f"{runtime.name}-{runtime.version.split('-')[0]}-{key[:12]}"


def compare(order: Order, tools: Tools, work: Path, source: ModelSource) -> Comparison:
    """Let all engines in `tools.engines` run the model at 8 and at 4 bits, in turns.

    No figure of an engine counts before its 16-bit logits are those of the reference.
    An engine that cannot run the model is named with the reason.

    Args:
        order: Whose workload, threads and seed count.
        tools: With the engines.
        work: Folder for what is kept.
        source: The prepared model.

    Raises:
        RuntimeUnavailable: no engine is left.
    """
    base = fingerprint(source.digest, source.off_grid, order.seed)
    key = fingerprint(
        _VERSION,
        base,
        order.workload.spec,
        order.threads,
        tools.machine_id,
        tools.versions,
        [f"{engine.name} {engine.version}" for engine in tools.engines],
    )
    journal = Journal(work / "engines", key)
    refused = journal.step("gate", dict[str, str], lambda: gate(tools, work, source, base))
    left = [engine for engine in tools.engines if engine.name not in refused]
    if not left:
        told = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise RuntimeUnavailable(
            f"no installed engine runs this model: {told}",
            fix="see `negawatt doctor` for the engines, or give a model of another family",
        )
    answers = _Answers(tools, source, place_of(work, tools.reference, base))
    threads = [order.threads] if order.threads else sorted({1, tools.cores})
    runs: list[Run] = []
    for i, bits in enumerate((8, _NARROW)):
        for j, count in enumerate(threads):
            tools.progress("engines", 0.3 + 0.7 * (i + j / len(threads)) / 2)

            def race(bits: int = bits, count: int = count) -> list[Run]:
                shop = tools.workshop
                bases = {engine.name: place_of(work, engine, base) for engine in left}
                material = (order, source, bases, work / "engines")
                wanted = answers.wanted()
                shop.change(*left, model=source.folder)
                shop.call(_built, tools, left, material, bits)
                shop.change(*left, model=source.folder)  # what building left goes with its worker
                found: list[Run] = shop.call(_race, tools, left, material, wanted, (bits, count))
                return found

            runs += journal.step(f"{bits} bits, {count} threads", list[Run], race)
    shutil.rmtree(work / "engines" / "variants", ignore_errors=True)
    tools.progress("engines", 1.0)
    eight = [run for run in runs if Format.parse(run.format).bits > _NARROW]
    return Comparison(tuple(runs), refused, choose_engine(eight, order.workload))


def state_race(tools: Tools, source: ModelSource) -> int:
    """Tell how much memory comparing the engines may take, before it begins; returns it. [B]"""
    tools.workshop.change(*tools.engines, tools.reference, model=source.folder)
    factor, why = needs.of_race(tools.engines, tools.reference)
    return needs.state(tools, factor, source.bf16_bytes, why)


def gate(tools: Tools, work: Path, source: ModelSource, base: str) -> dict[str, str]:
    """Convert the model for every engine; returns those that cannot run it, with the reason."""
    shop = tools.workshop
    places = {engine.name: place_of(work, engine, base) for engine in tools.engines}
    own = place_of(work, tools.reference, base)
    shop.change(tools.reference, model=source.folder)
    if not own.exists():
        shop.call(stages.convert, tools, tools.reference, source, own)
    wanted = shop.call(_logits, tools, tools.reference, own, source.folder)
    refused = {}
    for i, engine in enumerate(tools.engines):
        tools.progress("engines", 0.3 * i / len(tools.engines))
        shop.change(engine, model=source.folder)
        try:
            if not places[engine.name].exists():
                shop.call(stages.convert, tools, engine, source, places[engine.name])
                shop.change(engine, model=source.folder)  # what converting left goes with it
            found = shop.call(_logits, tools, engine, places[engine.name], source.folder)
        except (ModelError, RuntimeUnavailable) as error:
            refused[engine.name] = error.what
            continue
        kl = divergence(wanted, found)
        if not kl < _GATE_KL:
            refused[engine.name] = f"its logits differ from {tools.reference.name}'s: KL {kl:.2e}"
    return refused


def _logits(tools: Tools, runtime: Runtime, folder: Path, model: Path) -> NDArray[np.float32]:
    """Logits of an engine as it serves, on a few words."""
    options = RunOptions(threads=tools.cores, steps="read", lean=True)
    with runtime.open(folder, options) as session:
        return np.asarray(session.forward(_tokens(model)))


def _tokens(model: Path) -> NDArray[np.int64]:
    from negawatt.models.load import load_tokenizer

    return np.array([load_tokenizer(model)(_TEXT)["input_ids"]], dtype=np.int64)


def _race(
    tools: Tools,
    engines: Sequence[Runtime],
    material: tuple[Order, ModelSource, Mapping[str, Path], Path],
    wanted: Said,
    how: tuple[int, int],
) -> list[Run]:
    """All engines at one width, taking turns at reading and at writing.

    Args:
        tools: With the clock.
        engines: Who runs.
        material: Order, model, 16-bit forms, and the folder of variants.
        wanted: A text in tokens, and what the reference engine says of it.
        how: Bits and threads.
    """
    (order, source, _, folder), (bits, threads) = material, how
    workload = order.workload
    variants = _variants(engines, folder, bits)
    vocabulary = next(layer.rows for layer in source.layers if layer.kind == "embedding")
    with _all_open(variants, "read", threads) as sessions:
        size = {name: session.memory_bytes for name, session in sessions.items()}
        read = race_reading(
            sessions, workload, rounds=_ROUNDS, vocabulary=vocabulary, clock=tools.clock
        )
        answers = {name: _answers(session, wanted[0]) for name, session in sessions.items()}
    with _all_open(variants, "write", threads) as sessions:
        written = race_writing(
            sessions,
            workload,
            rounds=_TURNS,
            decode_tokens=_WRITTEN,
            vocabulary=vocabulary,
            clock=tools.clock,
        )
    return [
        Run(
            runtime=name,
            version=engine.version,
            format=fmt.name,
            threads=threads,
            prefill_cpu=_time(read[name]),
            decode_cpu=_time(written[name]),
            kl=divergence(wanted[1], answers[name]),
            size_bytes=size[name],
        )
        for name, (engine, fmt, _) in variants.items()
    ]


def _variants(
    engines: Sequence[Runtime], folder: Path, bits: int
) -> dict[str, tuple[Runtime, Format, Path]]:
    """Who runs, in which form, and where that is."""
    forms = {engine.name: (engine, form_of(engine, bits)) for engine in engines}
    return {
        name: (engine, fmt, folder / "variants" / f"{name}-{fmt.name}")
        for name, (engine, fmt) in forms.items()
        if fmt is not None
    }


def _built(
    tools: Tools,
    engines: Sequence[Runtime],
    material: tuple[Order, ModelSource, Mapping[str, Path], Path],
    bits: int,
) -> None:
    """Build what is not there yet of one width, one engine after the other."""
    del tools
    _, source, bases, folder = material
    for name, (engine, fmt, place) in _variants(engines, folder, bits).items():
        if not place.exists():
            build_uniform(engine, source, bases[name], fmt, place)
            memory.release()


def form_of(engine: Runtime, bits: int) -> Format | None:
    """The finest symmetric form of a width that an engine executes, of even levels if it can."""
    if bits == haven(engine.formats).bits:
        return haven(engine.formats)
    found = [fmt for fmt in engine.formats if fmt.bits == bits]
    return min(
        found,
        key=lambda fmt: (not fmt.symmetric, bool(fmt.levels), fmt.group or 2**30),
        default=None,
    )


def build_uniform(
    engine: Runtime, source: ModelSource, base: Path, fmt: Format, place: Path
) -> None:
    """One format in all layers, rounded to nearest."""
    from negawatt.compress.rounded import Rounded

    plan = uniform_plan(source.layers, fmt, haven(engine.formats))
    engine.compress(base, Rounded(source.folder, source.layers, plan), place)


@contextmanager
def _all_open(
    variants: Mapping[str, tuple[Runtime, Format, Path]], steps: Steps, threads: int
) -> Iterator[dict[str, Session]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(engine.open(place, RunOptions(threads=threads, steps=steps)))
            for name, (engine, _, place) in variants.items()
        }
    memory.release()


def _answers(session: Session, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    session.reset()
    return np.asarray(session.forward(tokens))


class _Answers:
    """What the reference engine says of a few words, asked once and in a worker of its own.

    Beside the engines of a race it would hold a whole model, and the tokenizer's library.
    """

    def __init__(self, tools: Tools, source: ModelSource, place: Path) -> None:
        self._tools, self._source, self._place = tools, source, place
        self._known: Said | None = None

    def wanted(self) -> Said:
        """The words in tokens, and the logits."""
        if self._known is None:
            tools, folder = self._tools, self._source.folder
            tools.workshop.change(tools.reference, model=folder)
            self._known = tools.workshop.call(_said, tools, self._place, folder)
        return self._known


def _said(tools: Tools, place: Path, model: Path) -> Said:
    return _tokens(model), _logits(tools, tools.reference, place, model)


def _time(half: Half) -> Estimate:
    return centre(half.cpu, unit="s/token")
