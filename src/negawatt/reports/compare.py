"""Before and after: two entries of a ledger, or the entries of two names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger import Entry, Head, Ledger
from negawatt.ledger.overlap import shares
from negawatt.reports import totals
from negawatt.reports.book import Choice, of_hours
from negawatt.reports.difference import Difference, difference
from negawatt.reports.figures import amount, listing
from negawatt.reports.terms import Terms, terms_of
from negawatt.reports.totals import Grid

#: Key of `totals.SHOWN` -> how a sentence calls it.
_WORDS = (
    ("energy", "energy"),
    ("cpu_seconds", "CPU time"),
    ("wall_seconds", "wall time"),
    ("emissions", "emissions"),
)
ONE_RUN = (
    "At least one side is a single run: how much runs differ among themselves is not known"
    " and not in the intervals."
)
SAME_WORK = "Whether both did the same work is not in a ledger: that is for the reader to say."


@dataclass(frozen=True, slots=True)
class Side:
    """What stands on one side: an entry, or all entries of a name."""

    label: str  # as it was asked for
    name: str
    entries: tuple[int, ...]  # numbers in the ledger


@dataclass(frozen=True, slots=True)
class Change:
    """One figure on both sides; of several entries the mean."""

    name: str
    before: Estimate
    after: Estimate
    difference: Estimate  # after minus before
    ratio: Estimate | None  # after over before; None where before may be zero [1]
    runs: tuple[int, int]  # entries that had the figure
    shared: tuple[str, ...]  # uncertain factors on both sides: they cancel in the ratio
    added: tuple[str, ...]  # uncertain parts of one side: their errors add
    sentence: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What changed between two sides of one ledger, which verified."""

    ledger: str
    head: Head
    before: Side
    after: Side
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def compare(
    ledger: Ledger,
    before: str,
    after: str,
    choice: Choice | None = None,
    grid: Grid | None = None,
) -> Comparison:
    """Verify a ledger and compare two of its entries or names.

    Args:
        ledger: An open one.
        before: Number of an entry, or the name of entries.
        after: The same.
        choice: Only entries of this kind and time; its name is not looked at.
        grid: With which emissions are worked out.

    Raises:
        LedgerError: the chain does not verify.
        UsageError: there is no such entry or name, or the two share no figure.
    """
    head, choice, grid = ledger.verify(), choice or Choice(), grid or Grid()
    entries = [*ledger.entries(choice.kind, choice.since)]
    first, last = (_chosen(entries, label, ledger.place) for label in (before, after))
    changes = tuple(_changes(first, last, grid))
    if not changes:
        raise UsageError(
            f"{before!r} and {after!r} have no figure in common",
            fix="compare two measurements; `negawatt ledger list` shows what entries hold",
        )
    one, other = (
        Side(label, totals.name_of(side[0].body), tuple(entry.sequence for entry in side))
        for label, side in ((before, first), (after, last))
    )
    notes = (*_notes(first, last, changes), *of_hours(grid))
    return Comparison(ledger.place, head, one, other, changes, notes)


def _chosen(entries: Sequence[Entry], label: str, place: str) -> list[Entry]:
    """The entry of a number, else all entries of a name."""
    found = [entry for entry in entries if str(entry.sequence) == label]
    found = found or [entry for entry in entries if totals.name_of(entry.body) == label]
    if not found:
        raise UsageError(
            f"{place} holds no entry {label!r} and none of that name",
            fix="`negawatt ledger list` shows numbers and names;"
            " --kind and --since leave entries out",
        )
    return found


def _changes(before: list[Entry], after: list[Entry], grid: Grid) -> Iterable[Change]:
    shown = [
        [totals.shown_figures(entry, grid) for entry in entries] for entries in (before, after)
    ]
    same = [entry.id for entry in before] == [entry.id for entry in after]
    for key, name in _WORDS:
        mine, theirs = ([f for f in side if key in f] for side in shown)
        if mine and theirs and mine[0][key].unit == theirs[0][key].unit:
            yield _change(name, key, (mine, theirs), same=same)


def _change(
    name: str,
    key: str,
    sides: tuple[list[dict[str, Estimate]], list[dict[str, Estimate]]],
    *,
    same: bool,
) -> Change:
    one, other = (_mean(key, side) for side in sides)
    values = [[figures[key].value for figures in side] for side in sides]
    found = difference(one, other, same=same, repeats=(values[0], values[1]))
    return Change(
        name=name,
        before=one.whole,
        after=other.whole,
        difference=found.change,
        ratio=found.ratio,
        runs=(len(sides[0]), len(sides[1])),
        shared=found.shared,
        added=found.added,
        sentence=_sentence(name, one.whole, other.whole, found),
    )


def _mean(key: str, side: Sequence[Mapping[str, Estimate]]) -> Terms:
    parts = [terms_of(figures, key) for figures in side]
    if len(parts) == 1:
        return parts[0]
    whole = totals.added([figures[key] for figures in side])
    return Terms.mean(parts, whole.scaled(1 / len(side)))


def _sentence(name: str, before: Estimate, after: Estimate, found: Difference) -> str:
    """Whether the difference can be told from none, in words."""
    change, unit = found.change, found.change.unit
    subject = f"{name[0].upper()}{name[1:]}"
    if change.low == change.high == 0:
        return f"{subject}: exactly the same."
    size, low, high = (
        amount(abs(n), unit) for n in (change.value, *sorted((change.low, change.high), key=abs))
    )
    direction = "more" if change.value > 0 else "less"
    if before.boundary != after.boundary:
        return (
            f"{subject}: {size} {direction} after, but the two do not count the same things,"
            " so this says nothing about the work."
        )
    if change.is_exact:
        return f"{subject}: {size} {direction} after: distinguishable from zero, read exactly."
    if change.low > 0 or change.high < 0:
        return f"{subject}: {size} {direction} after ({low} to {high}): distinguishable from zero."
    return (
        f"{subject}: {size} {direction} after by the best estimate, but the interval of the"
        " difference holds zero: not distinguishable from zero."
    )


def _notes(before: list[Entry], after: list[Entry], changes: Sequence[Change]) -> Iterable[str]:
    ids = ({entry.id for entry in before}, {entry.id for entry in after})
    if ids[0] == ids[1]:
        yield "Both sides are the same entries: every error is shared."
        return
    if ids[0] & ids[1]:
        yield "Some entries stand on both sides: their errors are added, which is safe."
    if any(min(change.runs) < 2 for change in changes):
        yield ONE_RUN
    else:
        yield "Figures are means of runs; the intervals hold what repeats say (95 %, Welch)."
    once = sum(len(shares(side)) for side in (before, after))
    if once:
        yield (
            f"{once} {'entry' if once == 1 else 'entries'} measured what another of its side"
            " measured too, and stands in the mean in full: such entries are no separate runs."
        )
    apart = [c.name for c in changes if c.before.boundary != c.after.boundary]
    if apart:
        yield f"The boundaries of {listing(apart)} differ between the sides."
    yield SAME_WORK
