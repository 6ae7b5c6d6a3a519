"""What goes out comes back, with its proof; the same entry is kept once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_sample import filled, opened, rewrite, rows_of

from negawatt.cli import main
from negawatt.core.errors import LedgerError
from negawatt.core.estimate import Estimate
from negawatt.core.stores import Row
from negawatt.ledger import Ledger, open_ledger
from negawatt.ledger.entry import first_form, sealed
from negawatt.ledger.jsonlines import JsonLinesFile, lines
from negawatt.ledger.keys import Secret
from negawatt.ledger.merge import Header, LedgerSource, Source, checked, take_in
from negawatt.ledger.parquet import ParquetFile
from negawatt.ledger.parquet import write as write_parquet

KEY = Secret(b"k" * 32)


def export(ledger: Ledger, file: Path, *, kind: str | None = None) -> Source:
    """A ledger as a file; of one kind of entries when asked."""
    with LedgerSource(ledger).opened() as (whole, _):
        rows = list(ledger.store.read(kind))
        header = Header(whole.sequence, whole.hash, len(rows), whole.checkpoints)
    if file.suffix == ".parquet":
        write_parquet(file, header, rows)
        return ParquetFile(file)
    file.write_text("".join(f"{line}\n" for line in lines(header, rows, "here")))
    return JsonLinesFile(file)


@pytest.fixture(params=["jsonl", "parquet", "ledger"])
def carried(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Ledger], Source]:
    """A ledger on its way: as either file, or itself."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")

    def carry(ledger: Ledger) -> Source:
        if request.param == "ledger":
            return LedgerSource(ledger)
        return export(ledger, tmp_path / f"{Path(ledger.place).stem}.{request.param}")

    return carry


def ids(rows: Iterable[Row]) -> list[str]:
    return [row.id for row in rows if row.kind != "import"]


def test_every_entry_comes_back_with_the_hash_and_the_place_it_had(
    tmp_path: Path, carried: Callable[[Ledger], Source]
) -> None:
    path = filled(tmp_path / "a.db", 5)
    with opened(path, hours=9) as source, opened(tmp_path / "b.db", host="bobbin") as target:
        source.append(
            "measure", {"command": b"caf\xe9".decode("utf-8", "surrogateescape"), "x": 0.1}
        )
        checkpoint = source.checkpoint(KEY)
        before = rows_of(path)

        taken = take_in(target, carried(source))

        assert (taken.entries, taken.known, taken.whole) == (6, 0, True)
        assert taken.head == source.head()
        *moved, record = target.store.read()
        assert [first_form(row) for row in moved] == before
        assert [entry.body for entry in source.entries()] == [
            entry.body for entry in list(target.entries())[:-1]
        ]
        assert record.kind == "import"
        said = json.loads(record.body)
        assert said["entries"] == 6
        assert said["head"] == {"sequence": 6, "hash": source.head().hash}
        assert said["checkpoints"] == [checkpoint.text]
        assert target.verify().sequence == 7
        # what was signed there is proven here
        assert target.audit([KEY], [checkpoint]).checkpoints[0].signature


def test_taking_in_twice_changes_nothing(
    tmp_path: Path, carried: Callable[[Ledger], Source]
) -> None:
    path = filled(tmp_path / "a.db", 3)
    with opened(path) as source, opened(tmp_path / "b.db") as target:
        take_in(target, carried(source))
        head = target.head()
        assert take_in(target, carried(source)).entries == 0
        assert target.head() == head
        assert take_in(source, LedgerSource(source)).entries == 0

        source.append("measure", {"late": True})
        assert take_in(target, carried(source)).entries == 1
        assert len(ids(target.store.read())) == 4


@settings(max_examples=15)
@given(steps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=8))
def test_however_ledgers_are_merged_each_entry_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    paths = [filled(folder / f"{n}.db", n + 1, host=f"node {n}") for n in range(3)]
    everything: set[str] = {row.id for path in paths for row in rows_of(path)}
    for a, b, more in [*steps, (0, 1, False), (1, 2, False), (2, 0, False), (2, 1, False)]:
        if a == b:
            continue
        with opened(paths[a]) as source, opened(paths[b]) as target:
            if more:
                everything.add(source.append("measure", {"more": len(everything)}).id)
            take_in(target, LedgerSource(source))
            target.verify()
    for path in paths[:2]:
        found = ids(rows_of(path))
        assert len(found) == len(set(found))
    assert set(ids(rows_of(paths[2]))) == everything
    assert set(ids(rows_of(paths[0]))) == set(ids(rows_of(paths[1]))) == everything


def test_two_ledgers_that_exchange_their_entries_come_to_rest(tmp_path: Path) -> None:
    paths = [filled(tmp_path / f"{n}.db", 2, host=f"node {n}") for n in range(2)]
    heads = []
    for _ in range(4):
        for a, b in ((0, 1), (1, 0)):
            with opened(paths[a]) as source, opened(paths[b]) as target:
                take_in(target, LedgerSource(source))
        heads.append([len(rows_of(path)) for path in paths])
    assert heads[1] == heads[-1]


def test_an_imported_ledger_exports_its_entries_as_they_were_first(
    tmp_path: Path, carried: Callable[[Ledger], Source]
) -> None:
    first = filled(tmp_path / "a.db", 4)
    with opened(first) as a, opened(tmp_path / "b.db") as b, opened(tmp_path / "c.db") as c:
        take_in(b, carried(a))
        take_in(c, carried(b))
        originals = [first_form(row) for row in c.store.read() if row.kind != "import"]
    assert originals == rows_of(first)


def test_entries_that_went_on_in_two_copies_of_one_ledger_are_all_kept(tmp_path: Path) -> None:
    first = filled(tmp_path / "a.db", 2)
    copy = tmp_path / "copy.db"
    copy.write_bytes(first.read_bytes())
    with opened(first, hours=5) as a, opened(copy, hours=6) as b:
        a.append("measure", {"in": "a"})
        b.append("measure", {"in": "b"})
        taken = take_in(a, LedgerSource(b))
        assert (taken.entries, taken.known) == (1, 2)
        assert [entry.body for entry in a.entries("measure")][-1] == {"in": "b"}
        a.verify()


def test_a_selection_is_taken_and_called_one(tmp_path: Path) -> None:
    with opened(filled(tmp_path / "a.db", 6)) as source, opened(tmp_path / "b.db") as target:
        part = export(source, tmp_path / "part.jsonl", kind="optimize")
        taken = take_in(target, part)
        assert (taken.entries, taken.whole) == (2, False)
        (record,) = target.entries("import")
        assert record.body["whole"] is False


def test_nothing_is_taken_from_a_source_that_does_not_hold(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", 5)
    rows = rows_of(path)
    rows[2] = rows[2]._replace(body='{"n":99}')
    rewrite(path, rows)
    with open_ledger(path, readonly=True) as source, opened(tmp_path / "b.db") as target:
        with pytest.raises(LedgerError, match="entry 3"):
            take_in(target, LedgerSource(source))
        assert target.head().sequence == 0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text[:-1], "was exported, and|is missing|were exported|entry 5"),
        (lambda text: [*text[:2], *text[3:]], "entry 2 is missing"),
        (lambda text: [*text[:2], text[3], text[2], *text[4:]], "entry 2"),
        (lambda text: [*text[:3], text[2], *text[3:]], "entry 2"),
        (lambda text: [*text[:3], text[3].replace("run 2", "run 9"), *text[4:]], "entry 3"),
        (lambda text: [*text[:3], text[3][:40]], "line 4"),
        (lambda text: [*text[:3], "[]", *text[4:]], "line 4"),
        (lambda text: text[1:], "no export"),
        (lambda text: [], "no export"),
        (lambda text: [text[0].replace('"format": 1', '"format": 7'), *text[1:]], "newer version"),
    ],
    ids=[
        "cut",
        "removed",
        "moved",
        "doubled",
        "edited",
        "torn",
        "odd",
        "headless",
        "empty",
        "newer",
    ],
)
def test_a_spoilt_file_is_refused_and_the_entry_or_line_named(
    tmp_path: Path, spoil: Callable[[list[str]], list[str]], said: str
) -> None:
    file = tmp_path / "a.jsonl"
    with opened(filled(tmp_path / "a.db", 5)) as source:
        export(source, file)
    file.write_text("\n".join(spoil(file.read_text().splitlines())) + "\n")
    with opened(tmp_path / "b.db") as target:
        with pytest.raises(LedgerError, match=said) as caught:
            take_in(target, JsonLinesFile(file))
        assert caught.value.fix
        assert target.head().sequence == 0


def test_a_selection_that_was_cut_is_noticed(tmp_path: Path) -> None:
    with opened(filled(tmp_path / "a.db", 9)) as source:
        export(source, tmp_path / "part.jsonl", kind="optimize")
    text = (tmp_path / "part.jsonl").read_text().splitlines()
    (tmp_path / "part.jsonl").write_text("\n".join(text[:-1]) + "\n")
    with pytest.raises(LedgerError, match="3 entries were exported, and 2 are here"):
        checked(JsonLinesFile(tmp_path / "part.jsonl"))


def test_an_export_whose_checkpoint_does_not_fit_is_refused(tmp_path: Path) -> None:
    with opened(filled(tmp_path / "a.db", 3)) as source:
        source.checkpoint(KEY)
        export(source, tmp_path / "a.jsonl")
        rows = rows_of(tmp_path / "a.db")
        checkpoints = source.store.kept()
    cut = Header(2, rows[1].hash, 2, checkpoints)
    text = lines(cut, rows[:2], "here")
    (tmp_path / "cut.jsonl").write_text("".join(f"{line}\n" for line in text))
    with pytest.raises(LedgerError, match="entry 3 cannot be found"):
        checked(JsonLinesFile(tmp_path / "cut.jsonl"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"these are notes"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(LedgerError, match="no export of a ledger"):
        checked(ParquetFile(tmp_path / "x.parquet"))


def test_a_parquet_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra `parquet`")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"recipe": ["soup"]}), tmp_path / "x.parquet")
    with pytest.raises(LedgerError, match="no export of a ledger"):
        checked(ParquetFile(tmp_path / "x.parquet"))


def test_a_parquet_file_reads_as_a_table_of_timestamps_and_texts(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra `parquet`")
    with opened(filled(tmp_path / "a.db", 3)) as source:
        export(source, tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.num_rows == 3
    assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
    assert json.loads(table["body"][0].as_py())["n"] == 0


def test_what_json_does_not_write_like_this_is_not_exported(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db", 2)
    rows = rows_of(path)
    rows[1] = sealed(rows[1]._replace(body='{ "n": 1 }'))  # spaces: not canonical
    rewrite(path, rows, head=True)
    with opened(path) as source:
        source.verify()
        with pytest.raises(LedgerError, match="entry 2"):
            export(source, tmp_path / "a.jsonl")


def test_two_imports_at_once_keep_each_entry_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        opened(filled(tmp_path / "a.db", 3)) as source,
        opened(tmp_path / "b.db") as one,
        opened(tmp_path / "b.db") as other,
    ):
        assert take_in(one, LedgerSource(source)).entries == 3
        # the other had looked before: it finds that they are there when its turn to write comes
        monkeypatch.setattr("negawatt.ledger.merge._ids", lambda ledger: set())
        assert take_in(other, LedgerSource(source)).entries == 0
        assert one.verify().sequence == 4


def test_a_line_that_holds_no_number_is_named_and_nothing_is_taken(tmp_path: Path) -> None:
    source, out = filled(tmp_path / "a.db", 3), tmp_path / "out.jsonl"
    assert main(["ledger", "export", str(source), "--output", str(out)]) == 0
    for word in ("NaN", "-Infinity"):
        broken = tmp_path / "broken.jsonl"
        broken.write_text(out.read_text().replace('"n": 1', f'"n": {word}'))
        with opened(tmp_path / "b.db") as target:
            with pytest.raises(LedgerError, match=r"line 3 .* cannot be kept as JSON"):
                take_in(target, JsonLinesFile(broken))
            assert target.head().sequence == 0


def test_energy_below_zero_is_kept_as_it_was_written_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path / "a.db") as it:
        for joules in (5.0, -5.0):
            energy = Estimate.exact(joules, unit="J", source="a broken counter")
            it.append("measure", {"name": "train", "energy": energy})
    team = str(tmp_path / "team.db")
    assert main(["ledger", "merge", str(tmp_path / "a.db"), "--into", team]) == 0
    assert "1 entry with a figure below zero" in capsys.readouterr().out
    assert main(["report", team, "--name", "train", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["totals"][0]["sums"]["energy"]["estimate"]["value"] == 5
    assert told["totals"][0]["refused"] == 1
