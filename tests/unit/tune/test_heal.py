"""A changed model learns from its base: answers, hidden states, and under a bound on joules."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, random_decoder

from negawatt.compress.pruning.answers import Answering, unlike
from negawatt.compress.pruning.surgery import without
from negawatt.core.errors import UsageError
from negawatt.tune import heal
from negawatt.tune.budget import Budget
from negawatt.tune.lesson import STATES, Lesson

WAY = Answering("logits", "", keyed=True)
WINDOWS = np.random.default_rng(3).integers(3, VOCABULARY, (8, 32))
GONE = (1,)
ANY = Budget(seconds=60.0)


def pair(family: str = "llama") -> tuple[Any, Any]:
    """A base of three blocks, and the same without the middle one."""
    base = random_decoder(family, num_hidden_layers=3)
    student = copy.deepcopy(base)
    without(student, GONE)
    return student, base


def learner(lesson: Lesson, place: Path, family: str = "llama") -> Any:
    return heal._Learner((*pair(family), GONE), WAY, lesson, place / "state")


def states_apart(one: Any, tokens: torch.Tensor) -> float:
    with torch.no_grad():
        _, own = WAY.thought(one._model, tokens)
        _, theirs = WAY.thought(one._base, tokens)
        return float(unlike(own, theirs, GONE))


def answers_apart(one: Any, tokens: torch.Tensor) -> float:
    with torch.no_grad():
        return float(WAY.apart(WAY.said(one._model, tokens), WAY.said(one._base, tokens)))


@pytest.mark.parametrize("how", ["weights", "lora"])
@pytest.mark.parametrize("states", [0.0, 1.0])
def test_the_loss_goes_down_and_the_base_stays(how: str, states: float, tmp_path: Path) -> None:
    one = learner(Lesson(how, ANY, states=states), tmp_path)
    before = {name: value.clone() for name, value in one._base.state_dict().items()}
    tokens = torch.from_numpy(WINDOWS)
    first = float(one.loss(tokens).detach())
    for _ in range(40):
        one._step(tokens, 0.0)
    assert float(one.loss(tokens).detach()) < 0.9 * first
    for name, value in one._base.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert all(value.grad is None for value in one._base.parameters())


def test_hidden_states_are_learned_when_they_count(tmp_path: Path) -> None:
    tokens = torch.from_numpy(WINDOWS)
    apart = {}
    for weight in (0.0, 3.0):
        one = learner(Lesson("weights", ANY, states=weight), tmp_path)
        start = states_apart(one, tokens), answers_apart(one, tokens)
        for _ in range(40):
            one._step(tokens, 0.0)
        apart[weight] = states_apart(one, tokens)
        assert answers_apart(one, tokens) < start[1]
    assert apart[3.0] < start[0]
    assert apart[3.0] < apart[0.0]


@pytest.mark.parametrize("family", ["gemma3_text", "gpt_neox", "phi", "qwen3_moe"])
def test_every_family_tells_its_states(family: str, tmp_path: Path) -> None:
    one = learner(Lesson("weights", ANY, states=1.0), tmp_path, family)
    tokens = torch.from_numpy(WINDOWS[:2])
    found, states = WAY.thought(one._base, tokens)
    torch.testing.assert_close(found, WAY.said(one._base, tokens))
    assert len(states) == 4  # what enters three blocks, and what leaves the last
    loss = one.loss(tokens)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert all(
        value.grad is None or bool(value.grad.isfinite().all()) for value in one._moving.values()
    )


def test_a_block_that_stays_is_to_be_given_what_it_was_given_in_the_base() -> None:
    base = [torch.full((1, 2, 4), float(number + 1)) for number in range(4)]
    assert float(unlike([base[0], base[2], base[3]], base, GONE)) == 0
    assert float(unlike([base[0], base[1], base[3]], base, GONE)) > 0
    assert float(unlike(base, base)) == 0
    with pytest.raises(ValueError, match="longer"):
        unlike(base[:2], base, GONE)


def test_places_with_large_states_count_no_more_than_others() -> None:
    wanted = torch.ones(1, 4, 8)
    wanted[0, 0] = 1e4
    off = wanted.clone()
    off[0, 0] *= 1.1
    elsewhere = wanted.clone()
    elsewhere[0, 1] *= 1.1
    given = [wanted, wanted]
    one, other = (float(unlike([wanted, found], given)) for found in (off, elsewhere))
    assert one == pytest.approx(other, rel=1e-3)


def test_nobody_asked_is_answers_alone() -> None:
    assert Lesson("weights", ANY).states == STATES


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match="hidden states"):
        Lesson("weights", ANY, states=weight)


class Idle:
    """A window that sees a machine at rest: no CPU time, and 10 W all the while."""

    def __init__(self, name: str) -> None:
        assert name == "heal"
        self._since = 0.0

    def __enter__(self) -> Any:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def result(self) -> Any:
        wall = time.perf_counter() - self._since
        return SimpleNamespace(wall_s=wall, energy=SimpleNamespace(value=10.0 * wall))


def test_joules_at_rest_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget of energy ends even when no CPU time is spent on it."""
    monkeypatch.setattr(heal, "measure", Idle)
    one = learner(Lesson("weights", Budget(joules=2.0)), tmp_path)
    monkeypatch.setattr(one, "_step", lambda *_: time.sleep(0.01))
    start = time.perf_counter()
    one.learn(WINDOWS, lambda share: None)
    assert time.perf_counter() - start < 20  # it did end
    assert 2.0 <= one.joules < 4.0


def test_what_earlier_runs_spent_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heal, "measure", Idle)
    first = learner(Lesson("weights", Budget(joules=50.0)), tmp_path)
    first._seconds, first.joules = 4.9, 49.0
    first._save()
    again = learner(Lesson("weights", Budget(joules=50.0)), tmp_path)
    monkeypatch.setattr(again, "_step", lambda *_: time.sleep(0.01))
    told: list[float] = []
    again.learn(WINDOWS, told.append)
    assert min(told) >= 0.98
    assert again.joules >= 50.0


def test_all_joules_of_a_real_window_are_counted(tmp_path: Path) -> None:
    """With whatever this machine has: a counter, or the band with its power at rest."""
    one = learner(Lesson("weights", Budget(seconds=0.5)), tmp_path)
    steps, tokens = one.learn(WINDOWS, lambda share: None)
    assert steps > 0
    assert tokens > 0
    assert one.joules > 0
