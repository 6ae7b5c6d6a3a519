"""From what was asked of `negawatt site` to a site that was run and told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from negawatt.decisions.site.account import Account


def site(file: Path | str, *, size: bool = False) -> Account:
    """Run a site with its solar, battery, jobs and cooling at the fewest grams.

    Args:
        file: TOML with the site; `negawatt site --example` shows one.
        size: Find the best size of solar and battery too.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    from negawatt.actions.site import describe
    from negawatt.decisions.site.account import account

    return account(describe(Path(file), sized=size))


def example() -> str:
    """A file to begin with."""
    from negawatt.actions.site import example as shown

    return shown()
