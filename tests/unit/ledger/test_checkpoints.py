"""A signature says up to where a ledger is what it was, and to whom."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_sample import filled, opened

from negawatt.core.errors import LedgerError
from negawatt.ledger import open_ledger
from negawatt.ledger.checkpoint import Checkpoint, read_checkpoint, read_checkpoints
from negawatt.ledger.keys import (
    ED25519,
    HMAC,
    Key,
    Pair,
    Secret,
    default_key_path,
    make_key,
    read_key,
)


@pytest.fixture(params=[HMAC, ED25519])
def key(request: pytest.FixtureRequest, tmp_path: Path) -> Key:
    if request.param == ED25519:
        pytest.importorskip("cryptography", reason="Ed25519 needs the extra `sign`")
    return make_key(tmp_path / "keys" / "ledger.key", request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return filled(tmp_path / "ledger.db", 4)


def test_a_checkpoint_covers_what_was_there_and_nothing_after(path: Path, key: Key) -> None:
    with opened(path, hours=10) as ledger:
        made = ledger.checkpoint(key)
        ledger.append("measure", {})
        ledger.append("measure", {})

        audit = ledger.audit([key])
        assert (audit.signed, audit.unsigned) == (4, 2)
        assert [one.checkpoint for one in audit.checkpoints] == [made]
        assert audit.checkpoints[0].signature

        ledger.checkpoint(key)
        assert (ledger.audit([key]).signed, ledger.audit([key]).unsigned) == (6, 0)


def test_without_the_key_nothing_counts_as_signed(path: Path, key: Key) -> None:
    with opened(path) as ledger:
        ledger.checkpoint(key)
        for keys in ([], [Secret(b"another key that is 32 bytes....")]):
            audit = ledger.audit(keys)
            assert (audit.signed, audit.unsigned) == (0, 4)
            assert not audit.checkpoints[0].signature


def test_the_public_half_checks_and_cannot_sign(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="Ed25519 needs the extra `sign`")
    make_key(tmp_path / "k", ED25519)
    private, public = read_key(tmp_path / "k"), read_key(tmp_path / "k.pub")
    assert private.id == public.id
    with opened(path) as ledger:
        ledger.checkpoint(private)
        assert ledger.audit([public]).signed == 4
        with pytest.raises(LedgerError, match="public half"):
            ledger.checkpoint(public)


def test_a_key_comes_back_from_its_file_and_only_its_owner_may_read_it(
    tmp_path: Path, key: Key
) -> None:
    file = tmp_path / "keys" / "ledger.key"
    again = read_key(file)
    assert (again.id, again.algorithm) == (key.id, key.algorithm)
    assert again.valid(b"message", key.sign(b"message"))
    assert not again.valid(b"another", key.sign(b"message"))
    assert not again.valid(b"message", "no hexadecimal")
    assert file.stat().st_mode & 0o077 == 0
    with pytest.raises(LedgerError, match="never written over"):
        make_key(file)
    assert key.sign(b"x")[:8] not in repr(key)
    if isinstance(key, Secret):
        assert key.secret.hex() not in repr(key)
        assert repr(key.secret) not in repr(key)


@pytest.mark.parametrize("field", ["ledger", "sequence", "hash", "time", "who"])
def test_a_checkpoint_that_was_changed_has_a_false_signature(
    path: Path, key: Key, field: str
) -> None:
    with opened(path) as ledger:
        made = ledger.checkpoint(key)
        changed = replace(made, **{field: 2 if field == "sequence" else f"{getattr(made, field)}0"})
        with pytest.raises(LedgerError, match="false signature"):
            ledger.audit([key], [changed])


def test_a_checkpoint_made_up_without_the_key_is_false(path: Path, key: Key) -> None:
    with opened(path) as ledger:
        made = ledger.checkpoint(key)
        forged = replace(made, time="2030-01-01", signature="00" * (len(made.signature) // 2))
        ledger.store.keep(forged.text)
        with pytest.raises(LedgerError, match="false signature"):
            ledger.audit([key])


def test_a_checkpoint_of_another_ledger_is_not_in_this_one(
    path: Path, tmp_path: Path, key: Key
) -> None:
    other = filled(tmp_path / "other.db", 6, host="bobbin")
    with opened(other) as ledger:
        foreign = ledger.checkpoint(key)
    with opened(path) as ledger, pytest.raises(LedgerError, match="cannot be found"):
        ledger.audit([key], [foreign])


def test_nothing_is_signed_that_does_not_hold(path: Path, tmp_path: Path, key: Key) -> None:
    with opened(tmp_path / "empty.db") as ledger, pytest.raises(LedgerError, match="is empty"):
        ledger.checkpoint(key)
    with opened(path) as ledger:
        connection = ledger.store._connection
        connection.execute("DROP TRIGGER entries_stay")
        connection.execute("UPDATE entries SET who = 'me' WHERE sequence = 2")
        with pytest.raises(LedgerError, match="entry 2"):
            ledger.checkpoint(key)


def test_a_checkpoint_is_one_line_that_reads_back(path: Path, tmp_path: Path, key: Key) -> None:
    with opened(path) as ledger:
        made = [ledger.checkpoint(key) for _ in range(2)]
    file = tmp_path / "held.jsonl"
    file.write_text("\n".join(one.text for one in made) + "\n\n")
    assert read_checkpoints(file) == tuple(made)
    assert json.loads(made[0].text)["checkpoint"]["sequence"] == 4


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"checkpoint": {"sequence": 1}}', "entry 1"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(LedgerError, match="no checkpoint"):
        read_checkpoint(text)


@pytest.mark.parametrize(
    "content", ["", "negawatt-hmac-sha256:", "negawatt-hmac-sha256:ab", "-----BEGIN nothing-----"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(LedgerError, match="holds no"):
        read_key(tmp_path / "key")
    with pytest.raises(LedgerError, match="cannot be read"):
        read_key(tmp_path / "none")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="Ed25519 needs the extra `sign`")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import x25519

    public = x25519.X25519PrivateKey.generate().public_key()
    pem = public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key").write_bytes(pem)
    with pytest.raises(LedgerError, match="no Ed25519 key"):
        read_key(tmp_path / "key")


def test_ed25519_agrees_with_the_test_vectors_of_its_standard() -> None:
    pytest.importorskip("cryptography", reason="Ed25519 needs the extra `sign`")
    from cryptography.hazmat.primitives.asymmetric import ed25519

    seed = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7"
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    pair = Pair(private.public_key(), private)
    assert pair.sign(bytes.fromhex("af82")).startswith("6291d657deec24024827e69c3abe01a3")


def test_hmac_agrees_with_the_test_vectors_of_its_standard() -> None:
    key = Secret(b"\x0b" * 20)
    assert key.sign(b"Hi There") == (
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )


def test_the_key_lies_apart_from_the_ledger() -> None:
    assert default_key_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/negawatt/ledger.key")
    assert default_key_path({"HOME": "/h"}) == Path("/h/.config/negawatt/ledger.key")


def test_a_ledger_of_the_first_schema_is_read_signed_and_goes_on(tmp_path: Path, key: Key) -> None:
    import sqlite3

    from negawatt.core.stores import Row
    from negawatt.ledger.entry import GENESIS, sealed
    from negawatt.ledger.migrate import migrate, steps

    path = tmp_path / "old.db"
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, steps()[:1])
    previous = GENESIS
    for n in (1, 2):
        time = f"2025-01-0{n}T00:00:00.000000+00:00"
        row = sealed(Row(n, time, "measure", "ada", "loom", "{}", "{}", previous, ""))
        connection.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", row[:9])
        connection.execute("UPDATE head SET sequence = ?, hash = ?", (n, row.hash))
        previous = row.hash
    connection.close()

    with open_ledger(path, readonly=True) as ledger:  # as it is, without bringing it up to date
        assert ledger.verify().sequence == 2
        assert ledger.audit().checkpoints == ()
        assert [entry.machine for entry in ledger.entries()] == [None, None]
    with opened(path) as ledger:
        assert ledger.append("measure", {}).previous == previous
        assert isinstance(ledger.checkpoint(key), Checkpoint)
        assert ledger.audit([key]).signed == 3
