"""What an explanation comes to, in sentences that need no other."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.energy.explain.changes import Lever
from negawatt.energy.explain.leaves import LEVELS, Group, Level
from negawatt.energy.serving import Run

#: Why a level takes much, and what there is to do about it.
_REASONS: dict[Level, str] = {
    "static": "the devices draw them however little they do, so more work at once shares them",
    "weights": "every step fetches all weights, however many requests share the step",
    "context": "every step fetches what is kept of each request's text, which no batch shares",
    "arithmetic": "the operations themselves, which a larger batch does not make fewer",
    "links": "devices tell each other what they found, twice in each layer",
}


def because(run: Run, levels: Sequence[Group], levers: Sequence[Lever]) -> tuple[str, ...]:
    """What takes most, why, and what to do first."""
    names = {text: level for level, text in LEVELS.items()}
    first = levels[0]
    told = [
        (
            f"At {_count(float(run.batch))} at once, {_level(first.name)} take {first.share:.0%} of the "
            f"joules: {_REASONS[names[first.name]]}."
        )
    ]
    if len(levels) > 1:
        second = levels[1]
        told.append(f"Next come {_level(second.name)} with {second.share:.0%}.")
    for same, start in ((True, "Without changing an answer"), (False, "If answers may change")):
        best = next((lever for lever in levers if lever.same_answers is same), None)
        if best is not None:
            told.append(f"{start}: {best.words}.")
    return tuple(told)


def _count(batch: float) -> str:
    return "one request" if batch == 1 else f"{batch:g} requests"


def _level(name: str) -> str:
    return {"arithmetic": "operations", "between devices": "links between devices"}.get(name, name)
