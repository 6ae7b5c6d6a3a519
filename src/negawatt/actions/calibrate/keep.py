"""Where calibrations are kept: the profile for predictions, the whole for whoever wants to check."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from negawatt.actions.calibrate.fitted import Calibration
from negawatt.core.codec import encode
from negawatt.core.errors import OutputError


def keep(found: Calibration, folder: Path) -> Calibration:
    """Write the profile and the calibration around it into a folder.

    Args:
        found: To be kept; a profile of the same device, engine and version is replaced.
        folder: Made when absent; `energy.profiles.kept_profiles` reads it.

    Returns:
        The calibration with the path of its profile.

    Raises:
        OutputError: they cannot be written.
    """
    name = slug(f"{found.profile.name} {found.profile.origin.engine}")
    file = folder / f"profile-{name}.json"
    told = replace(found, kept=str(file))
    _write(folder / f"calibration-{name}.json", told)
    _write(file, found.profile)
    return told


def slug(text: str) -> str:
    """Fit for the name of a file.

    >>> slug("NVIDIA H100 80GB, torch 2.9.0+cu128")
    'nvidia-h100-80gb-torch-2.9.0-cu128'
    """
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def _write(file: Path, value: object) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps(encode(value), allow_nan=False, indent=1), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror}",
            fix="free some disk space, or name another cache folder with NEGAWATT_CACHE",
        ) from error
