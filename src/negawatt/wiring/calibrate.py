"""From what was asked of `negawatt calibrate` to a kept profile."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration
from negawatt import wiring
from negawatt.core.errors import MeterUnavailable, RuntimeUnavailable, UsageError

if TYPE_CHECKING:
    from negawatt.actions.calibrate.fitted import Calibration
    from negawatt.actions.calibrate.rig import Rig
    from negawatt.meters import Inventory
    from negawatt.settings import Settings

_CUDA = re.compile(r"cuda(?::(\d+))?")


def calibrate(
    device: str = "auto",
    *,
    quick: bool = False,
    sheet: str = "",
    progress: Callable[[str, float], None] = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Calibration:
    """Measure a device of this machine with PyTorch on it, and keep its profile.

    Args:
        device: "cpu", "cuda", "cuda:N", or "auto": a GPU that can be used and measured, else the CPU.
        quick: Fewer and shorter windows.
        sheet: Datasheet to start from; found by the device's name when empty.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name; see `negawatt settings`.

    Returns:
        The calibration, with where its profile is kept.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = _settings(flags)
    from negawatt import meters
    from negawatt.actions.calibrate.action import Question
    from negawatt.actions.calibrate.action import calibrate as run
    from negawatt.actions.calibrate.run import Bench
    from negawatt.meters.band import local

    configuration.name_meters(settings)
    found = meters.discover()
    rig = _rig(device, settings, found)
    question = Question(
        name=rig.device if rig.accelerator is not None else _cpu(settings),
        cache=settings.paths.cache,
        quick=quick,
        sheet=sheet,
        versions=wiring.versions(),
    )
    bench = Bench(
        rig=rig,
        instruments=meters.Instruments(meters=found.meters),
        progress=progress,
        sleep=time.sleep,
    )
    done = run(question, bench, lambda: local().full.value)
    _record(settings, done)
    return done


def calibrate_again(
    ledger: Path | str | None = None, sheet: str = "", *, device: str = "", engine: str = ""
) -> Calibration:
    """Fit all that a ledger holds of a device's calibrations, and keep the profile.

    Args:
        ledger: A file or address; your own when None.
        sheet: Name of the datasheet to start from; that of the latest calibration when empty.
        device: Of this one alone; may be left out where there is but one.
        engine: With this one alone; the same.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = _settings(None)
    from negawatt.actions.calibrate.action import from_records
    from negawatt.actions.calibrate.recorded import KIND, recorded
    from negawatt.ledger import open_ledger

    with open_ledger(ledger or settings.paths.ledger, readonly=True) as kept:
        bodies = [entry.body for entry in kept.entries(KIND)]
    found = recorded(bodies, device=device, engine=engine)
    return from_records(found, sheet, settings.paths.cache)


def _record(settings: Settings, done: Calibration) -> None:
    """Write what was measured into the ledger."""
    from negawatt.actions.calibrate.recorded import KIND, body_of
    from negawatt.ledger import open_ledger

    with open_ledger(settings.paths.ledger) as ledger:
        ledger.append(KIND, body_of(done))


def calibrate_from(
    file: Path,
    sheet: str,
    *,
    device: str = "",
    source: str = "",
    flags: Mapping[str, object] | None = None,
) -> Calibration:
    """Fit a table of measured runs, and keep the profile.

    Args:
        file: CSV; see `negawatt.actions.calibrate.table` for its columns.
        sheet: Name of the datasheet to start from.
        device: Rows of this one alone; all when empty.
        source: Rows of this one alone; all when empty.
        flags: Settings by name.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    from negawatt.actions.calibrate.action import from_table

    return from_table(file, sheet, _settings(flags).paths.cache, device=device, source=source)


def _settings(flags: Mapping[str, object] | None) -> Settings:
    asked = {name: None if value is None else str(value) for name, value in (flags or {}).items()}
    return configuration.load(asked)


def _rig(device: str, settings: Settings, found: Inventory) -> Rig:
    """PyTorch on the device asked for."""
    matched = _CUDA.fullmatch(device)
    if device not in {"auto", "cpu"} and matched is None:
        raise UsageError(f"{device!r} is no device", fix="give cpu, cuda, cuda:0 or auto")
    # CUDA counts fastest boards first unless told otherwise, and meters count by bus.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    wiring.runtime("torch")  # says what to install where it is missing
    from negawatt.models.rig import TorchRig

    threads = settings.run.threads or wiring.cores()
    instead = ""
    if matched is not None or device == "auto":
        index = int(matched[1] or 0) if matched else 0
        try:
            rig = TorchRig(f"cuda:{index}", threads=threads)
            rig.accelerator = _counted(index, found)
        except (RuntimeUnavailable, MeterUnavailable) as error:
            if matched is not None:
                raise  # the CPU is taken in its place only where nobody asked for a GPU
            # PyTorch without CUDA is no GPU passed over; one that cannot be measured is.
            instead = error.what if isinstance(error, MeterUnavailable) else ""
        else:
            return rig
    return TorchRig("cpu", threads=threads, instead=instead)


def _counted(index: int, found: Inventory) -> int:
    """Which board of the meter is CUDA's number `index`.

    Raises:
        MeterUnavailable: no board is counted, or it is unclear which one is meant.
    """
    boards = [name for name in found.boundaries if name.startswith("gpu:")]
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    chosen = [word.strip() for word in seen.split(",") if word.strip()]
    numbers = [int(word) for word in chosen if word.isdigit()]
    if len(boards) == 1 and index == 0:
        return int(boards[0].partition(":")[2])
    if chosen and len(numbers) < len(chosen):
        raise MeterUnavailable(
            f"CUDA_VISIBLE_DEVICES={seen} does not tell which board is meant",
            fix="name boards there by their numbers, in the order of `nvidia-smi`",
        )
    board = numbers[index] if index < len(numbers) else index
    if f"gpu:{board}" not in boards:
        raise MeterUnavailable(
            f"GPU {board} has no counter that can be read, and there is no band for GPUs",
            fix="pip install 'negawatt[nvml]', and see `negawatt doctor`",
        )
    return board


def _cpu(settings: Settings) -> str:
    """A name for the share of the CPU that is used, fit for a command line."""
    name = re.sub(r"\((R|TM)\)|\bCPU\b|@.*|Processor", " ", wiring.machine()["cpu"])
    threads = settings.run.threads or wiring.cores()
    return "-".join([*name.split(), f"{threads}-threads"])
