"""The job: bring both models, look at decisions, score slices, compare. What is finished is kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from negawatt.actions.agree import work as tasks
from negawatt.actions.agree.work import Side
from negawatt.actions.journal import Journal
from negawatt.actions.optimize import memory
from negawatt.actions.optimize.folder import claimed
from negawatt.actions.optimize.order import Tools, fingerprint
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.decisions.uneven import Excess, Moments, uneven
from negawatt.models.agreement import (
    Agreed,
    Agreement,
    Example,
    SliceLoss,
    agreements,
    rank,
    same_choice,
)
from negawatt.models.attribution import Attributed
from negawatt.models.probes import Probe, Slice
from negawatt.models.slices import Scored

_VERSION = 1  # of the steps; results of another one are not reused
_SHOWN = 6  # examples
_LEAST = 8  # decisions from which an interval means something
_GAP = 0.1  # of what is explained may be missed before it is said
_MEASURES = MappingProxyType(
    {None: "perplexity", "embedding": "1 - cosine", "labels": "KL", "tokens": "KL"}
)


@dataclass(frozen=True, slots=True)
class Wish:
    """One `negawatt agree`, as the user asked for it."""

    base: str
    variant: str
    out: Path
    slices: Mapping[str, str]  # name to file; the usual text when empty
    tokens: int = 4096  # scored of every slice
    decisions: int = 24
    context: int = 24  # tokens read for each
    seed: int = 0

    def __post_init__(self) -> None:
        if self.decisions < _LEAST or self.tokens < 1 or self.context < 2:
            raise UsageError(
                f"{self.decisions} decisions after {self.context} tokens, and {self.tokens} tokens "
                "of a slice, tell nothing",
                fix=f"ask for at least {_LEAST} decisions, 2 tokens before each, and a few "
                "thousand tokens of every slice",
            )


@dataclass(frozen=True, slots=True)
class Scores:
    """Of every slice; one value, for the journal."""

    slices: tuple[Scored, ...]


def agree(wish: Wish, tools: Tools) -> Agreed:
    """Tell whether the variant decides as the base does, and whom its losses hit.

    Args:
        wish: What was asked for.
        tools: What there is to work with.

    Raises:
        ModelError, TextError: what was given cannot be used.
        UsageError: the models cannot be compared.
        OutputError: the folder is in use, full or not writable.
        RuntimeUnavailable: Captum is not installed.
    """
    memory.frugal()
    with claimed(wish.out) as work:
        try:
            return _Job(wish, tools, work).run()
        finally:
            tools.workshop.close()


class _Job:
    def __init__(self, wish: Wish, tools: Tools, work: Path) -> None:
        self.wish, self.tools, self.work = wish, tools, work

    def run(self) -> Agreed:
        start, wish = time.perf_counter(), self.wish
        self._bring()
        own = self._look(self.own, self.base, "base", None)
        narrow = self._look(self.own, self.base, "yardstick", own)
        other = self._look(self.journal, self.variant, "variant", own)
        scores = self._scores()
        shown = agreements(self.probes, own, narrow, other, wish.seed)
        return Agreed(
            base=wish.base,
            variant=wish.variant,
            architecture=self.base.architecture,
            measure=_MEASURES[self.base.ending],
            same_choice=None if self.base.ending == "embedding" else same_choice(own, other),
            agreements=shown,
            slices=losses(self.slices, scores, nats=self.base.ending is None),
            examples=self._examples(own, other),
            decisions=len(self.probes),
            context=wish.context,
            seconds=time.perf_counter() - start,
            notes=self._notes(shown),
        )

    def _bring(self) -> None:
        wish, tools, shop = self.wish, self.tools, self.tools.workshop
        shop.change(tools.reference)
        self.base: Side = shop.call(tasks.bring, tools, wish.base, self.work, wish.seed)
        place = self.work / "variant"
        self.variant: Side = shop.call(tasks.bring, tools, wish.variant, place, wish.seed)
        shop.call(tasks.check, tools, self.base, self.variant)
        amounts = wish.tokens, wish.decisions, wish.context
        self.slices: tuple[Slice, ...]
        self.probes: tuple[Probe, ...]
        self.slices, self.probes = shop.call(
            tasks.read, tools, self.base, wish.slices, amounts, wish.seed
        )
        facts = (
            _VERSION,
            self.base.stamp,
            [(one.name, one.windows.tolist()) for one in self.slices],
            [str(one) for one in self.probes],
            tools.versions,
        )
        # The base is looked at once, however many variants are set beside it.
        self.key = fingerprint(*facts)
        self.kept = self.work / f"agree-{self.key[:12]}"
        self.own = Journal(self.kept, self.key)
        other = fingerprint(self.key, self.variant.stamp)
        self.journal = Journal(self.kept / other[:12], other)

    def _look(
        self, journal: Journal, side: Side, stage: str, base: Attributed | None
    ) -> Attributed:
        tools, shop = self.tools, self.tools.workshop
        choices = None if base is None else base.choices

        def look() -> Attributed:
            shop.change(tools.reference, model=side.folder)
            return shop.call(tasks.look, tools, side, self.probes, choices, stage)

        return journal.step(stage, Attributed, look)

    def _scores(self) -> tuple[Scored, ...]:
        tools, shop = self.tools, self.tools.workshop

        def score() -> Scores:
            shop.change(tools.reference, model=self.base.folder)
            given = (self.base, self.variant, self.slices, self.kept, self.key)
            return Scores(shop.call(tasks.score, tools, *given))

        return self.journal.step("slices", Scores, score).slices

    def _examples(self, own: Attributed, other: Attributed) -> tuple[Example, ...]:
        """Decisions from the most alike to the least, evenly between."""
        pairs = list(zip(own.gradients, other.gradients, strict=True))
        ranks = [rank(*pair) for pair in pairs]
        order = sorted(range(len(ranks)), key=lambda i: ranks[i])
        count = min(_SHOWN, len(order))
        picked = [order[round(j * (len(order) - 1) / max(1, count - 1))] for j in range(count)]
        rows = [(*self.probes[i].tokens, own.choices[i], other.choices[i]) for i in picked]
        chosen = self.base.ending in {None, "tokens"}
        shop, tools = self.tools.workshop, self.tools
        told = shop.call(tasks.words, tools, self.base, rows) if picked else []
        found = []
        for i, text in zip(picked, told, strict=True):
            first, second = text[-2:] if chosen else (str(own.choices[i]), str(other.choices[i]))
            if self.base.ending == "embedding":
                first = second = ""
            found.append(
                Example(self.probes[i].slice, tuple(text[:-2]), first, second, *pairs[i], ranks[i])
            )
        return tuple(found)

    def _notes(self, shown: tuple[Agreement, ...]) -> tuple[str, ...]:
        notes = [
            f"Integrated gradients miss {one.gap:.0%} of what they are to explain, in the median: "
            "take their ranks with that much salt."
            for one in shown
            if one.gap > _GAP
        ]
        steps = (*self.own.steps, *self.journal.steps)
        kept = [step.name for step in steps if step.resumed]
        return (*notes, *([f"Kept from an earlier run: {', '.join(kept)}."] if kept else []))


def losses(
    slices: tuple[Slice, ...], scores: tuple[Scored, ...], *, nats: bool
) -> tuple[SliceLoss, ...]:
    """Every slice's loss, and whether it stands out among the others."""
    above = _above([one.moments for one in scores])
    changed = _above([one.kl_moments for one in scores])
    found = []
    for i, (part, one) in enumerate(zip(slices, scores, strict=True)):
        excess = above[i] if above else None
        found.append(
            SliceLoss(
                name=part.name,
                told=part.told,
                tokens=one.tokens,
                loss=one.loss,
                kl=one.kl,
                same=one.same,
                excess=None if excess is None else _told(excess, one, nats=nats),
                p=None if excess is None else excess.p,
                kl_p=changed[i].p if changed else None,
            )
        )
    return tuple(found)


def _told(excess: Excess, one: Scored, *, nats: bool) -> Estimate:
    return Estimate(
        value=excess.value,
        low=excess.low,
        high=excess.high,
        unit="nat/token" if nats else one.loss.unit,
        kind=Kind.MEASURED,
        source="mean loss less that of all slices, 95 % Welch t",
        boundary="model",
    )


def _above(moments: Sequence[tuple[float, float, int] | None]) -> tuple[Excess, ...]:
    """Every slice beside the mean of all; nothing where there is one, or a figure is unknown."""
    known = [Moments(*one) for one in moments if one is not None]
    return uneven(known) if len(known) == len(moments) > 1 else ()
