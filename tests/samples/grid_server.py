"""What the fakes of grid providers have in common: a world that is known, and its troubles."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from loopback import Device, Reply

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GAP = datetime(2026, 3, 9, 5, tzinfo=UTC)  # an hour that nobody has a value for


def truth(at: datetime) -> int:
    """What happened in the hour of a time; no two hours that follow each other are alike."""
    hours = (at - datetime(2026, 1, 1, tzinfo=UTC)) // HOUR
    return round(300 + 100 * math.sin(math.tau * hours / 24)) + hours % 7


def foreseen(at: datetime) -> int:
    """What was foreseen of it."""
    return truth(at) + 11


def at_of(text: str) -> datetime:
    """A time of a question; one without its zone is UTC."""
    told = datetime.fromisoformat(text)
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def steps(start: datetime, end: datetime, step: timedelta) -> list[datetime]:
    """The steps that begin from `start` to `end`, both included."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = -((midnight - start) // step)
    return [midnight + n * step for n in range(first, (end - midnight) // step + 1)]


class GridServer(Device):
    """A provider. `troubles` are answered first, one for each question."""

    key = "s3cret-key"

    def __init__(self) -> None:
        self.troubles: list[Reply] = []
        super().__init__()

    @property
    def url(self) -> str:
        return f"http://{self.place}"

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Reply:
        if self.troubles:
            return self.troubles.pop(0)
        parts = urlsplit(path)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        return self.reply(method, parts.path, pairs, headers, body)

    def reply(
        self,
        method: str,
        path: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
        body: Any,
    ) -> Reply:
        raise NotImplementedError
