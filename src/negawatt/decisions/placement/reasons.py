"""Why a class goes where it goes, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.decisions.placement.options import Option, Stage
from negawatt.decisions.placement.program import weight, work_cost
from negawatt.decisions.placement.records import Aim

_SHOWN = 0.05  # share of a class below which a route is not worth a sentence


def reasons(
    options: Sequence[Option], taken: Sequence[tuple[Option, float]], aim: Aim
) -> tuple[str, ...]:
    """One sentence for each route that matters, with what it is chosen over."""
    return tuple(
        _sentence(option, share, options, aim) for option, share in taken if share >= _SHOWN
    )


def _sentence(option: Option, share: float, options: Sequence[Option], aim: Aim) -> str:
    part = "" if share > 1 - _SHOWN else f" ({share:.0%} of it)"
    asked, reading, writing = option.asked, option.reading, option.writing
    if not option.split:
        told = f"{asked.name}{part} stays on {writing.machine.name}"
    else:
        told = (
            f"{asked.name}{part} is read on {reading.machine.name} and written on "
            f"{writing.machine.name}: sending {option.sent_bytes / 1e6:.3g} MB costs "
            f"{_amount(option.sent_joules * weight(reading.machine, aim), aim)}"
        )
    others = [other for other in options if other.asked.name == asked.name]
    compared = [
        _compared(verb, stage, [getattr(other, field) for other in others], aim)
        for verb, field, stage in (
            ("writing", "writing", writing),
            ("reading", "reading", reading),
        )
    ]
    whole = _amount(work_cost(option, aim), aim)
    return f"{told}; " + "; ".join(filter(None, compared)) + f"; {whole} a request, rest apart."


def _compared(verb: str, stage: Stage, others: Sequence[Stage], aim: Aim) -> str:
    """What a stage costs there, and at the best other machine."""
    own = _whole(stage, aim)
    there = [other for other in others if other.machine.name != stage.machine.name]
    told = f"{verb} costs {_amount(own, aim)} there"
    if not there:
        return f"{told}, and no other machine can"
    best = min(there, key=lambda other: _whole(other, aim))
    other = _whole(best, aim)
    word = "and" if other >= own else "though"
    more = "; it is busy, or would have to be switched on for it" if other < own else ""
    return f"{told}, {word} {_amount(other, aim)} on {best.machine.name}{more}"


def _whole(stage: Stage, aim: Aim) -> float:
    """With the watts, and the making, of the time it takes."""
    made = stage.devices * stage.machine.embodied_g_per_s * stage.busy_s
    joules = stage.joules_with_static * weight(stage.machine, aim)
    return joules + (made if aim == "carbon" else 0.0)


def _amount(value: float, aim: Aim) -> str:
    return f"{value:.3g} J" if aim == "energy" else f"{1e3 * value:.3g} mg"
