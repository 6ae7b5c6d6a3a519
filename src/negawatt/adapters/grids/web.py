"""Questions to a provider over HTTP: patient with those who are busy, brief with those who refuse.

429 and the errors of a server are tried again with growing, scattered waits, or when the
provider says; what it refuses is not. No message holds a key: not the query, not what a provider
echoes.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import (
    BaseHandler,
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from negawatt.core.errors import SignalUnavailable, UsageError

_MOST_BYTES = 1 << 27
_BUSY = frozenset({429, 500, 502, 503, 504})
_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_TOLD = ("message", "error", "detail", "title", "Message")  # where providers put their reasons
_MOST_WORDS = 300

Query = Iterable[tuple[str, str]]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a provider is waited for.

    Args:
        tries: How often it is asked at most.
        timeout_s: For one answer. [s]
        first_s: Wait after the first failure; doubled after each. [s]
        most_s: Longest wait; who asks for a longer one is not waited for. [s]
        sleep: Waits.
        draw: From 0 to 1, so that many who failed together do not come back together.
        clock: Tells now, aware.
    """

    tries: int = 3
    timeout_s: float = 10.0
    first_s: float = 1.0
    most_s: float = 30.0
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random
    clock: Callable[[], datetime] = _now

    def wait_s(self, attempt: int, retry_after: str | None) -> float:
        """Seconds until the next try, the first of which is 0. [s]

        >>> Patience(draw=lambda: 1.0).wait_s(2, None), Patience().wait_s(0, "7")
        (4.0, 7.0)
        """
        if retry_after is not None:
            return self._told(retry_after)
        usual: float = min(self.most_s, self.first_s * 2**attempt) * (0.5 + 0.5 * self.draw())
        return usual

    def _told(self, text: str) -> float:
        """Seconds or a date of HTTP, as seconds from now; the usual wait where it is neither."""
        if re.fullmatch(r"\d+(\.\d+)?", text.strip()):
            return float(text)
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return self.first_s
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - self.clock()).total_seconds())


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # in lower case
    body: bytes

    def json(self) -> Any:
        """The parsed body; None when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _NoRedirect(HTTPRedirectHandler):
    """A key must not follow to another host."""

    def redirect_request(self, *args: Any, **named: Any) -> None:
        return None


@dataclass(slots=True)
class Web:
    """One provider.

    Args:
        name: For people.
        base_url: Where its paths begin.
        remedy: What to do when it refuses: which variable holds the key.
        headers: Sent with each question.
        secrets: Taken out of every message.
        patience: How long it is waited for.

    Raises:
        UsageError: the base is no address of the web.
    """

    name: str
    base_url: str
    remedy: str
    headers: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        fix = "write https://HOST/PATH, or http:// for a server of your own"
        if "@" in parts.netloc:
            raise UsageError(f"{self.name}: its base_url holds a user and a password", fix=fix)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{self.name}: base_url={self.base_url} is no address", fix=fix)

    def get(self, path: str, query: Query = ()) -> Any:
        """The parsed JSON of a GET that succeeds.

        Raises:
            SignalUnavailable: anything else; the message tells what the provider says.
        """
        return self.parsed(self.accepted(self.ask(path, query)), path)

    def parsed(self, answer: Answer, path: str) -> Any:
        """The JSON of an answer.

        Raises:
            SignalUnavailable: it is none.
        """
        found = answer.json()
        if found is None:
            raise self.failed(f"answers {path} with something that is no JSON")
        return found

    def accepted(self, answer: Answer) -> Answer:
        """The answer itself, if it is a success.

        Raises:
            SignalUnavailable: it is none.
        """
        if answer.status in _REFUSED:
            raise SignalUnavailable(
                f"{self.name} refuses ({answer.status}): {self.reason(answer)}", fix=self.remedy
            )
        if answer.status != HTTPStatus.OK:
            raise self.failed(f"answers {answer.status}: {self.reason(answer)}")
        return answer

    def ask(
        self,
        path: str,
        query: Query = (),
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Answer:
        """One question, asked again while the provider is busy; any other status comes back.

        Raises:
            SignalUnavailable: no answer, or it stays busy.
        """
        trouble, wait = "", 0.0
        for attempt in range(max(1, self.patience.tries)):
            if attempt:
                self.patience.sleep(wait)
            try:
                answer = self._once(path, query, headers, body)
            except (OSError, HTTPException) as error:
                told = error.reason if isinstance(error, URLError) else error
                trouble = self.scrubbed(f"does not answer ({type(told).__name__}: {told})")
                wait = self.patience.wait_s(attempt, None)
                continue
            if answer.status not in _BUSY:
                return answer
            trouble = f"answers {answer.status}: {self.reason(answer)}"
            wait = self.patience.wait_s(attempt, answer.headers.get("retry-after"))
            if wait > self.patience.most_s:
                trouble += f"; asks to be left alone for {wait:.0f} s"
                break
        raise self.failed(trouble)

    def _once(
        self, path: str, query: Query, headers: Mapping[str, str] | None, body: Any
    ) -> Answer:
        given = list(query)
        url = f"{self.base_url.rstrip('/')}{path}{f'?{urlencode(given)}' if given else ''}"
        data = None if body is None else json.dumps(body).encode()
        sent = {"Accept": "application/json", **self.headers, **(headers or {})}
        if data is not None:
            sent["Content-Type"] = "application/json"
        request = Request(url, data, sent)  # noqa: S310  # the scheme is checked above
        try:
            with self._opener().open(request, timeout=self.patience.timeout_s) as reply:
                return self._read(reply)
        except HTTPError as error:
            with error:
                return self._read(error)

    def _opener(self) -> OpenerDirector:
        handlers: list[BaseHandler] = [_NoRedirect()]
        if urlsplit(self.base_url).hostname in _LOOPBACK:
            handlers.append(ProxyHandler({}))
        return build_opener(*handlers)

    @staticmethod
    def _read(reply: Any) -> Answer:
        content: bytes = reply.read(_MOST_BYTES)
        return Answer(reply.status, {k.lower(): v for k, v in reply.headers.items()}, content)

    def reason(self, answer: Answer) -> str:
        """What the provider says of a failure, in its words."""
        told = answer.json()
        while isinstance(told, dict):
            told = next((told[key] for key in _TOLD if told.get(key)), None) or told.get("code", "")
        if not isinstance(told, str) or not told:
            told = re.sub(r"<[^>]*>", " ", answer.body[:4096].decode("utf-8", "replace"))
        words = " ".join(str(told).split())[:_MOST_WORDS]
        return self.scrubbed(words) or "no reason is given"

    def scrubbed(self, text: str) -> str:
        """A text without the keys."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "…")
        return text

    def failed(self, what: str) -> SignalUnavailable:
        """The provider failed in a way that no key mends."""
        return SignalUnavailable(
            f"{self.name} {what}",
            fix="try again later, or name a second provider; what is kept or built in is used"
            " meanwhile",
        )
