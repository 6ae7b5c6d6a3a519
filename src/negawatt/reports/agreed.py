"""Whether a variant decides as its base does, on the terminal and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from negawatt.reports.figures import Sources, Style, plain
from negawatt.reports.screen import fitting, put, ruled, title
from negawatt.reports.webpage import render

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from negawatt.core.estimate import Estimate
    from negawatt.models.agreement import Agreed, Agreement, Example, SliceLoss

#: Chance below which a slice is said to lose more than the others.
UNLIKELY = 0.05
_WAYS = {"gradients": "integrated gradients", "left out": "one token left out"}
_STEPS = 8  # shades of a strip's colour


def show(found: Agreed, console: Console) -> None:
    """The result for people.

    Args:
        found: Of `negawatt agree`.
        console: Where to.
    """
    console = fitting(console)
    put(title(f"{found.variant} beside {found.base}"), console)
    for sentence in sentences(found):
        put(Text(f"- {sentence}"), console)
    put(title("What its decisions rest on"), console)
    put(_ways(found, console), console)
    put(title("Every slice of text"), console)
    put(_slices(found, console), console)
    for note in found.notes:
        put(Text(f"- {note}"), console)


def sentences(found: Agreed) -> tuple[str, ...]:
    """What it comes to, in words."""
    told = [_decides(one) for one in found.agreements]
    if found.same_choice is not None:
        told.append(
            f"Of {found.decisions} decisions looked at, {_share(found.same_choice)} come out the "
            "same."
        )
    return (*told, *_fair(found))


def page(found: Agreed) -> str:
    """The result as an HTML file that needs nothing but itself, with strips of tokens."""
    sources = Sources()
    content = {
        "title": f"{found.variant} beside {found.base}",
        "found": found,
        "sentences": sentences(found),
        "ways": [
            (
                _WAYS[one.method],
                [
                    (name, *_figures(pair, sources))
                    for name, pair in (
                        ("base and variant", one.variant),
                        ("base at 32 and at 16 bits", one.yardstick),
                        ("base on another text", one.elsewhere),
                        ("base, shuffled", one.shuffled),
                    )
                ],
            )
            for one in found.agreements
        ],
        "slices": [_row(one, found.measure, sources) for one in found.slices],
        "strips": [_strip(one) for one in found.examples],
        "unlikely": UNLIKELY,
    }
    return render("agreement.html", content, {}, sources)


def _figures(pair: object, sources: Sources) -> tuple[object, object]:
    from negawatt.models.agreement import Likewise

    if not isinstance(pair, Likewise):
        raise TypeError(f"{type(pair).__name__} is no pair of figures")
    return (
        sources.figure(pair.rank, "rank correlation of attributions"),
        sources.figure(pair.top, "shared among the largest five", style="percent"),
    )


def _row(one: SliceLoss, measure: str, sources: Sources) -> dict[str, object]:
    style: Style = "change" if measure == "perplexity" else "number"
    return {
        "name": one.name,
        "told": one.told,
        "loss": sources.figure(one.loss, f"change of {measure}", style=style),
        "kl": None if one.kl is None else sources.figure(one.kl, "divergence"),
        "same": sources.figure(one.same, "same answer", style="percent"),
        "excess": None if one.excess is None else sources.figure(one.excess, "excess of a slice"),
        "chances": (one.p, one.kl_p),
    }


def _strip(one: Example) -> dict[str, object]:
    """Tokens with a shade from -8 to 8 each, by their share of the largest value of their row."""

    def shades(values: tuple[float, ...]) -> list[int]:
        most = max(map(abs, values)) or 1.0
        return [round(_STEPS * value / most) for value in values]

    rows = [
        (name, choice, list(zip(one.tokens, shades(values), values, strict=True)))
        for name, choice, values in (
            ("base", one.choice, one.base),
            ("variant", one.own, one.variant),
        )
    ]
    return {"slice": one.slice, "rank": one.rank, "rows": rows, "choice": one.choice}


def _decides(one: Agreement) -> str:
    lost = one.lost
    if lost.high < 0:
        verdict = f"that is {plain(-lost.value)} less than what 16-bit arithmetic alone leaves"
    elif lost.low > 0:
        verdict = "more than what 16-bit arithmetic alone leaves"
    else:
        verdict = "no less, as far as can be told, than 16-bit arithmetic alone leaves"
    return (
        f"By {_WAYS[one.method]}, base and variant rest on the same tokens with a rank correlation "
        f"of {_range(one.variant.rank)}; {verdict} ({_range(one.yardstick.rank)}). Another text "
        f"would give {_range(one.elsewhere.rank)}."
    )


def _fair(found: Agreed) -> tuple[str, ...]:
    if len(found.slices) < 2:
        fix = "name several with --slice NAME=FILE"
        return (f"With one slice of text nothing can be said of fairness: {fix}.",)
    count = len(found.slices)
    told = [
        f"{' and '.join(names)} {verb}{'s' * (len(names) == 1)} more than the mean of all slices "
        f"(p < {UNLIKELY}, corrected for {count}): the mean hides it."
        for names, verb in (
            ([one.name for one in found.slices if _unlikely(one.p)], "lose"),
            ([one.name for one in found.slices if _unlikely(one.kl_p)], "change"),
        )
        if names
    ]
    if not told:
        worst = max(found.slices, key=lambda one: one.excess.value if one.excess else 0.0)
        told.append(
            f"No slice loses more than the mean of all, as far as can be told; {worst.name} comes "
            f"nearest to it (p = {plain(worst.p or 0.0, 2)}, corrected for {count})."
        )
    return tuple(told)


def _unlikely(chance: float | None) -> bool:
    return chance is not None and chance < UNLIKELY


def _ways(found: Agreed, console: Console) -> Table:
    table = ruled(console)
    table.add_column("rank correlation over tokens", no_wrap=True)
    for one in found.agreements:
        table.add_column(_WAYS[one.method], justify="right")
    rows = {
        "base and variant": [_range(one.variant.rank) for one in found.agreements],
        "base at 32 and 16 bits": [_range(one.yardstick.rank) for one in found.agreements],
        "base on another text": [_range(one.elsewhere.rank) for one in found.agreements],
        "base, shuffled": [_range(one.shuffled.rank) for one in found.agreements],
    }
    for name in found.agreements[0].slices:
        if len(found.slices) > 1:
            rows[f"  on {name}"] = [_range(one.slices[name]) for one in found.agreements]
    rows["largest five on the same tokens"] = [_share(one.variant.top) for one in found.agreements]
    rows["  base at 32 and 16 bits"] = [_share(one.yardstick.top) for one in found.agreements]
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def _slices(found: Agreed, console: Console) -> Table:
    table = ruled(console)
    plain_loss = found.measure != "perplexity"
    for name in ("slice", "tokens", found.measure, "KL", "same", "above the mean", "p", "p of KL"):
        table.add_column(name, justify="left" if name == "slice" else "right")
    for one in found.slices:
        table.add_row(
            one.name,
            f"{one.tokens:,}",
            _range(one.loss)
            if plain_loss
            else f"{one.loss.value:+.2%} ({one.loss.low:+.2%} to {one.loss.high:+.2%})",
            "" if one.kl is None else plain(one.kl.value),
            f"{one.same.value:.1%}",
            "" if one.excess is None else f"{one.excess.value:+.4f}",
            *("" if chance is None else plain(chance, 2) for chance in (one.p, one.kl_p)),
        )
    return table


def _range(one: Estimate) -> str:
    return f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g})"


def _share(one: Estimate) -> str:
    return f"{one.value:.0%} ({one.low:.0%} to {one.high:.0%})"
