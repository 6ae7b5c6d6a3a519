"""From what was asked of `negawatt backtest` to what each policy would have emitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negawatt.decisions.backtests import Awhile, Backtest, Limits, Nightly


def backtest(file: Path | str, **asked: Any) -> Backtest:
    """Try policies on what happened, each with what was known then.

    Args:
        file: A CSV of intensities, `FILE` or `FILE:ZONE`.
        asked: What else is asked for, see `negawatt.actions.backtest.question.Question`:
            `jobs="every 1h"`, `duration="4h"`, `slack="24h"`, `policies=["contiguous"]`,
            `forecasts=["mean28"]`, `places=["OTHER.csv:SE"]`, ...

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    from negawatt.actions.backtest.question import Question, ask

    return ask(Question(file=str(file), **asked))


def study(name: str, file: Path | str, **asked: Any) -> Awhile | Nightly | Limits:
    """Do a published experiment on a file, by its own protocol and by a stricter one.

    Args:
        name: `lets-wait-awhile`, `lets-wait-awhile-nightly` or `limits`.
        file: A CSV of intensities, `FILE` or `FILE:ZONE`.
        asked: As for `backtest`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    from negawatt.actions.backtest.question import Question
    from negawatt.actions.backtest.question import study as run

    return run(Question(file=str(file), **asked), name)


def picture(found: Backtest | Awhile | Nightly | Limits, file: Path) -> None:
    """Write a back-test, or a study, as a page that needs nothing but itself.

    Raises:
        OutputError: it cannot be written.
    """
    from negawatt.decisions.backtests import Backtest
    from negawatt.reports import backtests, studies
    from negawatt.reports.files import replace_all

    text = backtests.page(found) if isinstance(found, Backtest) else studies.page(found)
    replace_all({file: text})
