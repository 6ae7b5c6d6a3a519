"""The terminal report fits, is plain in a pipe, and leaves nothing out."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from outcome_sample import sample_outcome
from rich.console import Console

from negawatt.core.outcome import Outcome
from negawatt.reports import show


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return sample_outcome()


def _printed(
    outcome: Outcome, *, width: int, terminal: bool = True, encoding: str = "utf-8"
) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(
        file=stream, width=width, force_terminal=terminal,
        color_system="truecolor" if terminal else None, legacy_windows=False,
    )  # fmt: skip
    show(outcome, console)
    return raw.getvalue().decode(encoding)


def _visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [60, 80, 100, 110, 120, 200])
def test_no_line_is_wider_than_the_terminal(outcome: Outcome, width: int) -> None:
    lines = _visible(_printed(outcome, width=width)).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_variant_and_interval_is_there_uncut(outcome: Outcome, width: int) -> None:
    text = _visible(_printed(outcome, width=width))
    for point in outcome.points:
        assert point.variant.name in text
    joined = text.replace(" to ", "…")
    assert "0.092…0.317" in joined  # energy of the chosen variant
    assert "+0.52…+0.92" in joined  # its loss
    assert "0.889…0.918" in joined  # against uniform int8
    assert "+4.8 %" in text  # predicted against found
    if width >= 100:
        assert not re.search(r"…(\s|$)", text)  # nothing was cut for want of room


def test_the_story_is_told_in_full(outcome: Outcome) -> None:
    text = " ".join(_visible(_printed(outcome, width=120)).split())
    assert outcome.decision.because in text
    for check in outcome.checks:
        assert check.name in text
        assert check.detail in text
    assert outcome.facts.notes[0] in text
    assert outcome.sample_prompt + outcome.sample_text in text
    assert "8 min 39 s in 7 steps (1 taken from an earlier run)" in text
    assert "Paid back after 240 000 tokens" in text
    assert "no-counter power band" in text  # where the joules come from
    for artifact in outcome.artifacts:
        assert artifact in text


def test_modelled_figures_carry_their_sign_and_measured_ones_none(outcome: Outcome) -> None:
    text = _visible(_printed(outcome, width=120))
    assert "0.167~" in text
    assert "0.903~" not in text


def test_a_pipe_gets_no_escape_codes_and_no_rules(outcome: Outcome) -> None:
    text = _printed(outcome, width=40, terminal=False)
    assert "\x1b" not in text
    assert "─" not in text
    assert "0.889…0.918" in text  # a pipe has a fixed width, not the 40 columns behind it


def test_an_ascii_output_gets_ascii(outcome: Outcome) -> None:
    text = _printed(outcome, width=110, terminal=False, encoding="ascii")
    assert text.isascii()
    assert "0.889:0.918" in text
    assert "ok numerics gate" in text
    assert "FAILED frugal search converged" in text


def test_nothing_of_the_model_is_read_as_markup(outcome: Outcome) -> None:
    odd = replace(outcome, sample_text="[bold]not markup[/bold] [/] :smile:")
    assert "[bold]not markup[/bold] [/] :smile:" in _visible(_printed(odd, width=120))


def test_an_outcome_without_payback_notes_or_layers_is_still_told(outcome: Outcome) -> None:
    bare = replace(
        outcome, payback_tokens=None, layers=(), before=(), after=(), checks=(), steps=(),
        facts=replace(outcome.facts, notes=()),
    )  # fmt: skip
    text = _visible(_printed(bare, width=120))
    assert "Paid back" not in text
    assert "Worth knowing" not in text
    assert "searched-2" in text
