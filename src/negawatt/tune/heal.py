"""Teach a changed model to answer as its base does: distillation on plain text.

The base answers, the changed model is moved towards that, and towards the base's hidden states
where that is asked for. No labels are needed, and nothing
is learned that the base does not know. Either all weights of the blocks move, or small
matrices beside them, which are added to the weights at the end (Hu et al. 2022,
arXiv 2106.09685).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from negawatt.compress.pruned import Healing
from negawatt.compress.pruning.answers import Answering, answering, unlike
from negawatt.compress.pruning.folder import opened, write
from negawatt.core.errors import NumericsGateFailed, TextError
from negawatt.meters import measure
from negawatt.tune.lesson import LORA, WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from negawatt.models.source import ModelSource
    from negawatt.tune.lesson import Lesson

_RATES = {WEIGHTS: 1e-4, LORA: 1e-3}  # of AdamW, at the start
_FLOOR = 0.05  # of the rate that is left at the end
_WARM = 20  # steps until the rate is whole
_RANK = 16
_TOKENS = 1_024  # of a step
_CROPS = (1.0, 0.5, 0.25)  # of a window: an encoder is asked for short texts as well
_HELD = 8  # one window in so many is not learned from
_JUDGED = 2_048  # tokens of those that decide whether healing helped
_SAVED = 60.0  # seconds between checkpoints
_NORM = 1.0  # of gradients, at most


def heal(
    student: ModelSource,
    teacher: Path,
    windows: NDArray[np.int64],
    lesson: Lesson,
    out: Path,
    progress: Callable[[float], None] = lambda share: None,
    gone: Sequence[int] = (),
) -> tuple[ModelSource, Healing]:
    """Teach `student` what the model in `teacher` answers, and write it into `out`.

    When the text held back says that it became no better, the student stays as it was. A
    stopped run goes on from its last checkpoint, at most a minute back.

    Args:
        student: A prepared model, left as it is.
        teacher: Folder of its base.
        windows: Text to learn from, int64 [windows, positions].
        lesson: How.
        out: Made when everything is done.
        progress: Told the share of the budget that is used.
        gone: Blocks of the base that the student lacks.

    Raises:
        NumericsGateFailed: the weights stopped being numbers.
    """
    if len(windows) < 2:
        raise TextError("one window of text is too little to heal with", fix="give a longer --text")
    model, base = opened(student.folder), opened(teacher)
    way = answering(model, student.folder)
    held, text = windows[::_HELD], np.delete(windows, np.s_[::_HELD], axis=0)
    held = held[: max(1, _JUDGED // held.shape[1])]
    before = _distance(way, model, base, held)
    start = time.perf_counter()
    learner = _Learner((model, base, gone), way, lesson, out.with_name(f"{out.name}.state"))
    steps, tokens = learner.learn(text, progress)
    after = _distance(way, model, base, held)
    if not np.isfinite(after):
        raise NumericsGateFailed(
            "healing made weights that are no numbers", fix="heal with lora, or leave --heal out"
        )
    seconds = time.perf_counter() - start
    told = Healing(
        how=lesson.how,
        steps=steps,
        tokens=tokens,
        before=before,
        after=after,
        kept=after < before,
        seconds=seconds,
        joules=learner.joules,
        states=lesson.states,
    )
    made = write(student, model, out) if told.kept else student
    learner.forget()
    return made, told


def _distance(way: Answering, model: Any, base: Any, windows: NDArray[np.int64]) -> float:
    found = []
    with torch.no_grad():
        for window in windows:
            tokens = torch.from_numpy(window)[None]
            found.append(float(way.apart(way.said(model, tokens), way.said(base, tokens))))
    return float(np.mean(found))


class _Low(nn.Module):
    """A small matrix beside a weight: nothing at first."""

    def __init__(self, rows: int, cols: int) -> None:
        super().__init__()
        rank = min(_RANK, rows, cols)
        self.down = nn.Parameter(torch.randn(rank, cols) / cols**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.up @ self.down


class _Learner:
    """A model on its way back to its base."""

    def __init__(
        self, models: tuple[Any, Any, Sequence[int]], way: Answering, lesson: Lesson, state: Path
    ) -> None:
        self._model, self._base, self._gone = models
        self._way = way
        self._lesson, self._state = lesson, state
        torch.manual_seed(lesson.seed)
        self._moving = _set_free(self._model, lesson.how)
        self._optimiser = torch.optim.AdamW(
            self._moving.values(), lr=_RATES[lesson.how], weight_decay=0.0, betas=(0.9, 0.98)
        )
        self._steps = self._tokens = 0
        self._seconds = 0.0  # of earlier runs
        self.joules = 0.0  # of all that was learned

    def learn(
        self, windows: NDArray[np.int64], progress: Callable[[float], None]
    ) -> tuple[int, int]:
        """Go on until the budget is used up; returns steps and tokens."""
        self._remember()
        earlier, before, saved = self._seconds, self.joules, time.perf_counter()
        lesson = self._lesson
        with measure("heal") as window:
            while True:
                so_far = window.result  # joules at rest are in it: they are spent on learning too
                self._seconds = earlier + so_far.wall_s
                self.joules = before + so_far.energy.value
                share = lesson.budget.used(self._seconds, self.joules)
                if share >= 1:
                    break
                self._step(self._dealt(windows), share)
                progress(min(1.0, share))
                if time.perf_counter() - saved > _SAVED:
                    self._save()
                    saved = time.perf_counter()
        if lesson.how == LORA:
            _merge(self._model)
        self._model.eval().requires_grad_(requires_grad=False)
        return self._steps, self._tokens

    def forget(self) -> None:
        """Drop the checkpoint: what it led to is written."""
        self._state.unlink(missing_ok=True)

    def _dealt(self, windows: NDArray[np.int64]) -> torch.Tensor:
        """The texts of the next step: the same for the same seed and step."""
        draw = np.random.default_rng([self._lesson.seed, self._steps])
        length = windows.shape[1]
        if not self._way.keyed:
            length = max(4, round(length * float(draw.choice(_CROPS))))
        count = max(1, _TOKENS // length)
        picked = windows[draw.integers(0, len(windows), count)]
        if length < windows.shape[1]:  # between the marks that stand around a text
            at = int(draw.integers(1, windows.shape[1] - length + 1))
            picked = picked[:, [0, *range(at, at + length - 2), -1]]
        return torch.from_numpy(picked)

    def _step(self, tokens: torch.Tensor, share: float) -> None:
        loss = self.loss(tokens)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._moving.values(), _NORM)
        rate = _RATES[self._lesson.how] * min(1.0, (self._steps + 1) / _WARM)
        for group in self._optimiser.param_groups:
            group["lr"] = rate * max(_FLOOR, 1 - share)
        self._optimiser.step()
        self._steps += 1
        self._tokens += tokens.numel()

    def loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """How far the model's answers, and its states where they count, are from the base's."""
        way, weight = self._way, self._lesson.states
        if not weight:
            with torch.no_grad():
                wanted = way.said(self._base, tokens)
            return way.apart(way.said(self._model, tokens), wanted)
        with torch.no_grad():
            wanted, theirs = way.thought(self._base, tokens)
        found, own = way.thought(self._model, tokens)
        return way.apart(found, wanted) + weight * unlike(own, theirs, self._gone)

    def _save(self) -> None:
        partial = self._state.with_name(f"{self._state.name}.partial")
        kept = {
            "weights": {name: one.detach() for name, one in self._moving.items()},
            "optimiser": self._optimiser.state_dict(),
            "told": [self._steps, self._tokens, self._seconds, self.joules],
        }
        torch.save(kept, partial)
        partial.replace(self._state)

    def _remember(self) -> None:
        if not self._state.is_file():
            return
        kept = torch.load(self._state, weights_only=True)
        with torch.no_grad():
            for name, one in self._moving.items():
                one.copy_(kept["weights"][name])
        self._optimiser.load_state_dict(kept["optimiser"])
        self._steps, self._tokens, self._seconds, self.joules = kept["told"]


def _set_free(model: Any, how: str) -> dict[str, nn.Parameter]:
    """What may move, by name: everything in the blocks, or matrices beside their weights."""
    from negawatt.compress.pruning.surgery import blocks_of

    blocks = blocks_of(model)
    if how == LORA:
        linear = [one for one in blocks.modules() if isinstance(one, nn.Linear)]
        for one in linear:
            parametrize.register_parametrization(one, "weight", _Low(*one.weight.shape))
        return {
            name: one
            for name, one in blocks.named_parameters()
            if ".parametrizations." in name and not name.endswith(".original")
        }
    blocks.requires_grad_(requires_grad=True)
    return dict(blocks.named_parameters())


def _merge(model: Any) -> None:
    for one in model.modules():
        if parametrize.is_parametrized(one, "weight"):
            parametrize.remove_parametrizations(one, "weight", leave_parametrized=True)
