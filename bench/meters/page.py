"""The results as a table for a terminal and as the page of the documentation."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figures import OURS, ROWS, Row, shown, verdict, watts

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "meters.json"
PAGE = HERE.parents[1] / "docs" / "explanation" / "meters-compared.md"

PAGE_TEXT = """\
<!-- Written by bench/meters/page.py from bench/results/meters.json: `make bench-meters`. -->

# Meters compared: what measuring costs, and what is reported

A meter that costs much is not left on, and one that reports a figure for whatever it is given is
worse than none. This page puts negawatt beside other Python meters, all in one run, on one
machine. `make bench-meters` makes it anew on yours, with the versions in `bench/meters/peers.txt`.

{setting}

## What measuring costs

The median of several runs, and in brackets the quarter of them below and above. Tools take turns,
run after run, each in a fresh interpreter.

{costs}

- *Cold import* and its memory: time and memory of the import that a user writes to measure, in a fresh
  interpreter (the files are in the system's cache).{lazy}
- *First window*: from nothing made to the figure of an empty window; the import is done. This is
  when a tool looks for what there is to read.
- *Window*: one more, with its figure: the middle one of many in a process. With a */proc read*,
  negawatt's own reader of RAPL counters is given `/proc/self/stat` in the place of a counter and
  reads it at both ends: what a window costs where there is a counter. With *no counter* is its
  window as this machine allows it. The other tools read what they read here.
- *CPU at 10 Hz*: share of one CPU that the process takes while it sleeps and the tool looks at the
  machine ten times a second. For negawatt, a window around a sensor that knows power alone: its own
  reader of such sensors is given `/proc/sys/kernel/random/entropy_avail` in the place of one.

The network is out of reach in all of it: an attempt fails at once, so no tool waits for an answer.
eco2ai raises an error where it cannot ask for its place, and is told a country instead.
The hook that sees to this adds about a microsecond to every file that any tool opens.

{reasons}

## What is reported

{seconds:g} seconds of sleep, then {seconds:g} seconds of work on one thread, each in a fresh
interpreter. No tool is told anything about the machine or the place. Joules are divided by the
time that the tool states, or ours where it states none; the rest is shown as the tool says it.

{reports}

Nobody can say from inside this machine which figure is right{counters}. What can be said is whether
a figure moves with the work, whether it tells how it was come by, and how far off it may be.

## What they do besides

What each did during the window of work, by the interpreter's own account (audit events; what
compiled code does on its own is not seen by it).

{habits}
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; empty cells are dashes."""
    lines = [[cell.replace("|", "\\|") or "–" for cell in line] for line in rows]
    cells = [[cell or " " for cell in head], ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def aligned(head: list[str], rows: list[list[str]]) -> str:
    """The same for a terminal, in columns."""
    lines = [head, *([cell.replace("**", "") for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _target(row: Row) -> str:
    return "" if row.target is None else f"≤ {row.target * row.scale:g}"


def costs(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table: ours, what ours may be, whether it is, and each other tool."""
    figures = results["rows"]
    mine = [figures[row.key].get(OURS, {}) for row in ROWS]
    head = ["", *[f"{row.title} [{row.unit}]" for row in ROWS]]
    lines = [
        [f"**{OURS}**", *[shown(row, figure) for row, figure in zip(ROWS, mine, strict=True)]],
        ["target", *[_target(row) for row in ROWS]],
        [
            "verdict",
            *[f"**{verdict(row, figure)}**" for row, figure in zip(ROWS, mine, strict=True)],
        ],
    ]
    lines += [
        [name, *[shown(row, figures[row.key].get(name, {})) for row in ROWS]]
        for name in results["versions"]
        if name != OURS
    ]
    return head, lines


def reasons(results: Mapping[str, Any]) -> str:
    """Why a cell is empty, tool by tool."""
    told: dict[tuple[str, str], list[str]] = {}
    for row in ROWS:
        for name, figure in results["rows"][row.key].items():
            if "none" in figure and name != OURS and row.key != "plain_s":
                told.setdefault((name, figure["none"]), []).append(row.title)
    lines = [f"- {name}, {'; '.join(rows)}: {why}" for (name, why), rows in told.items()]
    lines += [f"- {name} is not here: {why}" for name, why in results["not_installed"].items()]
    return "\n".join(["A dash has its reason:", "", *lines]) if lines else ""


def _power(answer: Mapping[str, Any]) -> str:
    if "none" in answer:
        return "nothing"
    report, wall_s = answer["report"], answer["wall_s"]
    middle = watts(report, wall_s)
    if middle is None:
        return "nothing"
    low, high = watts(report, wall_s, "low"), watts(report, wall_s, "high")
    spread = "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
    return f"{middle:.2f}{spread}"


def reports(results: Mapping[str, Any]) -> str:
    """Watts at rest and at work, and what the tool says they are."""
    lines = []
    for name, both in results["reports"].items():
        idle, busy = both["idle"], both["busy"]
        told = busy.get("none") or busy["report"].get("kind", "")
        said = busy.get("report", {})
        lines.append(
            [
                name,
                _power(idle),
                _power(busy),
                told,
                said.get("boundary", ""),
                said.get("place", ""),
            ]
        )
    head = ["", "asleep [W]", "one thread busy [W]", "how, as it says", "what is in it", "place"]
    return table(head, lines)


def habits(results: Mapping[str, Any]) -> str:
    """Files, helpers, network and threads of each tool."""
    lines = []
    for name, both in results["reports"].items():
        seen = both["busy"]
        if "network" not in seen:
            lines.append([name, *["not seen: it failed"] * 4])
            continue
        lists = [
            ", ".join(f"`{one}`" for one in seen[key]) or "none"
            for key in ("files", "helpers", "network")
        ]
        lines.append([name, *lists, str(seen["threads"])])
    return table(["", "files written", "helpers started", "hosts asked for", "threads kept"], lines)


def setting(results: Mapping[str, Any]) -> str:
    """Machine, versions and date in a sentence each."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    counters = ", ".join(machine["counters"])
    return (
        f"Measured on {results['date']}: {machine['cpu']}, {machine['threads']} threads,"
        f" {machine['memory_gb']:g} GB, {'a virtual machine, ' if machine['virtual'] else ''}"
        f"{machine['system']}, Python {machine['python']};"
        f" {f'energy counters: {counters}' if counters else 'no energy counter'}."
        f" Versions: {versions}."
    )


def page(results: Mapping[str, Any]) -> str:
    """The whole page."""
    bare = results["rows"].get("bare_import_s", {}).get(OURS)
    lazy = (
        f" For negawatt that is `from negawatt import measure`; `import negawatt` alone takes"
        f" {bare['median'] * 1e3:.3g} ms."
        if bare
        else ""
    )
    text = PAGE_TEXT.format(
        setting=setting(results),
        costs=table(*costs(results)),
        lazy=lazy,
        reasons=reasons(results),
        seconds=results["report_seconds"],
        reports=reports(results),
        counters="" if results["machine"]["counters"] else ": it has no counter",
        habits=habits(results),
    )
    return text.replace("\n\n\n", "\n\n")


def main() -> None:
    """Write the page from the results that are kept."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(results), encoding="utf-8")
    sys.stdout.write(f"{aligned(*costs(results))}\n")


if __name__ == "__main__":
    main()
