"""What workers do for `negawatt prune`. Engines are imported where they are used."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize import finish, stages
from negawatt.actions.optimize.order import Order, Tools
from negawatt.compress.pruned import Cut, Healing, Pace, Taken
from negawatt.compress.race import centre, race_reading, race_writing, ratio
from negawatt.core.errors import TextError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Quality, Workload
from negawatt.models.quality import Reference, score
from negawatt.models.source import ModelSource

if TYPE_CHECKING:
    from negawatt.compress.race import Half
    from negawatt.tune.lesson import Lesson

#: Tokens to learn from: as many as the text has, in these steps.
LENGTHS = (393_216, 196_608, 98_304, 49_152, 24_576)
_PROMPT = 128  # tokens read in a race
_WRITTEN = 32  # tokens written per round
_ROUNDS = 8


def read_texts(
    tools: Tools, order: Order, source: ModelSource, base: tuple[Path, str], work: Path
) -> stages.Texts:
    """The text dealt out, with as much to learn from as there is, and the base's answers."""
    for tokens in LENGTHS:
        if tokens <= order.effort.calibration_tokens:
            break
        longer = replace(order, effort=replace(order.effort, calibration_tokens=tokens))
        try:
            return stages.read_texts(tools, longer, source, base, work)
        except TextError:
            continue
    return stages.read_texts(tools, order, source, base, work)


def cut(
    tools: Tools, source: ModelSource, asked: Cut, windows: NDArray[np.int64], place: Path
) -> Taken:
    """Take out what is to go."""

    def tell(done: int, total: int) -> None:
        tools.progress("prune", done / total)

    from negawatt.compress.pruning.taking import prune

    return prune(source, asked, windows, place, tell)


def teach(
    tools: Tools,
    student: ModelSource,
    teacher: Path,
    windows: NDArray[np.int64],
    lesson: Lesson,
    gone: Sequence[int],
    place: Path,
) -> tuple[ModelSource, Healing]:
    """Let the base teach what was changed."""
    from negawatt.tune.heal import heal

    return heal(
        student, teacher, windows, lesson, place, lambda share: tools.progress("heal", share), gone
    )


def grade(tools: Tools, source: ModelSource, base: Reference, place: Path) -> Quality:
    """What a decoder in a folder loses on the test text, computed by the reference engine."""
    built(tools, source, place)
    with tools.reference.open(place, RunOptions(threads=tools.cores, steps="read")) as session:
        return score(session, base, progress=lambda _, share: tools.progress("grade", share))


def built(tools: Tools, source: ModelSource, place: Path) -> None:
    """The model in the reference engine's form, made anew when there is none."""
    if not place.exists():
        tools.reference.convert(source.folder, place)


def raced(
    tools: Tools, base: Path, place: Path, vocabulary: int, phases: Sequence[str]
) -> tuple[Pace, ...]:
    """Both models in turns, on one thread, at 16 bits."""
    options = RunOptions(threads=1)
    workload = Workload(_PROMPT, _WRITTEN)
    found = []
    with tools.runtime.open(base, options) as first, tools.runtime.open(place, options) as second:
        sessions = {"base": first, "pruned": second}
        for phase in phases:
            if phase == "reading":
                halves = race_reading(
                    sessions, workload, rounds=_ROUNDS, vocabulary=vocabulary, clock=tools.clock
                )
            else:
                halves = race_writing(
                    sessions,
                    workload,
                    rounds=_ROUNDS,
                    decode_tokens=_WRITTEN,
                    vocabulary=vocabulary,
                    clock=tools.clock,
                )
            found.append(_pace(tools, phase, halves["base"], halves["pruned"]))
    return tuple(found)


def _pace(tools: Tools, phase: str, base: Half, pruned: Half) -> Pace:
    unit = "s/token"
    return Pace(
        engine=f"{tools.runtime.name} {tools.runtime.version}",
        phase=phase,
        base=centre(base.cpu, unit=unit),
        pruned=centre(pruned.cpu, unit=unit),
        ratio=ratio(pruned.cpu, base.cpu),
    )


def carried(tools: Tools, source: ModelSource, place: Path) -> None:
    """The finished folder where the user finds it, whole or not at all."""
    del tools

    def write(out: Path) -> None:
        shutil.copytree(source.folder, out, dirs_exist_ok=True)

    finish.replace(place, write)
