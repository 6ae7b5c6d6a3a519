"""The JSON twin of a report: the same record, for machines and for later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from negawatt.core.codec import decode, encode
from negawatt.core.errors import UsageError
from negawatt.core.outcome import Outcome

VERSION = 1  # of the record, as `Outcome.version`
_AGAIN = "run `negawatt optimize` again, or name another report.json"


def text(outcome: Outcome) -> str:
    """An outcome as JSON text; numbers in full, in SI units as the records name them."""
    return json.dumps(encode(outcome), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Path) -> Outcome:
    """Read what `text` wrote.

    Raises:
        UsageError: the file is missing, is not such a report, or is of a newer version.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", fix=_AGAIN) from error
    except ValueError as error:  # JSON and UTF-8 errors are ValueErrors
        raise UsageError(f"{path} is not JSON: {error}", fix=_AGAIN) from error
    return outcome_of(value, str(path))


def outcome_of(value: Any, place: str) -> Outcome:
    """The outcome a JSON value holds; `place` names it in errors.

    Raises:
        UsageError: it holds none, or one of a newer version.
    """
    if not isinstance(value, dict) or not {"facts", "points", "decision"} <= value.keys():
        raise UsageError(f"{place} holds no result of `negawatt optimize`", fix=_AGAIN)
    version = value.get("version", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise UsageError(
            f"{place} is a report of version {version}, and this negawatt reads up to {VERSION}",
            fix="pip install --upgrade negawatt",
        )
    try:
        return decode(Outcome, value)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UsageError(f"{place} is not a whole report: {error}", fix=_AGAIN) from error
