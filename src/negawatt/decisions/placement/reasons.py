"""Why a class goes where it goes, in sentences.

Costs that are compared hold the watts and the making of the time that a server takes, as if it were kept as busy as
it may be: that is what one more request costs where servers can be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from negawatt.decisions.placement.options import Option, Stage
from negawatt.decisions.placement.program import sent_cost, server_cost, stage_cost
from negawatt.decisions.placement.records import Aim, Fleet

_SHOWN = 0.05  # share of a class below which a route is not worth a sentence


def reasons(
    fleet: Fleet, options: Sequence[Option], taken: Sequence[tuple[Option, float]], aim: Aim
) -> tuple[str, ...]:
    """One sentence for each route that matters, with what it is chosen over."""
    scale = _Scale(fleet.busy, aim)
    return tuple(
        scale.sentence(option, share, options) for option, share in taken if share >= _SHOWN
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """What is compared, and at what share of a server's time."""

    busy: float
    aim: Aim

    def sentence(self, option: Option, share: float, options: Sequence[Option]) -> str:
        part = "" if share > 1 - _SHOWN else f" ({share:.0%} of it)"
        asked, reading, writing = option.asked, option.reading, option.writing
        told = f"{asked.name}{part} stays on {writing.machine.name}"
        if option.split:
            alike = reading.machine.name == writing.machine.name
            names = [
                f"{stage.machine.name} ({stage.devices} a server)" if alike else stage.machine.name
                for stage in (reading, writing)
            ]
            told = (
                f"{asked.name}{part} is read on {names[0]} and written on {names[1]}: sending "
                f"{option.sent_bytes / 1e6:.3g} MB costs "
                f"{self.amount(sent_cost(option, self.aim))}"
            )
        own = [other for other in options if other.asked.name == asked.name]
        compared = (
            self.compared("writing", writing, [other.writing for other in own]),
            self.compared("reading", reading, [other.reading for other in own]),
        )
        return f"{told}; " + "; ".join(compared) + "."

    def compared(self, verb: str, stage: Stage, others: Sequence[Stage]) -> str:
        """What a stage costs there, and at the best other machine."""
        here = self.cost(stage)
        told = f"{verb} costs {self.amount(here)} there"
        there = [other for other in others if other.machine.name != stage.machine.name]
        if not there:
            return f"{told}, and no other machine can"
        best = min(there, key=self.cost)
        if self.cost(best) >= here:
            return f"{told}, {self.amount(self.cost(best))} on {best.machine.name}"
        return (
            f"{told}, though {self.amount(self.cost(best))} on {best.machine.name}, which would "
            "leave a server half idle or is full"
        )

    def cost(self, stage: Stage) -> float:
        """Of one request, with its part of a server that is on. [J] or [gCO2e]"""
        on = server_cost(stage.machine, stage.devices, self.aim) * stage.busy_s / self.busy
        return stage_cost(stage, self.aim) + on

    def amount(self, value: float) -> str:
        return f"{value:.3g} J" if self.aim == "energy" else f"{1e3 * value:.3g} mg"
