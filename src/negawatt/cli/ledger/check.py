"""`negawatt ledger verify`, `checkpoint` and `key`: is it what it was, and who says so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from negawatt.cli.ledger.place import FILE, LEDGER, entries_word, place_of

if TYPE_CHECKING:
    from negawatt.ledger import Audit, Head
    from negawatt.ledger.keys import Key

_KEY = click.option(
    "--key",
    "key_path",
    type=FILE,
    metavar="FILE",
    help="The key; negawatt/ledger.key in $XDG_CONFIG_HOME (~/.config) by default.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@LEDGER
@click.option(
    "--expect", metavar="N:HASH", help="An end of the chain noted earlier: it must still be there."
)
@click.option(
    "--checkpoints",
    "held",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Checkpoints that were kept elsewhere: they must still fit. Repeatable.",
)
@_KEY
@_JSON
def verify(
    *,
    ledger: str | Path | None,
    expect: str | None,
    held: tuple[Path, ...],
    key_path: Path | None,
    as_json: bool,
) -> None:
    """Follow the whole chain; the first entry that is wrong is named.

    The chain alone tells any change that was not made throughout. Somebody who
    makes all later hashes anew is caught by a checkpoint that was kept where he
    cannot write: hand it in with --checkpoints, and the key that checks it.

    The last line is the end of the chain of LEDGER. Note it elsewhere, and
    --expect proves later that nothing before it was rewritten.

    \b
    Examples:
      negawatt ledger verify
      negawatt ledger verify team.db --checkpoints audit.jsonl --key audit.key.pub
      negawatt ledger verify team.db --expect 41:9f86d081884c7d65...
    """  # fmt: skip
    from negawatt.ledger import open_ledger
    from negawatt.ledger.checkpoint import read_checkpoints, told_of_clock

    place, noted = place_of(ledger), _head(expect)
    keys = _keys_to_check(key_path)
    known = [one for path in held for one in read_checkpoints(path)]
    with open_ledger(place, readonly=True) as opened:
        if noted is not None:
            opened.verify(expect=noted)
        audit = opened.audit(keys, known)
        name = opened.place
    if as_json:
        click.echo(json.dumps(_audit_json(name, audit)))
        return
    click.echo(f"{name}: {entries_word(audit.head.sequence)}, all sound", err=True)
    click.echo(_signed(audit), err=True)
    if audit.back:
        click.echo(f"note: {told_of_clock(audit.back)}", err=True)
    click.echo(f"{audit.head.sequence}:{audit.head.hash}")


@click.command()
@LEDGER
@click.option(
    "--output",
    type=FILE,
    metavar="FILE",
    help="Add the checkpoint to this file of checkpoints too.",
)
@_KEY
@click.option("--json", "as_json", is_flag=True, help="Print the JSON object and nothing else.")
def checkpoint(
    *, ledger: str | Path | None, output: Path | None, key_path: Path | None, as_json: bool
) -> None:
    """Verify the whole chain and sign its end.

    The checkpoint is kept in LEDGER and printed as one line of JSON. Give the
    line to somebody who cannot write to the ledger: with it and the key,
    `negawatt ledger verify` finds whatever is done to the entries before it,
    even by somebody who makes all hashes anew. The first time, a secret key is
    made in your configuration folder; `negawatt ledger key` makes others.

    \b
    Examples:
      negawatt ledger checkpoint --output /mnt/audit/checkpoints.jsonl
      negawatt ledger checkpoint team.db --key audit.key >> checkpoints.jsonl
    """
    from negawatt.ledger import open_ledger

    signing = _key_to_sign(key_path)
    with open_ledger(place_of(ledger)) as opened:
        made = opened.checkpoint(signing)
        name = opened.place
    if output is not None:
        _add_line(output, made.text)
    if not as_json:
        click.echo(
            f"{name}: signed up to entry {made.sequence} with key {made.key} ({made.algorithm})",
            err=True,
        )
    click.echo(made.text)


@click.command()
@click.argument("file", type=FILE)
@click.option(
    "--ed25519",
    "pair",
    is_flag=True,
    help="A pair: whoever has FILE.pub can check, and cannot sign. Needs negawatt[sign].",
)
@_JSON
def key(*, file: Path, pair: bool, as_json: bool) -> None:
    """Make a key for checkpoints in FILE, which only you can read.

    By default it is a secret (HMAC-SHA256): whoever is to check a checkpoint
    needs the same file, and could sign with it.

    \b
    Examples:
      negawatt ledger key audit.key
      negawatt ledger key audit.key --ed25519
    """
    from negawatt.ledger.keys import ED25519, HMAC, make_key

    made = make_key(file, ED25519 if pair else HMAC)
    if as_json:
        told = {"key": made.id, "algorithm": made.algorithm, "file": str(file)}
        click.echo(json.dumps(told | ({"public": f"{file}.pub"} if pair else {})))
        return
    click.echo(f"written: {file}{f' and {file}.pub' if pair else ''}", err=True)
    click.echo(made.id)


def _default_key() -> Path:
    from negawatt.ledger.keys import default_key_path

    return default_key_path(os.environ)


def _keys_to_check(path: Path | None) -> list[Key]:
    """The key that was named, or the user's own where there is one."""
    from negawatt.ledger.keys import read_key

    if path is None and not _default_key().is_file():
        return []
    return [read_key(path or _default_key())]


def _key_to_sign(path: Path | None) -> Key:
    """The key that was named, or the user's own, made now when there is none."""
    from negawatt.ledger.keys import make_key, read_key

    own = _default_key()
    if path is None and not own.exists():
        click.echo(f"a secret key was made for you: {own}", err=True)
        return make_key(own)
    return read_key(path or own)


def _add_line(path: Path, line: str) -> None:
    from negawatt.core.errors import OutputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as stream:
            stream.write(f"{line}\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise OutputError(
            f"the checkpoint was made, and {path} cannot be written: {error.strerror}",
            fix="name a file in a folder that you may write to, and run the command again",
        ) from error


def _signed(audit: Audit) -> str:
    """What the checkpoints say, in a sentence."""
    if audit.signed:
        sure = max(
            (
                one.checkpoint
                for one in audit.checkpoints
                if one.signature and one.checkpoint.sequence == audit.signed
            ),
            key=lambda one: one.time,
        )
        after = f"{entries_word(audit.unsigned)} after it {'is' if audit.unsigned == 1 else 'are'}"
        return f"signed up to entry {audit.signed} ({sure.time}, key {sure.key}); {after} unsigned"
    if audit.checkpoints:
        ids = ", ".join(sorted({one.checkpoint.key for one in audit.checkpoints}))
        return (
            f"its checkpoints fit, and no signature was checked: that needs key {ids} (--key FILE)"
        )
    return "unsigned: `negawatt ledger checkpoint` signs it"


def _audit_json(name: str, audit: Audit) -> dict[str, object]:
    return {
        "ledger": name,
        "sequence": audit.head.sequence,
        "hash": audit.head.hash,
        "signed": audit.signed,
        "unsigned": audit.unsigned,
        "clock_set_back": list(audit.back),
        "checkpoints": [
            {
                "sequence": one.checkpoint.sequence,
                "hash": one.checkpoint.hash,
                "time": one.checkpoint.time,
                "key": one.checkpoint.key,
                "signature_checked": one.signature,
            }
            for one in audit.checkpoints
        ],
    }


def _head(text: str | None) -> Head | None:
    from negawatt.core.errors import UsageError
    from negawatt.ledger import Head

    if text is None:
        return None
    number, _, own = text.partition(":")
    if not number.isdigit() or len(own) != 64:
        raise UsageError(
            f"{text!r} is not the end of a chain",
            fix="give the line that `negawatt ledger verify` printed, N:HASH",
        )
    return Head(int(number), own)
