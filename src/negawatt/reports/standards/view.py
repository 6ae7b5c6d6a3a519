"""A footprint on a terminal: every figure with interval, kind and source, none added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from negawatt.core.estimate import Estimate
from negawatt.ledger.footprint.account import Account
from negawatt.ledger.footprint.remote import Remote
from negawatt.reports import screen
from negawatt.reports.standards.sci import Sci
from negawatt.reports.standards.wording import atoms, readable

Rows = Mapping[str, Estimate | None]


def account_rows(found: Account, score: Sci | None = None) -> Rows:
    """The figures of an account by the names people read."""
    rows: dict[str, Estimate | None] = {"energy, IT equipment": found.energy}
    if found.idle is not None:
        rows["  of it idle"] = found.idle
    rows |= {
        "energy, facility": found.facility,
        "Scope 2, location-based": found.scope2.location,
        "Scope 2, market-based": found.scope2.market,
        "water, on site": found.water.onsite,
        "water, off site": found.water.offsite,
        "primary energy": found.primary,
        "embodied share": found.embodied,
    }
    if len(found.embodied_parts) > 1:
        rows |= {f"  of it {name}": share for name, share in found.embodied_parts.items()}
    if score is not None:
        rows[f"SCI, per {score.unit}"] = score.score
    return rows


def remote_rows(found: Remote) -> Rows:
    """The figures of a remote request by the names people read."""
    return {
        "energy": found.energy,
        "emissions of use": found.usage,
        "embodied share": found.embodied,
        "both": found.emissions,
        "water, on site": found.water.onsite,
        "water, off site": found.water.offsite,
        "accelerators": found.accelerators,
        "time of generation": found.latency,
    }


def show(title: str, rows: Rows, notes: Sequence[str], console: Console) -> None:
    """Print figures on a terminal; plainly when the console is none."""
    console = screen.fitting(console)
    sources: dict[str, int] = {}
    table = screen.ruled(console)
    for head in ("figure", "value", "interval", "kind", "from"):
        table.add_column(head, justify="right" if head == "value" else "left", no_wrap=True)
    for name, estimate in rows.items():
        value, interval = readable(estimate)
        if estimate is None:
            table.add_row(name, value, "", "unknown", "")
            continue
        marks = [sources.setdefault(one, len(sources) + 1) for one in atoms(estimate.source)]
        told = " ".join(str(mark) for mark in sorted(marks))
        table.add_row(name, value, interval or "exact", str(estimate.kind), told)
    held = {name.strip(): e.boundary for name, e in rows.items() if e is not None and e.boundary}
    blocks: list[RenderableType] = [
        Text(title, style="bold"),
        Text(),
        table,
        Text("Figures are not added up: they count different things.", style="dim"),
        screen.title("What is in them"),
        *(Text(f"{name}: {boundary}", style="dim") for name, boundary in held.items()),
        *(Text(f"note: {note}") for note in notes),
        screen.title("Where they come from"),
        *(Text(f"{mark:>2} {source}", style="dim") for source, mark in sources.items()),
    ]
    screen.put(Group(*(Padding(block, (0, 1)) for block in blocks)), console)
