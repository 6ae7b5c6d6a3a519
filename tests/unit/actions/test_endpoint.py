"""A served model beside its base: what it loses is told, and one that loses too much is said so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from job_sample import some_order, some_tools
from rich.console import Console
from vllm_server import VllmServer

from negawatt.actions.endpoint import Served, compare_served
from negawatt.actions.optimize import stages
from negawatt.core.errors import UsageError
from negawatt.core.protocols import Likelihoods, RunOptions
from negawatt.reports.served import show


class Behind:
    """A door with the model itself behind it, or one with other logits."""

    name, version, model = "vllm", "0.11.0", "small"

    def __init__(self, session: Any, warmth: float = 1.0, context: int | None = None) -> None:
        self.session, self.warmth, self.context = session, warmth, context
        self.longest = 0

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        return self.session.stream(prompt, max_new=max_new, stop=stop)

    def likelihoods(self, tokens: Sequence[int]) -> Likelihoods:
        self.longest = max(self.longest, len(tokens))
        self.session.reset()
        logits = self.warmth * self.session.forward(np.array([tokens]))[0].astype(np.float64)
        told = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return Likelihoods(told[np.arange(len(tokens) - 1), tokens[1:]], logits[:-1].argmax(-1))


def served(story: Any, folder: Path, **how: Any) -> tuple[Served, Behind]:
    tools = some_tools(folder / "cache")
    order = some_order(story.model, story.text, folder / "out")
    work = folder / "work"
    work.mkdir(parents=True)
    source = stages.prepared(tools, order, work)
    tools.reference.convert(source.folder, folder / "theirs")
    # Read as the base is read, with the same rounding; single tokens are for the pace alone.
    with tools.reference.open(folder / "theirs", RunOptions(steps="read")) as session:
        door = Behind(session, **how)
        return compare_served(order, tools, work, source, (door, 320)), door


def test_the_base_itself_loses_nothing(
    story: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = served(story, tmp_path)
    assert found.loss.value == pytest.approx(
        0, abs=1e-3
    )  # read in windows of other lengths, in bfloat16
    assert found.top1.value > 0.99
    assert found.within
    assert found.perplexity.value == pytest.approx(found.base_perplexity.value, rel=1e-3)
    assert found.tokens >= 300
    assert found.sample
    show(found, Console(width=120))
    assert "served by vllm 0.11.0" in capsys.readouterr().out


def test_a_worse_one_is_told_with_an_interval(story: Any, tmp_path: Path) -> None:
    found, _ = served(story, tmp_path, warmth=3.0)
    assert found.loss.low > found.max_loss
    assert not found.within
    assert found.top1.value > 0.99  # it would still say the same


def test_texts_are_as_long_as_the_server_takes(story: Any, tmp_path: Path) -> None:
    assert served(story, tmp_path / "a", context=80)[1].longest == 79
    with pytest.raises(UsageError, match="too few"):
        served(story, tmp_path / "b", context=40)


def test_the_command_asks_a_server(
    story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another vocabulary is behind this one, which is said in the server's words."""
    from negawatt.cli.endpoint import command

    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NEGAWATT_ENDPOINT_KEY", "s3cret")
    server = VllmServer(key="s3cret")
    try:
        words = [server.address, "--base", str(story.model), "--tokens", "128", "--json"]
        result = CliRunner().invoke(command, words)
    finally:
        server.close()
    assert isinstance(result.exception, UsageError)
    assert "too few" in str(result.exception) or "vocabulary" in str(result.exception)


def test_an_engine_behind_a_door_is_not_one_to_optimise_for() -> None:
    from negawatt import settings

    with pytest.raises(UsageError, match="negawatt endpoint") as refused:
        settings.load({"run.runtime": "vllm"})
    assert "HTTP door" in str(refused.value)
