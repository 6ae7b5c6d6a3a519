"""Keys that sign checkpoints: a shared secret, or a pair of which one half may be published.

A secret (HMAC-SHA256) needs nothing but Python, and whoever holds it can both
sign and check. A pair (Ed25519) needs the extra `sign`: whoever holds the
public half can check, and cannot sign.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from negawatt.core.errors import LedgerError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

HMAC, ED25519 = "hmac-sha256", "ed25519"
_SECRET = "negawatt-hmac-sha256:"  # what a file with a secret begins with  # noqa: S105
_SECRET_BYTES = 32
_EXTRA = "pip install 'negawatt[sign]', or use a secret, which needs nothing more"


class Key(Protocol):
    """What signs a text, or checks a signature."""

    @property
    def algorithm(self) -> str:
        """`hmac-sha256` or `ed25519`."""

    @property
    def id(self) -> str:
        """Names the key, and tells nothing about it; both halves of a pair have the same."""

    def sign(self, message: bytes) -> str:
        """The signature, as hexadecimal text; `LedgerError` for half a key that cannot sign."""

    def valid(self, message: bytes, signature: str) -> bool:
        """True when the signature is one of this key over this message."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret shared by those who sign and those who check."""

    secret: bytes = field(repr=False)
    algorithm: str = HMAC

    @property
    def id(self) -> str:
        """The first half of a hash of the secret."""
        return hashlib.sha256(b"negawatt key id" + self.secret).hexdigest()[:16]

    def sign(self, message: bytes) -> str:
        """HMAC-SHA256, RFC 2104."""
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def valid(self, message: bytes, signature: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.sign(message).encode(), signature.encode())


@dataclass(frozen=True, slots=True)
class Pair:
    """An Ed25519 key, RFC 8032; without its private half it checks and does not sign."""

    public: ed25519.Ed25519PublicKey
    private: ed25519.Ed25519PrivateKey | None = field(default=None, repr=False)
    algorithm: str = ED25519

    @property
    def id(self) -> str:
        """The first half of a hash of the public half."""
        return hashlib.sha256(b"negawatt key id" + self.public.public_bytes_raw()).hexdigest()[:16]

    def sign(self, message: bytes) -> str:
        """Sign with the private half."""
        if self.private is None:
            raise LedgerError(
                "this is the public half of a key: it checks, and cannot sign",
                fix="name the file with the private half, or make one: negawatt ledger key FILE",
            )
        return self.private.sign(message).hex()

    def valid(self, message: bytes, signature: str) -> bool:
        """Check with the public half."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.public.verify(bytes.fromhex(signature), message)
        except (InvalidSignature, ValueError):
            return False
        return True


def default_key_path(environ: Mapping[str, str]) -> Path:
    """Where the key of this user lies, apart from the ledger: in the configuration folder.

    >>> default_key_path({"HOME": "/home/ada"}).as_posix()
    '/home/ada/.config/negawatt/ledger.key'
    """
    if folder := environ.get("XDG_CONFIG_HOME"):
        return Path(folder) / "negawatt" / "ledger.key"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return home / ".config" / "negawatt" / "ledger.key"


def make_key(path: Path, algorithm: str = HMAC) -> Key:
    """Make a key in a new file that only its owner may read.

    The public half of a pair is written beside it, with `.pub` at the end.

    Raises:
        LedgerError: there is a file already, or it cannot be written.
    """
    if algorithm == HMAC:
        import secrets

        secret = secrets.token_bytes(_SECRET_BYTES)
        _write_new(path, f"{_SECRET}{secret.hex()}\n".encode(), 0o600)
        return Secret(secret)
    try:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise LedgerError("Ed25519 keys need cryptography", fix=_EXTRA) from error
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key()
    encoded = private.private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    _write_new(path, encoded, 0o600)
    _write_new(
        path.with_name(f"{path.name}.pub"),
        public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo),
        0o644,
    )
    return Pair(public, private)


def read_key(path: Path) -> Key:
    """The key in a file: a secret, or either half of a pair as PEM.

    Raises:
        LedgerError: there is none, or it is of another sort.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"the key {path} cannot be read: {error.strerror}",
            fix=f"name the file with the key, or make one: negawatt ledger key {path}",
        ) from error
    if text.startswith(_SECRET.encode()):
        with suppress(ValueError):
            secret = bytes.fromhex(text.decode("ascii").removeprefix(_SECRET).strip())
            if len(secret) >= _SECRET_BYTES:
                return Secret(secret)
    elif text.startswith(b"-----BEGIN "):
        return _pair(path, text)
    raise LedgerError(f"{path} holds no key", fix="make one: negawatt ledger key FILE")


def _pair(path: Path, text: bytes) -> Pair:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise LedgerError(f"the key {path} needs cryptography", fix=_EXTRA) from error
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        if b"PRIVATE KEY" in text:
            private = form.load_pem_private_key(text, password=None)
            if isinstance(private, ed25519.Ed25519PrivateKey):
                return Pair(private.public_key(), private)
        else:
            public = form.load_pem_public_key(text)
            if isinstance(public, ed25519.Ed25519PublicKey):
                return Pair(public)
    raise LedgerError(
        f"{path} holds no Ed25519 key, or one behind a password",
        fix="make one: negawatt ledger key --ed25519 FILE",
    )


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(handle)
    except FileExistsError as error:
        raise LedgerError(
            f"{path} is there already, and a key is never written over",
            fix="use it, or name another file",
        ) from error
    except OSError as error:
        raise LedgerError(
            f"the key {path} cannot be written: {error.strerror}",
            fix="name a file in a folder that you may write to",
        ) from error
