"""What can be measured on this machine, what is missing, and what is modelled instead."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import sleep

from negawatt.core.estimate import Estimate
from negawatt.meters import inventory, machine
from negawatt.meters.band import Band, band_of
from negawatt.meters.facts import facts_of
from negawatt.meters.instruments import Instruments
from negawatt.meters.inventory import Inventory, Missing
from negawatt.meters.machine import Machine
from negawatt.meters.window import Window

#: What an instruction set is good for here, and how systems spell it.
_ABILITIES: Mapping[str, tuple[str, ...]] = {
    "wide vectors": ("avx512f", "avx2", "sve2", "sve", "asimd"),
    "8-bit products": (
        "amx_int8", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "i8mm", "asimddp",
    ),
    "bfloat16 products": ("amx_bf16", "avx512_bf16", "bf16"),
    "16-bit conversion": ("f16c", "fphp"),
}  # fmt: skip

_ENGINES = ("torch", "transformers", "openvino", "onnxruntime", "llama-cpp-python", "numpy")
_FOR_DEVELOPERS = frozenset({"dev", "docs"})  # extras that a user does not miss
_LOOK_S = 0.3  # how long each meter is watched for the power it shows now [s]


@dataclass(frozen=True, slots=True)
class Ability:
    """Something a CPU can do fast, and the instruction sets by which it does."""

    name: str
    present: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Live:
    """A meter that works, with the power it shows right now."""

    name: str
    boundary: str
    power: Estimate  # [W]


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part of this package that is not complete."""

    name: str
    lacks: tuple[str, ...]  # distributions
    install: str  # what to type


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the disk of a folder."""

    folder: Path
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Checkup:
    """Everything `negawatt doctor` has to say."""

    machine: Machine
    cpu_entry: str  # key in the CPU table
    abilities: tuple[Ability, ...]
    meters: tuple[Live, ...]
    unread: tuple[str, ...]  # meters that were found and then failed
    missing: tuple[Missing, ...]
    rest: Estimate  # modelled power of the visible share at rest [W]
    full: Estimate  # and with every usable thread busy [W]
    per_cpu_second: Estimate  # what one more CPU-second adds [J/s]
    cpu_known: bool
    covers: float | None  # share of held-out servers inside the band; None: not tried [1]
    measures_cpu: bool
    disk: Disk
    versions: Mapping[str, str]
    extras: tuple[Extra, ...]


def abilities_of(features: tuple[str, ...]) -> tuple[Ability, ...]:
    """What a CPU can do fast; nothing present means that it does it the slow way.

    >>> abilities_of(("avx2", "f16c"))[0]
    Ability(name='wide vectors', present=('avx2',))
    """
    return tuple(
        Ability(name, tuple(feature for feature in known if feature in features))
        for name, known in _ABILITIES.items()
    )


def versions() -> dict[str, str]:
    """Versions of this package, Python and the engines that are installed; none is imported."""
    found = {"python": platform.python_version()}
    for name in ("negawatt", *_ENGINES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def extras_of(requirements: list[str]) -> tuple[Extra, ...]:
    """Optional parts with something missing, from a package's own requirements.

    >>> extras_of(['surely-not-there>=2; extra == "gpu"'])
    (Extra(name='gpu', lacks=('surely-not-there',), install="pip install 'negawatt[gpu]'"),)
    """
    wanted: dict[str, list[str]] = {}
    for line in requirements:
        extra = re.search(r"""extra == ['"]([^'"]+)['"]""", line)
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if extra and name and name[0] != "negawatt":  # an extra made of extras lacks their parts
            wanted.setdefault(extra[1], []).append(name[0])
    lacking = {
        extra: tuple(name for name in names if not _installed(name))
        for extra, names in wanted.items()
    }
    return tuple(
        Extra(extra, names, f"pip install 'negawatt[{extra}]'")
        for extra, names in lacking.items()
        if names and extra not in _FOR_DEVELOPERS
    )


def _extras() -> tuple[Extra, ...]:
    try:
        return extras_of(metadata.requires("negawatt") or [])
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        return ()


def _look(found: Inventory) -> tuple[tuple[Live, ...], tuple[str, ...]]:
    """Watch every meter for a moment."""
    if not found.meters:
        return (), ()
    with Window("look", instruments=Instruments(meters=found.meters)) as window:
        sleep(_LOOK_S)
    span = window.result
    live = [
        Live(
            reading.meter,
            reading.boundary,
            reading.estimate(wall_s=span.wall_s).scaled(1 / span.wall_s, unit="W"),
        )
        for reading in span.readings
    ]
    return tuple(live), span.unread


def examine(
    *, seen: Machine | None = None, found: Inventory | None = None, folder: Path | None = None
) -> Checkup:
    """Look at this machine. Takes a third of a second where there are meters to watch.

    Args:
        seen: The machine; this one when None.
        found: Its meters; looked for when None.
        folder: Whose disk to look at; the current one when None.
    """
    seen, found = seen or machine.here(), found or inventory.here()
    band: Band = band_of(seen)
    live, unread = _look(found)
    folder = (folder or Path.cwd()).absolute()
    usage = shutil.disk_usage(folder)
    return Checkup(
        machine=seen,
        cpu_entry=facts_of(seen.cpu).key,
        abilities=abilities_of(seen.features),
        meters=live,
        unread=unread,
        missing=found.missing,
        rest=band.rest,
        full=band.full,
        per_cpu_second=band.per_cpu_second,
        cpu_known=band.known,
        covers=band.covers,
        measures_cpu=found.measures_cpu,
        disk=Disk(folder, usage.free, usage.total),
        versions=versions(),
        extras=_extras(),
    )
