"""A model behind a server's address, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from negawatt.reports.figures import plain
from negawatt.reports.screen import fitting, put, ruled, title

if TYPE_CHECKING:
    from rich.console import Console

    from negawatt.core.estimate import Estimate


def show(found: Any, console: Console) -> None:
    """The comparison for people.

    Args:
        found: A `negawatt.actions.endpoint.Served`.
        console: Where to.
    """
    console = fitting(console)
    put(title(f"{found.model}, served by {found.server}"), console)
    table = ruled(console)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right")
    verdict = "allowed" if found.within else "MORE THAN ALLOWED"
    rows = {
        "perplexity": plain(found.perplexity.value),
        "perplexity of the base": plain(found.base_perplexity.value),
        "loss": f"{_share(found.loss)}; {found.max_loss:.2%} allowed: {verdict}",
        "same first choice as the base": _share(found.top1, sign=False),
        "first token after": f"{plain(found.first_token.value)} s",
        "each later token": f"{plain(found.next_token.value * 1e3)} ms "
        f"({plain(found.next_token.low * 1e3)} to {plain(found.next_token.high * 1e3)})",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    put(table, console)
    put(Text(f"Beside {found.base}; {found.tokens:,} tokens scored: {found.text}."), console)
    put(
        Text(
            "Its energy is not known from here: on the server's own machine, `negawatt measure` "
            "tells it."
        ),
        console,
    )


def _share(one: Estimate, *, sign: bool = True) -> str:
    if sign:
        return f"{one.value:+.2%} ({one.low:+.2%} to {one.high:+.2%})"
    return f"{one.value:.2%} ({one.low:.2%} to {one.high:.2%})"
