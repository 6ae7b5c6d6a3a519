"""Real processes that measure one machine at once count it once, from window to report."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from ledger_sample import opened

from negawatt.cli import main
from negawatt.core.codec import decode
from negawatt.core.estimate import Estimate
from negawatt.ledger import Entry, open_ledger
from negawatt.ledger.overlap import counted, shares
from negawatt.meters import band
from negawatt.reports.totals import Total, totals

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "rank_sample.py"
BEGIN_J, SPENT_J = 1000.0, 5000.0


class Node:
    """A machine with a package counter, and processes that measure on it."""

    def __init__(self, folder: Path) -> None:
        self.powercap = folder / "powercap"
        zone = self.powercap / "intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text("262143328850\n")
        self._counter = zone / "energy_uj"
        self._set(BEGIN_J)

    def _set(self, joules: float) -> None:
        self._counter.write_text(f"{round(joules * 1e6)}\n")

    def run(self, count: int, mode: str, ledger: Path, *, counters: bool = True) -> None:
        """Open windows in so many processes, let energy flow, and close them.

        The first that opens is the last that closes, so that what all saw lies in its time.
        """
        words = [sys.executable, str(SAMPLE), mode, str(ledger)]
        words += [str(self.powercap)] if counters else []
        ranks = []
        for n in range(count):
            rank = subprocess.Popen(
                words,
                env={**os.environ, "RANK": str(n), "LOCAL_RANK": str(n), "WORLD_SIZE": str(count)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            ranks.append(rank)
            assert rank.stdout is not None
            told = rank.stdout.readline()
            assert told == "open\n", rank.communicate()[1]
        self._set(BEGIN_J + SPENT_J)
        for rank in reversed(ranks):
            _, told = rank.communicate("go on\n", timeout=60)
            assert rank.returncode == 0, told


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def entries_of(ledger: Path) -> list[Entry]:
    with open_ledger(ledger, readonly=True) as it:
        return list(it.entries("measure"))


def sum_of(ledger: Path) -> Total:
    (total,) = totals(entries_of(ledger))
    return total


@pytest.mark.parametrize("count", [2, 4])
def test_processes_on_one_node_count_it_once(node: Node, ledger: Path, count: int) -> None:
    node.run(count, "window", ledger)
    assert [e.body["boundaries"]["package:0"]["value"] for e in entries_of(ledger)] == [
        pytest.approx(SPENT_J)
    ] * count
    total = sum_of(ledger)
    energy = total.sums["energy"].estimate
    assert energy.value == pytest.approx(SPENT_J)
    assert energy.low <= SPENT_J <= energy.high
    assert (total.entries, total.counted_once) == (count, count - 1)
    assert total.sums["cpu_seconds"].known == count


def test_every_form_of_the_report_says_that_they_count_once(
    node: Node, ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node.run(2, "window", ledger)
    said = "1 entry measured what others measured too and is counted once"
    page, sheet = tmp_path / "page.html", tmp_path / "sheet.csv"
    assert main(["report", str(ledger)]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert main(["report", str(ledger), "--html", str(page), "--csv", str(sheet), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert said in told["notes"][0]
    assert told["totals"][0]["counted_once"] == 1
    assert said in page.read_text()
    names = [row["name"] for row in csv.DictReader(io.StringIO(sheet.read_text()))]
    assert any("energy of 2 entries, 1 of them measured by others too" in name for name in names)


def test_nested_windows_count_once(node: Node, ledger: Path) -> None:
    node.run(1, "nested", ledger)
    total = sum_of(ledger)
    assert (total.entries, total.counted_once) == (2, 1)
    assert total.sums["energy"].estimate.value == pytest.approx(SPENT_J)


def test_the_ranks_of_a_callback_write_one_entry_a_node(node: Node, ledger: Path) -> None:
    node.run(4, "callback", ledger)
    (entry,) = entries_of(ledger)
    assert entry.body["boundaries"]["package:0"]["value"] == pytest.approx(SPENT_J)
    assert "modelled" not in entry.body
    assert sum_of(ledger).sums["energy"].estimate.value == pytest.approx(SPENT_J)


def test_without_counters_each_rank_of_a_callback_writes_its_own_share(
    node: Node, ledger: Path
) -> None:
    node.run(4, "callback", ledger, counters=False)
    check_rest(entries_of(ledger), count=4)


def test_without_counters_the_machine_rests_once(node: Node, ledger: Path) -> None:
    node.run(3, "window", ledger, counters=False)
    check_rest(entries_of(ledger), count=3)


def check_rest(entries: Sequence[Entry], *, count: int) -> None:
    """CPU time of each is its own and adds; rest power is counted for each moment once."""
    assert len(entries) == count
    starts, ends, above = [], [], 0.0
    for entry in entries:
        parts = {key.partition(":")[0]: one for key, one in entry.body["modelled"].items()}
        rest, own = parts["rest"], parts["process"]
        assert rest["value"] + own["value"] == pytest.approx(entry.body["energy"]["value"])
        above += own["value"]
        start = _seconds(entry)
        starts.append(start)
        ends.append(start + entry.body["wall_seconds"]["value"])
    (total,) = totals(entries)
    watts = band.local().rest.value
    once = watts * (max(ends) - min(starts)) + above  # all were open at one time: no hole
    assert total.sums["energy"].estimate.value == pytest.approx(once, rel=1e-3)
    assert total.counted_once == count - 1


def _seconds(entry: Entry) -> float:
    return datetime.fromisoformat(entry.body["started_at"]).timestamp()


def test_nested_windows_without_counters_count_their_cpu_time_once(
    node: Node, ledger: Path
) -> None:
    node.run(1, "nested", ledger, counters=False)
    inner, outer = sorted(entries_of(ledger), key=lambda e: e.body["wall_seconds"]["value"])
    total = sum_of(ledger)
    assert total.counted_once == 1
    assert shares([inner, outer])[inner.id].counted == pytest.approx(0, abs=1e-6)
    assert total.sums["energy"].estimate.value == pytest.approx(
        outer.body["energy"]["value"], rel=1e-3
    )


def test_a_node_that_two_ledgers_hold_counts_once(
    node: Node, ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    team = tmp_path / "team.db"
    node.run(2, "window", ledger)
    bodies = [dict(entry.body) for entry in entries_of(ledger)]
    for name, body, machine in (
        ("a.db", bodies[0], "node-1"),
        ("b.db", bodies[1], "node-1"),  # the other rank of the same node, in the other ledger
        ("b.db", bodies[1], "node-2"),
    ):
        with opened(tmp_path / name, machine=machine) as it:
            it.append("measure", body)
    merge = ["ledger", "merge", str(tmp_path / "a.db"), str(tmp_path / "b.db")]
    for _ in range(2):  # the second time nothing is new
        assert main([*merge, "--into", str(team)]) == 0
    capsys.readouterr()
    assert main(["report", str(team), "--kind", "measure", "--json"]) == 0
    (total,) = json.loads(capsys.readouterr().out)["totals"]
    energy = total["sums"]["energy"]["estimate"]
    assert (total["entries"], total["counted_once"]) == (3, 1)
    assert energy["value"] == pytest.approx(2 * SPENT_J)


def test_what_is_counted_keeps_its_interval(node: Node, ledger: Path) -> None:
    node.run(2, "window", ledger)
    entries = entries_of(ledger)
    ((name, share),) = shares(entries).items()
    entry = next(e for e in entries if e.id == name)
    whole = decode(Estimate, entry.body["energy"])
    left = counted(whole, entry.body, share)
    assert 0 <= left.low <= left.value <= left.high <= whole.high
    assert left.value == pytest.approx(whole.value * share.counted)
