"""Ask a server for JSON, or for a stream of it, and tell what went wrong in its own words."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from negawatt.core.errors import NegawattError, RuntimeUnavailable, UsageError

_LOCKED = {401, 403}
_REFUSED = range(400, 500)
_OK = range(200, 300)
_LONGEST = 300  # characters of a server's complaint
_END = "[DONE]"


class Door:
    """An HTTP server's address and the key to it. Each request has a connection of its own.

    Redirections are not followed: the key goes to the address that was given and nowhere else.

    Args:
        address: `http://HOST:PORT` or `https://...`, perhaps with a path; a final `/v1` is dropped.
        key: Sent as a bearer token when there is one.
        timeout_s: How long an answer, or the next piece of a stream, may take. [s]

    Raises:
        UsageError: the address is none.
    """

    def __init__(self, address: str, *, key: str = "", timeout_s: float) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                f"{address!r} is no address of a server", fix="write it as http://127.0.0.1:8000"
            )
        self.address = address
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._before = parts.path.rstrip("/").removesuffix("/v1")
        self._key, self._timeout_s = key, timeout_s

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that the server answers with; a POST when there is a body.

        Raises:
            UsageError: the server refuses the request.
            RuntimeUnavailable: nobody answers, or something else than JSON.
        """
        connection = self._connect()
        try:
            text = self._send(connection, path, body).read()
            found = json.loads(text)
        except (OSError, HTTPException) as error:
            raise self._silent(error) from error
        except ValueError as error:
            raise self._odd(f"something else than JSON: {error}") from error
        finally:
            connection.close()
        if not isinstance(found, dict):
            raise self._odd("JSON that is no object")
        return found

    def events(self, path: str, body: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
        """The objects of a stream of events, until the server says that it is done.

        Closing the iterator closes the connection.

        Raises:
            UsageError: the server refuses the request.
            RuntimeUnavailable: nobody answers, or the stream breaks off.
        """
        connection = self._connect()
        try:
            response = self._send(connection, path, body)
            while line := response.readline():
                text = line.decode("utf-8", "replace").strip()
                if not text.startswith("data:"):
                    continue
                text = text.removeprefix("data:").strip()
                if text == _END:
                    return
                event = json.loads(text)
                if "error" in event:
                    raise self._odd(_words(event))
                yield event
            raise self._odd("half a stream, and hung up")
        except (OSError, HTTPException) as error:
            raise self._silent(error) from error
        except ValueError as error:
            raise self._odd(f"something else than JSON: {error}") from error
        finally:
            connection.close()

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._secure else HTTPConnection
        return kind(self._host, self._port, timeout=self._timeout_s)

    def _send(
        self, connection: HTTPConnection, path: str, body: Mapping[str, Any] | None
    ) -> HTTPResponse:
        headers = {"Accept": "application/json", "Connection": "close"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection.request("GET" if body is None else "POST", self._before + path, data, headers)
        response = connection.getresponse()
        if response.status not in _OK:
            raise self._refused(response.status, path, response.read())
        return response

    def _refused(self, status: int, path: str, content: bytes) -> NegawattError:
        try:
            told = _words(json.loads(content))
        except ValueError:
            told = content.decode("utf-8", "replace").strip()[:_LONGEST]
        fact = f"{self.address}{path} answers {status}: {told}"
        if status in _LOCKED:
            return RuntimeUnavailable(fact, fix="put its key into NEGAWATT_ENDPOINT_KEY")
        if status in _REFUSED:
            return UsageError(fact, fix="ask for what this server and model take")
        return RuntimeUnavailable(fact, fix="look into the server's own log, then try again")

    def _silent(self, error: Exception) -> RuntimeUnavailable:
        why = "no answer in time" if isinstance(error, TimeoutError) else error
        return RuntimeUnavailable(
            f"{self.address} cannot be reached: {why}",
            fix="start the server (`vllm serve FOLDER`), or give its address",
        )

    def _odd(self, what: str) -> RuntimeUnavailable:
        return RuntimeUnavailable(
            f"{self.address} answers with {what}",
            fix="check that the address is that of a server with OpenAI's interface, and its log",
        )


def _words(answer: Any) -> str:
    """A server's complaint, in any of the shapes that are about."""
    found = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(found, dict):
        found = found.get("message") or found.get("detail") or found
    return str(found)[:_LONGEST]
