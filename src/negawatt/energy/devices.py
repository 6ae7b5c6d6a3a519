"""What datasheets say of devices: where a calibration starts, and all there is of an unseen one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from negawatt.core.errors import UsageError
from negawatt.energy.priors import priors
from negawatt.energy.roofline import Constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasheet:
    """A device as its maker describes it; dense rates.

    Args:
        name: Of the device.
        bandwidth: Of its memory. [B/s]
        rate: Operations in 16 bits. [1/s]
        power_w: That it may draw for long. [W]
        idle_w: That it draws at rest; None where nobody tells. [W]
        memory_bytes: That it holds. [B]
        source: Where that is written.
    """

    name: str
    bandwidth: float
    rate: float
    power_w: float
    idle_w: float | None
    memory_bytes: float
    source: str

    def __post_init__(self) -> None:
        for field in ("bandwidth", "rate", "power_w", "idle_w", "memory_bytes"):
            value = getattr(self, field)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(
                    f"{self.name}: {field} is {value!r}", fix=f"give a {field} above nought"
                )
        if self.idle_w is not None and self.idle_w >= self.power_w:
            raise UsageError(
                f"{self.name}: {self.idle_w:g} W at rest and {self.power_w:g} W at most",
                fix="give a power at rest below the greatest one",
            )

    @property
    def usual(self) -> Constants:
        """What an engine may be expected to make of it."""
        usual = {name: prior.value for name, prior in priors().items()}
        usual["bandwidth"] *= self.bandwidth
        usual["rate"] *= self.rate
        for name in ("weight_j", "context_j", "link_j"):
            usual[name] *= self.power_w / self.bandwidth
        usual["operation_j"] *= self.power_w / self.rate
        # A device that works keeps far more awake than one at rest.
        usual["static_w"] = max(2.0 * (self.idle_w or 0.0), usual["static_w"] * self.power_w)
        return Constants(**usual)


def read_datasheets(rows: Iterable[Mapping[str, str]]) -> dict[str, Datasheet]:
    """Datasheets of a table with the columns of `devices.csv`, by name; incomplete rows left out.

    Args:
        rows: As `csv.DictReader` gives them.
    """
    found = {}
    for row in rows:
        rate = row.get("peak_bf16_tflops") or row.get("peak_fp16_tflops")
        needed = [row.get(key) for key in ("mem_bw_gb_s", "tdp_w", "mem_gb")]
        if not rate or not all(needed):
            continue
        bandwidth, power, memory = (float(value) for value in needed if value)
        found[row["device"]] = Datasheet(
            name=row["device"],
            bandwidth=bandwidth * 1e9,
            rate=float(rate) * 1e12,
            power_w=power,
            idle_w=float(row["idle_w"]) if row.get("idle_w") else None,
            memory_bytes=memory * 1e9,
            source=row.get("source", ""),
        )
    return found


def datasheets_in(file: Path) -> dict[str, Datasheet]:
    """Those of a CSV file."""
    import csv

    with file.open(encoding="utf-8", newline="") as lines:
        return read_datasheets(csv.DictReader(line for line in lines if not line.startswith("#")))


@cache
def known_datasheets() -> Mapping[str, Datasheet]:
    """Those that come with the package, by name."""
    file = files("negawatt") / "data" / "devices" / "accelerators.csv"
    with as_file(file) as path:
        return datasheets_in(path)
