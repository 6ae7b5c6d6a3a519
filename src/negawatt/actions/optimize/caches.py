"""What a key-value cache of 16, 8 or 4 bits loses, takes and holds, on one built variant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from negawatt.actions.optimize import memory
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.actions.optimize.plans import frozen
from negawatt.compress.race import centre, race_writing, ratio
from negawatt.core.caches import Cache
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RunOptions, Runtime, Session, Steps
from negawatt.core.records import Decision, Workload
from negawatt.core.serving import Serving
from negawatt.decisions.cache import CacheCost, CacheReading, choose_cache
from negawatt.energy.configs import heads_of
from negawatt.models.corpus import Tokens
from negawatt.models.written import written

if TYPE_CHECKING:
    from negawatt.actions.optimize.conclude import Evidence
    from negawatt.actions.optimize.job import OptimizeJob
    from negawatt.actions.optimize.trials import Track, Trial

WIDE: Cache = "16"  # what the others are compared with
_ROUNDS = 3
_WRITTEN = 32  # tokens in each
_TOKENS = 1024  # of the test text that a job writes for the loss


@dataclass(frozen=True, slots=True)
class CacheComparison:
    """Every cache that one engine offers, and which one to use."""

    runtime: str
    version: str
    format: str  # of the weights, in words
    threads: int
    tokens: int  # written for the loss
    readings: tuple[CacheReading, ...]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Question:
    """What caches are compared on.

    Args:
        artifact: A built variant of the engine.
        model: Folder of the model, for its sizes.
        format: Of its weights, in words.
        windows: int64, [windows, window]; text that is written for the loss.
        contexts: Tokens behind the written ones when their time is taken.
        threads: Of the engine.
        max_loss: What the cache may add to the perplexity. [1]
        context: Tokens a written one has behind it in the workload.
        only: Caches to compare, beside the engine's own and 16 bits; all when empty.
        stage: Under which progress is told.
    """

    artifact: Path
    model: Path
    format: str
    windows: Tokens
    contexts: tuple[int, ...]
    threads: int
    max_loss: float
    context: int
    only: tuple[Cache, ...] = ()
    stage: str = "cache"


def compare_caches(tools: Tools, engine: Runtime, question: Question) -> CacheComparison:
    """Run one variant with every cache the engine offers, in turns.

    All of them are open at once, so the weights are held once for each.

    Raises:
        UsageError: the engine offers no choice, or none of those that were asked for.
    """
    names = _asked(engine, question.only)
    told = _told(tools, question.stage)
    with _all_open(engine, question, names, "write") as sessions:
        lost = written(sessions, question.windows, WIDE, lambda _, share: told(0.6 * share))
    costs: dict[str, list[CacheCost]] = {name: [] for name in names}
    for i, context in enumerate(question.contexts):
        with _all_open(engine, question, names, "any") as sessions:
            for name, cost in _costs(tools, sessions, names[0], context, question).items():
                costs[name].append(cost)
        told(0.6 + 0.4 * (i + 1) / len(question.contexts))
    sizes = _sizes(question.model)
    readings = tuple(
        CacheReading(
            cache=name,
            own=name == names[0],
            loss=lost[name].loss,
            kl=lost[name].kl,
            token_bytes=engine.caches[name].token_bytes(**sizes),
            costs=tuple(costs[name]),
        )
        for name in names
    )
    return CacheComparison(
        runtime=engine.name,
        version=engine.version,
        format=question.format,
        threads=question.threads,
        tokens=question.windows.shape[0] * (question.windows.shape[1] - 1),
        readings=readings,
        decision=choose_cache(readings, max_loss=question.max_loss, context=question.context),
    )


def refuse_missing(cache: Cache | Literal["auto"], engine: Runtime) -> None:
    """Raise `UsageError` before any work where the engine cannot serve with a cache."""
    if cache != "own":
        _asked(engine, () if cache == "auto" else (cache,))


def served_with(
    job: OptimizeJob, decision: Decision, evidence: Evidence
) -> tuple[Serving | None, list[str]]:
    """The cache that the chosen variant is to be served with, and what was found in sentences.

    What the variant's own loss leaves of the budget is what a narrower cache may lose. One that
    was asked for by name is taken, and what it loses is told.
    """
    order, tools = job.order, job.tools
    if order.cache == "own":
        return None, []
    trial = next(one for one in evidence.trials if one.name == decision.choice)
    room = max(0.0, order.max_loss - evidence.losses[trial.name].sure)

    def compare() -> CacheComparison:
        job.load(tools.runtime)
        asked = order, job.source.folder, room
        found: CacheComparison = tools.workshop.call(_of_trial, tools, job.track, trial, asked)
        return found

    name = f"cache {fingerprint(order.cache, frozen(trial.plan), trial.joint, room)[:8]}"
    found = job.journal.step(name, CacheComparison, compare)
    chosen = found.decision
    if order.cache != "auto":
        chosen = replace(chosen, choice=order.cache, because="asked for by name")
    meant = next(one.cache for one in found.readings if one.cache == chosen.choice)
    told = [
        f"Cache: {meant} bits: {chosen.because}. Beside 16 bits, writing {found.tokens:,} tokens "
        "one by one: " + "; ".join(_in_words(one) for one in found.readings) + "."
    ]
    return Serving(meant, chosen.because), told


def _in_words(one: CacheReading) -> str:
    return f"{one.cache} bits {one.loss.value:+.2%} ({one.loss.low:+.2%} to {one.loss.high:+.2%})"


def _of_trial(
    tools: Tools, track: Track, trial: Trial, asked: tuple[Order, Path, float]
) -> CacheComparison:
    """The caches of the serving engine, on a variant that was tried."""
    order, model, room = asked
    windows = track.test.exam.windows
    count = max(1, _TOKENS // windows.shape[1])
    workload = order.workload
    question = Question(
        artifact=track.build(trial.name, trial.plan, trial.joint),
        model=model,
        format=trial.name,
        windows=windows[:count],
        contexts=(workload.prompt + workload.generate // 2,),
        threads=track.threads,
        max_loss=room,
        context=workload.prompt + workload.generate // 2,
        only=() if order.cache == "auto" else (order.cache,),
        stage="verify",  # what is verified is how it is served
    )
    return compare_caches(tools, tools.runtime, question)


def _asked(engine: Runtime, only: Sequence[Cache]) -> list[Cache]:
    """The engine's own first, then those asked for and 16 bits."""
    layouts = list(engine.caches)
    if not layouts:
        raise UsageError(
            f"{engine.name} offers no choice of the key-value cache",
            fix="name an engine that does, such as --runtime openvino",
        )
    missing = [name for name in only if name not in layouts]
    if missing:
        raise UsageError(
            f"{engine.name} keeps no key-value cache of {missing[0]} bits",
            fix=f"ask for one of {', '.join(layouts)}",
        )
    return [name for name in layouts if not only or name in {layouts[0], WIDE, *only}]


def _costs(
    tools: Tools, sessions: dict[str, Session], own: str, context: int, question: Question
) -> dict[str, CacheCost]:
    half = race_writing(
        sessions,
        Workload(context, _ROUNDS * _WRITTEN),  # the prompt is read once
        rounds=_ROUNDS,
        decode_tokens=_WRITTEN,
        vocabulary=int(question.windows.max()) + 1,
        clock=tools.clock,
    )
    return {
        name: CacheCost(
            context,
            centre(found.cpu, unit="s/token"),
            ratio(found.cpu, half[own].cpu),
        )
        for name, found in half.items()
    }


@contextmanager
def _all_open(
    engine: Runtime, question: Question, names: Sequence[Cache], steps: Steps
) -> Iterator[dict[str, Session]]:
    with ExitStack() as stack:
        found: dict[str, Session] = {}
        for name in names:
            options = RunOptions(threads=question.threads, steps=steps, cache=name)
            found[name] = stack.enter_context(engine.open(question.artifact, options))
        yield found
    memory.release()


def _sizes(model: Path) -> dict[str, int]:
    """Layers, heads of keys and values, and numbers in each."""
    return heads_of(json.loads((model / "config.json").read_text(encoding="utf-8")))


def _told(tools: Tools, stage: str) -> Callable[[float], None]:
    def tell(share: float) -> None:
        tools.progress(stage, share)

    return tell
