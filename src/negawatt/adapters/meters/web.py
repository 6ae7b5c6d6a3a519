"""JSON over HTTP from a device on the local network: no proxy, no redirect, short patience.

What speaks HTTP is imported when a device is asked: this module is imported whenever meters are
looked for, and hardly anybody names one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from negawatt.adapters.meters.address import Address
from negawatt.core.errors import MeterUnavailable

if TYPE_CHECKING:
    from http.client import HTTPConnection

_PATIENCE_S = 5.0
_MOST_BYTES = 1 << 20  # an answer that is longer is no meter's
_DIGESTS = {"MD5": "md5", "SHA-256": "sha256"}  # their names here


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers in lower case, and the parsed body."""

    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(slots=True)
class Web:
    """One device and how it wants to be asked.

    Args:
        address: Its host, port, user and password.
        secure: HTTPS; its certificate is checked unless the address says `verify=no`.
        headers: Sent with every request.
        renew: Called when the device no longer takes what the headers say; None to prove user and
            password with each request.
    """

    address: Address
    secure: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    renew: Callable[[], None] | None = None

    def get(self, path: str) -> Any:
        """The parsed body of one GET, with user and password if the device asks for them.

        Raises:
            MeterUnavailable: no answer, an answer that is not success, or no JSON.
        """
        answer = self.ask("GET", path)
        if answer.status == HTTPStatus.UNAUTHORIZED and self.renew is not None:
            self.renew()
            answer = self.ask("GET", path)
        elif answer.status == HTTPStatus.UNAUTHORIZED and self.address.user:
            challenge = answer.headers.get("www-authenticate", "Basic")
            answer = self.ask("GET", path, {"Authorization": self._proof(challenge, path)})
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise MeterUnavailable(
                f"{self.address.name} wants a user and a password, or refuses those given",
                fix=f"name it as {self.address.adapter}://USER:PASSWORD@{self.address.host}",
            )
        if answer.status != HTTPStatus.OK:
            raise self._failed(f"answers {answer.status} to {path}")
        if answer.body is None:
            raise self._failed(f"answers {path} with something that is no JSON")
        return answer.body

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: Any = None
    ) -> Answer:
        """One request, whatever its status.

        Raises:
            MeterUnavailable: no answer.
        """
        from http.client import HTTPException

        sent = None if body is None else json.dumps(body)
        given = {"Accept": "application/json", **self.headers, **(headers or {})}
        if sent is not None:
            given["Content-Type"] = "application/json"
        try:
            connection = self._connect()
            try:
                connection.request(method, path, sent, given)
                response = connection.getresponse()
                content = response.read(_MOST_BYTES)
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise self._failed(f"does not answer ({type(error).__name__}: {error})") from error
        try:
            parsed = json.loads(content)
        except ValueError:
            parsed = None
        return Answer(
            response.status, {key.lower(): value for key, value in response.getheaders()}, parsed
        )

    def _connect(self) -> HTTPConnection:
        import ssl
        from http.client import HTTPConnection, HTTPSConnection

        host, port = self.address.host, self.address.port
        if not self.secure:
            return HTTPConnection(host, port, timeout=_PATIENCE_S)
        context = ssl.create_default_context(cafile=self.address.options.get("ca"))
        if self.address.choice("verify", "yes", "no") == "no":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return HTTPSConnection(host, port, timeout=_PATIENCE_S, context=context)

    def _proof(self, challenge: str, path: str) -> str:
        """The Authorization header that answers a challenge, Basic or Digest (RFC 7616)."""
        import base64
        import hashlib
        import secrets
        from urllib.request import parse_http_list, parse_keqv_list

        user, password = self.address.user, self.address.password
        kind, _, rest = challenge.partition(" ")
        if kind.lower() != "digest":
            return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
        asked = parse_keqv_list(parse_http_list(rest))
        name = asked.get("algorithm", "MD5")
        if name not in _DIGESTS:
            raise self._failed(f"wants a proof of the kind {name}, which is not known here")

        def digest(*parts: str) -> str:
            return hashlib.new(_DIGESTS[name], ":".join(parts).encode()).hexdigest()

        realm, nonce, count, own = asked["realm"], asked["nonce"], "00000001", secrets.token_hex(8)
        response = digest(
            digest(user, realm, password), nonce, count, own, "auth", digest("GET", path)
        )
        return (
            f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{path}", '
            f'algorithm={name}, qop=auth, nc={count}, cnonce="{own}", response="{response}"'
        )

    def _failed(self, what: str) -> MeterUnavailable:
        return MeterUnavailable(
            f"{self.address.name} {what}",
            fix="see that it is switched on, that its address is right, and that a browser on this "
            "machine reaches it",
        )
