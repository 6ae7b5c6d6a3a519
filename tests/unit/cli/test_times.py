"""Lengths and moments on a command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from negawatt.cli.times import length, moment

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30min", 1800),
        ("30m", 1800),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1h30min", 5400),
    ],
)
def test_a_length_is_read(text: str, seconds: float) -> None:
    assert length(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "12", "h", "-3h", "0s", "12 parsecs", "1h and a bit", "9e9d"])
def test_what_is_no_length_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 30min, 12h or 2d"):
        length(text)


def test_a_moment_counts_from_the_start_or_has_its_own_zone() -> None:
    assert moment("+90min", NOON) == NOON + timedelta(minutes=90)
    assert moment("2026-03-29T03:30+02:00", NOON) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_moment_without_a_zone_is_the_machines_own() -> None:
    assert moment("2026-01-05T07:00", NOON) == datetime(2026, 1, 5, 7).astimezone(UTC)


def test_what_is_no_moment_says_how_to_write_one() -> None:
    with pytest.raises(ValueError, match=r"write 2026-12-01T07:00Z, or \+12h"):
        moment("tomorrow", NOON)
