"""A file of hours that a replay runs through, and the words that ask for one."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

AT = datetime(2020, 6, 1, 8, tzinfo=UTC)


def hours_file(folder: Path) -> Path:
    """Three weeks before and one after: dirty at night, clean at noon."""
    path = folder / "hours.csv"
    first = AT - timedelta(days=21)
    first = first.replace(hour=0)
    lines = ["time,value"]
    for hour in range(28 * 24):
        moment = first + timedelta(hours=hour)
        value = 300 + 200 * math.cos(2 * math.pi * moment.hour / 24)
        lines.append(f"{moment:%Y-%m-%dT%H:%MZ},{value:.1f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def replay(folder: Path, speed: float = 20_000) -> list[str]:
    """Options that replay it."""
    words = ["--zone", "DE", "--provider", str(hours_file(folder))]
    return [*words, "--at", f"{AT:%Y-%m-%dT%H:%MZ}", "--speed", f"{speed:g}"]
