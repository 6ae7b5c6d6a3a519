"""The job for encoders: other texts and other figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.prune import work as tasks
from negawatt.actions.prune.job import Prune
from negawatt.actions.quantise.encoder import EncoderJob, check_task, usual_task
from negawatt.actions.quantise.encoder_work import read_all, read_windows
from negawatt.compress.pruned import no_heads, no_vocabulary
from negawatt.core.errors import TextError
from negawatt.models.encoder import ending_of
from negawatt.models.likeness import Answers, Likeness, likeness, read_task
from negawatt.models.source import ModelSource


class PruneEncoder(Prune):
    """Fewer channels and blocks in an encoder."""

    preparing = staticmethod(EncoderJob.preparing)
    phases = ("reading",)
    kind = Likeness

    def read(self, source: ModelSource) -> None:
        """The base's own answers, and the journal that belongs to all of it."""
        tools, shop = self.tools, self.tools.workshop
        if self.wish.cut.heads < 1:
            raise no_heads(source.architecture)
        if self.wish.cut.vocabulary is not None:
            raise no_vocabulary(source.architecture)
        shop.change(tools.reference, model=None)
        self.task = self.wish.task or usual_task(tools, source)
        self.examples = read_task(self.task) if self.task else []
        check_task(self.examples, source.architecture)
        given = (self.order, source)
        windows, self.held_out, self.told = shop.call(learning_windows, tools, *given)
        self.open_journal(windows, self.told, [str(one) for one in self.examples])
        asked = (source, self.base, self.held_out, self.examples)
        self.said: Answers = shop.call(read_all, tools, *asked)

    def graded(self, source: ModelSource, place: Path) -> tuple[Any, ...]:
        """What is to be called to grade it."""
        about = (
            ending_of(source.architecture),
            self.task.name if self.task else "",
            self.held_out.size,
            self.told,
        )
        given = (source, self.held_out, self.examples, self.said, about, place)
        return (grade_encoder, self.tools, *given)


# ------------------------------------------------------------------- what workers do


def learning_windows(tools: Tools, order: Order, source: ModelSource) -> Any:
    """Windows to learn from, as many as the text has, windows to hold out, and what they are."""
    from dataclasses import replace

    for tokens in tasks.LENGTHS:
        if tokens <= order.effort.calibration_tokens:
            break
        longer = replace(order, effort=replace(order.effort, calibration_tokens=tokens))
        try:
            return read_windows(tools, longer, source)
        except TextError:
            continue
    return read_windows(tools, order, source)


def grade_encoder(  # what is asked, of whom, and what was said before
    tools: Tools,
    source: ModelSource,
    windows: Any,
    examples: Any,
    said: Answers,
    about: Any,
    place: Path,
) -> Likeness:
    """What a changed encoder says, beside what its base said."""
    tasks.built(tools, source, place)
    found = read_all(tools, source, place, windows, examples, "grade")
    return likeness(said, found, examples, about)
