"""Signed ends of a chain: whoever holds one can tell when what is before it was rewritten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from negawatt.core.errors import LedgerError
from negawatt.core.stores import Head
from negawatt.ledger.chain import Chain
from negawatt.ledger.entry import canonical
from negawatt.ledger.faults import broken
from negawatt.ledger.keys import Key

_CONTEXT = b"negawatt ledger checkpoint 1\n"  # so that a signature means this and nothing else


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The end of a chain at some time, signed."""

    ledger: str  # hash of entry 1, which names the chain
    sequence: int
    hash: str
    time: str  # UTC
    who: str
    algorithm: str
    key: str  # id of the key
    signature: str = ""  # hexadecimal

    @property
    def head(self) -> Head:
        """The end that was signed."""
        return Head(self.sequence, self.hash)

    @property
    def text(self) -> str:
        """One line of JSON that `read_checkpoint` reads back."""
        return canonical({"checkpoint": asdict(self)})

    def message(self) -> bytes:
        """What is signed: everything but the signature."""
        return _CONTEXT + canonical(asdict(replace(self, signature=""))).encode("ascii")

    def signed_with(self, key: Key) -> Checkpoint:
        """The checkpoint with its signature.

        Raises:
            LedgerError: the key cannot sign.
        """
        unsigned = replace(self, algorithm=key.algorithm, key=key.id, signature="")
        return replace(unsigned, signature=key.sign(unsigned.message()))

    def is_of(self, key: Key) -> bool:
        """True when this key is said to have signed it."""
        return (self.algorithm, self.key) == (key.algorithm, key.id)


@dataclass(frozen=True, slots=True)
class Checked:
    """A checkpoint whose head is in the chain; `signature` tells whether a key confirmed it."""

    checkpoint: Checkpoint
    signature: bool


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known of a ledger that verified.

    Args:
        head: Its end.
        signed: The last entry that a confirmed signature covers, 0 without one.
        checkpoints: Those kept in the ledger and those handed in, in order.
        back: Entries dated before what their machine had written before them.
    """

    head: Head
    signed: int
    checkpoints: tuple[Checked, ...]
    back: tuple[int, ...] = ()

    @property
    def unsigned(self) -> int:
        """How many entries came after the last signature."""
        return self.head.sequence - self.signed


def told_of_clock(back: Sequence[int]) -> str:
    """What is said of entries that a clock, set back, dated before earlier ones."""
    some = ", ".join(map(str, back[:8])) + (", …" if len(back) > 8 else "")
    return (
        f"the clock was set back before {'entry' if len(back) == 1 else 'entries'} {some}: the"
        " order is sure, and how long things took; the dates there are not"
    )


def read_checkpoint(text: str) -> Checkpoint:
    """Read what `Checkpoint.text` wrote.

    Raises:
        LedgerError: it is no checkpoint.
    """
    try:
        found = Checkpoint(**json.loads(text)["checkpoint"])
    except (KeyError, TypeError, ValueError) as error:
        raise LedgerError(
            f"this is no checkpoint: {text[:60]!r}",
            fix="give the lines that `negawatt ledger checkpoint` printed",
        ) from error
    return found


def read_checkpoints(path: Path) -> tuple[Checkpoint, ...]:
    """Every checkpoint of a file, one a line.

    Raises:
        LedgerError: the file cannot be read, or a line is no checkpoint.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(
            f"the checkpoints {path} cannot be read: {error}",
            fix="name the file that holds what `negawatt ledger checkpoint` printed",
        ) from error
    return tuple(read_checkpoint(line) for line in lines if line.strip())


def audited(
    place: str, chain: Chain, checkpoints: Iterable[Checkpoint], keys: Sequence[Key]
) -> Audit:
    """Judge the checkpoints of a chain that was followed to its end, watching their heads.

    Args:
        place: What messages call the ledger.
        chain: The whole chain.
        checkpoints: All that are known.
        keys: What signatures are checked with.

    Raises:
        LedgerError: a signature is false, or a head that was signed is not in the chain.
    """
    checked, signed = [], 0
    for one in sorted(set(checkpoints), key=lambda c: (c.sequence, c.time, c.signature)):
        confirmed = _confirm(place, one, keys)
        own = one.head in chain.seen
        if not own and one.head not in chain.imported:
            raise broken(place, _missing(one, chain.head, signed), signed)
        checked.append(Checked(one, confirmed))
        if confirmed and own:
            signed = max(signed, one.sequence)
    return Audit(chain.head, signed, tuple(checked), tuple(chain.back))


def _confirm(place: str, one: Checkpoint, keys: Sequence[Key]) -> bool:
    fitting = [key for key in keys if one.is_of(key)]
    if fitting and not any(key.valid(one.message(), one.signature) for key in fitting):
        raise broken(
            place,
            f"the checkpoint of entry {one.sequence} ({one.time}) has a false signature:"
            " it was changed, or made without the key",
            0,
        )
    return bool(fitting)


def _missing(one: Checkpoint, head: Head, good: int) -> str:
    when = f"the checkpoint of {one.time} signed entry {one.sequence} as {one.hash[:12]}…"
    if one.sequence > head.sequence:
        gone = f"entry {head.sequence + 1}"
        if one.sequence > head.sequence + 1:
            gone = f"entries {head.sequence + 1} to {one.sequence}"
        return f"{when}, and {gone} cannot be found: the end was cut off"
    return (
        f"{when}, and it is another one now: the chain was written anew"
        f" somewhere in entries {good + 1} to {one.sequence}"
    )
