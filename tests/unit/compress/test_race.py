"""Sessions that take turns are compared fairly, and figures say how sure they are."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from engine_sample import HandClock
from hypothesis import given
from hypothesis import strategies as st

from negawatt.compress.race import Laps, centre, race, ratio
from negawatt.core.estimate import Kind
from negawatt.core.records import Workload

VOCABULARY = 50


class Paced:
    """A session that takes a fixed time per token, as long as the machine is in its usual mood."""

    memory_bytes = 0

    def __init__(self, clock: Mood, prefill: float, decode: float) -> None:
        self.clock, self.prefill, self.decode = clock, prefill, decode
        self.calls: list[tuple[str, tuple[int, ...], int | None]] = []
        self.fresh = False

    def reset(self) -> None:
        self.fresh = True

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        given = np.asarray(tokens)
        assert given.min() >= 0
        assert given.max() < VOCABULARY
        self.calls.append(("prefill" if self.fresh else "decode", given.shape, keep))
        self.clock.take(given.size * (self.prefill if self.fresh else self.decode))
        self.fresh = False
        logits = np.zeros((given.shape[0], keep or given.shape[1], VOCABULARY), np.float32)
        logits[..., 7] = 1.0
        return logits


class Mood(HandClock):
    """A machine that gets slower as it works; a second core makes walls half of CPU time."""

    def __init__(self, drift: float = 0.0) -> None:
        super().__init__()
        self.drift = drift

    def take(self, seconds: float) -> None:
        self.cpu_s += seconds * (1 + self.drift * self.cpu_s)

    def monotonic(self) -> float:
        return self.cpu_s / 2


def run(
    drift: float, workload: Workload, *speeds: tuple[float, float], rounds: int = 5
) -> tuple[dict[str, Laps], list[Paced]]:
    clock = Mood(drift)
    sessions = [Paced(clock, *speed) for speed in speeds]
    laps = race(
        {str(i): session for i, session in enumerate(sessions)},  # type: ignore[dict-item]
        workload,
        rounds=rounds,
        decode_tokens=4,
        vocabulary=VOCABULARY,
        clock=clock,
    )
    return laps, sessions


@pytest.mark.parametrize("batch", [1, 3])
def test_times_are_per_token_and_walls_per_prompt_and_step(batch: int) -> None:
    laps, _ = run(0.0, Workload(20, 10, batch), (0.001, 0.01))
    one = laps["0"]
    assert one.prefill_cpu == pytest.approx([0.001] * 5)
    assert one.decode_cpu == pytest.approx([0.01] * 5)
    assert one.prefill_wall == pytest.approx([0.001 * 20 * batch / 2] * 5)
    assert one.decode_wall == pytest.approx([0.01 * batch / 2] * 5)


def test_each_reads_the_prompt_and_writes_what_it_was_asked_for() -> None:
    _, sessions = run(0.0, Workload(20, 10, 2), (0.001, 0.01), (0.001, 0.01), rounds=3)
    prompt, token = ("prefill", (2, 20), 1), ("decode", (2, 1), 1)
    for session in sessions:
        # One uncounted turn comes first; a reply ends with the turn that reaches its 10 tokens.
        assert session.calls == [*[prompt] * 4, prompt, *[token] * 12, prompt, *[token] * 4]


def test_the_first_round_does_not_count() -> None:
    clock = Mood()

    class Cold(Paced):
        def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
            if not self.calls:
                self.clock.take(1000.0)
            return super().forward(tokens, keep=keep)

    laps = race(
        {"a": Cold(clock, 1.0, 1.0)},  # type: ignore[dict-item]
        Workload(4, 4),
        rounds=2,
        decode_tokens=2,
        vocabulary=VOCABULARY,
        clock=clock,
    )
    assert laps["a"].prefill_cpu == (1.0, 1.0)


def test_on_a_machine_that_slows_down_the_ratio_is_still_right() -> None:
    laps, _ = run(0.2, Workload(10, 10), (0.01, 0.02), (0.01, 0.04), rounds=9)
    first, last = laps["0"].decode_cpu[0], laps["0"].decode_cpu[-1]
    assert last > 1.3 * first  # the drift is no small one
    found = ratio(laps["0"].decode_cpu, laps["1"].decode_cpu)
    assert found.value == pytest.approx(0.5, rel=0.05)


@given(st.floats(0.1, 10), st.integers(2, 12), st.integers(0, 10_000), st.sampled_from([0.01, 0.1]))
def test_a_known_ratio_lies_in_its_interval(
    true: float, rounds: int, seed: int, noise: float
) -> None:
    # A drift that both share, and a constant ratio: nothing is left to doubt.
    mood = np.exp(noise * np.random.default_rng(seed).normal(size=rounds))
    found = ratio((true * mood).tolist(), mood.tolist())
    assert found.value == pytest.approx(true, rel=1e-9)
    assert found.low == pytest.approx(true, rel=1e-6)
    assert found.high == pytest.approx(true, rel=1e-6)
    assert found.kind is Kind.MEASURED


@pytest.mark.parametrize("rounds", [3, 4, 5, 7, 15])
def test_intervals_of_noisy_ratios_hold_the_truth_about_as_often_as_they_say(rounds: int) -> None:
    draw = np.random.default_rng(rounds)
    held = 0
    for _ in range(400):
        noise = draw.normal(0, 0.05, (2, rounds))
        found = ratio((0.7 * np.exp(noise[0])).tolist(), np.exp(noise[1]).tolist())
        held += found.low <= 0.7 <= found.high
    assert held / 400 >= 0.90


def test_one_disturbed_round_moves_the_ratio_little() -> None:
    numerator = [1.0, 1.01, 0.99, 1.0, 30.0, 1.0, 1.0]
    assert ratio(numerator, [2.0] * 7).value == pytest.approx(0.5, rel=0.02)


def test_turning_the_ratio_round_turns_its_interval_round() -> None:
    a, b = [1.0, 1.2, 0.9, 1.1], [2.0, 2.1, 2.2, 1.8]
    one, other = ratio(a, b), ratio(b, a)
    assert one.value == pytest.approx(1 / other.value)
    assert one.low == pytest.approx(1 / other.high)


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30))
def test_the_centre_is_the_median_inside_what_was_seen(values: list[float]) -> None:
    found = centre(values, unit="s")
    assert found.value == pytest.approx(float(np.median(values)))
    assert min(values) <= found.low <= found.value <= found.high <= max(values)
    assert found.unit == "s"


@pytest.mark.parametrize("rounds", [6, 7, 9, 12, 20, 40])
def test_intervals_of_centres_hold_the_median_about_as_often_as_they_say(rounds: int) -> None:
    draw = np.random.default_rng(rounds)
    truth = 1.0  # the median of a log-normal
    held = 0
    for _ in range(600):
        found = centre(draw.lognormal(0, 0.5, rounds).tolist(), unit="s")
        held += found.low <= truth <= found.high
    assert held / 600 >= 0.93


def test_more_rounds_narrow_the_interval() -> None:
    draw = np.random.default_rng(0)
    widths = [
        float(
            np.median(
                [
                    e.high - e.low
                    for e in (
                        centre(draw.lognormal(0, 0.3, n).tolist(), unit="s") for _ in range(100)
                    )
                ]
            )
        )
        for n in (5, 20, 80)
    ]
    assert all(b < a for a, b in itertools.pairwise(widths))
