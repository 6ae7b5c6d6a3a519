"""Caches of an engine are compared by what they write, and a worthwhile one is served."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from job_sample import PacedRuntime, PacedSession, some_order, some_tools
from rich.console import Console

from negawatt.actions.caches import Caches, Wish, caches
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.order import Tools
from negawatt.actions.optimize.run import optimize
from negawatt.core.caches import CacheLayout
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions, Session
from negawatt.core.serving import Serving
from negawatt.reports.caches import show

WISH = Wish(contexts=(8, 24), tokens=192)


class Cached(PacedSession):
    """Writes at so many times the usual price, with so much noise on the logits."""

    def __init__(self, inner: Session, clock: Any, todo: Any, price: float, noise: float) -> None:
        super().__init__(inner, clock, todo)
        self._price, self._noise = price, noise
        self._random = np.random.default_rng(0)

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        before = self._clock.cpu_s
        found = super().forward(tokens, keep=keep)
        if tokens.shape[1] > 1:
            return found
        self._clock.cpu_s += (self._price - 1) * (self._clock.cpu_s - before)
        return found + self._noise * self._random.normal(size=found.shape).astype(np.float32)


class Choosing(PacedRuntime):
    """Its own cache has 8 bits; one of 4 is cheaper."""

    caches = {"8": CacheLayout(8, 8), "16": CacheLayout(16, 16), "4": CacheLayout(4, 4)}  # noqa: RUF012
    ways = {"8": (1.0, 0.0), "own": (1.0, 0.0), "16": (1.1, 0.0), "4": (0.8, 0.05)}  # noqa: RUF012

    def __init__(self, clock: Any, name: str = "choosing") -> None:
        super().__init__(clock, name)
        self.opened: list[str] = []

    def open(self, artifact: Path, options: RunOptions) -> Session:
        self.opened.append(options.cache)
        inner: Any = super().open(artifact, replace(options, cache="own"))
        return Cached(inner._inner, self.clock, inner._todo, *self.ways[options.cache])


def tools_with(cache: Path, *kinds: type[PacedRuntime]) -> Tools:
    tools = some_tools(cache)
    made = tuple(kind(tools.clock, kind.__name__.lower()) for kind in kinds)  # type: ignore[arg-type]
    return replace(tools, runtime=made[0], engines=made)


def compared(story: Any, tools: Tools, out: Path) -> Caches:
    order = some_order(story.model, story.text, out)
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    return caches(order, tools, work, stages.prepared(tools, order, work), WISH)


def test_a_cheaper_cache_within_the_loss_is_chosen(
    story: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = tools_with(tmp_path / "cache", Choosing, PacedRuntime)
    found = compared(story, tools, tmp_path / "out")
    (one,) = found.comparisons
    assert found.refused == {"pacedruntime": "it offers no choice of the key-value cache"}
    assert [(r.cache, r.own) for r in one.readings] == [("8", True), ("16", False), ("4", False)]
    four = one.readings[2]
    assert four.kl.value > 0
    assert one.readings[0].kl.value == 0  # no noise, so as true as 16 bits
    assert [cost.context for cost in four.costs] == [8, 24]
    assert four.cost(24).beside_own.value == pytest.approx(0.8)
    assert one.decision.choice == "4"
    assert four.token_bytes == one.readings[1].token_bytes / 4
    show(found, Console(width=160))
    told = capsys.readouterr().out
    assert "8 (its own)" in told
    assert "pacedruntime was left out: it offers no choice" in told


def test_a_finished_engine_is_not_run_again(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", Choosing)
    first = compared(story, tools, tmp_path / "out")
    opened: Any = list(tools.runtime.opened)  # type: ignore[attr-defined]
    again = compared(story, tools, tmp_path / "out")
    assert tools.runtime.opened == opened  # type: ignore[attr-defined]
    assert again == first


def test_without_a_choice_it_is_said_so(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", PacedRuntime)
    with pytest.raises(RuntimeUnavailable, match="offers no choice"):
        compared(story, tools, tmp_path / "out")


def test_optimize_serves_the_cache_that_is_worth_it(story: Any, tmp_path: Path) -> None:
    tools = tools_with(tmp_path / "cache", Choosing)
    order = some_order(story.model, story.text, tmp_path / "out", cache="auto", max_loss=0.4)
    found = optimize(order, tools)
    meant = Serving.read(tmp_path / "out" / found.artifacts["choosing"])
    assert meant.cache == "4"
    assert meant.because.startswith("0.800 times")
    told = next(note for note in found.facts.notes if note.startswith("Cache: 4 bits"))
    assert "8 bits +0.00%" in told
    again = optimize(replace(order, cache="16"), tools)  # by name, whatever was found
    assert Serving.read(tmp_path / "out" / again.artifacts["choosing"]).cache == "16"


def test_a_cache_the_engine_lacks_is_refused_before_any_work(story: Any, tmp_path: Path) -> None:
    for cache, engine in (("8/4", Choosing), ("auto", PacedRuntime)):
        order = some_order(story.model, story.text, tmp_path / "out", cache=cache)
        with pytest.raises(UsageError, match="cache"):
            optimize(order, tools_with(tmp_path / "cache", engine))


@pytest.mark.usefixtures("finished")
def test_the_command_tells_every_cache(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.cli.cache import command

    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    words = [str(story.model), "--runtime", "openvino", "--tokens", "128", "--contexts", "8"]
    result = CliRunner().invoke(command, [*words, "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout.splitlines()[-1])["comparisons"]
    assert [reading["cache"] for reading in one["readings"]] == ["8", "16", "8/4", "4"]
    kl = {reading["cache"]: reading["kl"]["value"] for reading in one["readings"]}
    assert 0 == kl["16"] < kl["8"] < kl["4"]
