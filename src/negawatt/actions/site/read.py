"""From a site's file, and the files it names, to a site that can be run and told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from negawatt.actions.site.climate import read_cooling
from negawatt.actions.site.fields import EXAMPLE, fields_of
from negawatt.actions.site.tables import Column, Steps, column
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.core.factors import table
from negawatt.core.grid import GRAMS_PER_KWH, Status, Topic, utc
from negawatt.decisions.site.account import Described
from negawatt.decisions.site.building import Limits, Making
from negawatt.decisions.site.records import Battery, Site
from negawatt.decisions.site.sun import modelled_yield
from negawatt.decisions.when import Job
from negawatt.ledger.footprint.intensity import Intensity, of_zone, stated
from negawatt.ledger.footprint.intensity_file import read_intensities
from negawatt.ledger.footprint.water import stated_water
from negawatt.signals.series import Series

_KW, _KWH_J = 1e3, 3.6e6


def example() -> str:
    """A file that can be run.

    >>> "[battery]" in example()
    True
    """
    return (files("negawatt") / "data" / "site" / "example.toml").read_text(encoding="utf-8")


def describe(file: Path, *, sized: bool = False) -> Described:
    """What a file says of a site.

    Other files are looked for beside it.

    Args:
        file: TOML, as `example` shows it.
        sized: Prepare for sizing too.

    Raises:
        UsageError: a file cannot be read, or something in it is missing, unknown or absurd; the
            message names it.
    """
    reading = _Reading(file.parent, fields_of(file))
    return reading.described(file.stem, sized=sized)


@dataclass(slots=True)
class _Reading:
    """The parts of one file, and what came of them so far."""

    folder: Path
    told: dict[str, dict[str, Any]]

    def described(self, stem: str, *, sized: bool) -> Described:
        notes: list[str] = []
        intensity = self._intensity(notes)
        steps = Steps(intensity.start, intensity.step, len(intensity))
        output, site = self._yield(steps, notes), self.told["site"]
        cooling = read_cooling(
            self.told.get("cooling"), steps, self.folder, site.get("utc_offset_h")
        )
        if cooling is not None and "pue" in site:
            raise UsageError(
                "the PUE is stated, and told by the weather too", fix="leave one of them out"
            )
        kwp = self.told.get("solar", {}).get("kwp", 0)
        water = self.told.get("water", {})
        price = self._price(intensity, steps)
        return Described(
            site=Site(
                name=site.get("name", stem),
                intensity=intensity,
                load_w=self._load(steps),
                pue=cooling.usual.pue if cooling else np.array(self._pue(site, notes)),
                solar_w=_KW * kwp * output if output is not None else np.zeros(steps.count),
                price=price,
                jobs=tuple(_job(name, job) for name, job in self.told["jobs"].items()),
                battery=self._battery(notes),
                import_w=None if "import_kw" not in site else _KW * site["import_kw"],
                export_w=_KW * site.get("export_kw", 0),
                avoided=site.get("avoided", 0.0),
                price_weight=self.told.get("price", {}).get("weight", 0.0),
            ),
            cooling=cooling,
            wue=_water(water, "wue"),
            offsite=_water(water, "offsite"),
            stress=water.get("stress"),
            yield_per_kwp=self._sized(output) if sized else None,
            making=self._making(),
            solar_kwp=kwp,
            limits=self._limits() if sized else None,
            aim=self._aim() if sized else "carbon",
            notes=tuple(notes),
        )

    def _intensity(self, notes: list[str]) -> Series:
        """From a file, a zone's year, or one number."""
        site = self.told["site"]
        given = [name for name in ("zone", "intensity", "intensity_file") if name in site]
        if len(given) != 1:
            raise UsageError(
                f"the site tells {', '.join(given) or 'nothing'} of its grid",
                fix='give one of zone = "DE", intensity = 380, intensity_file = "grid.csv"',
            )
        if "intensity_file" in site:
            return self._from_file(self.folder / site["intensity_file"])
        if "start" not in site or "hours" not in site:
            raise UsageError("the site lacks start or hours", fix=EXAMPLE)
        flat = of_zone(site["zone"]) if "zone" in site else stated(float(site["intensity"]))
        notes.append(
            "the intensity is one number for all hours: with it neither battery nor waiting saves"
            " anything but by using more of the sun"
        )
        return _flat(flat, site.get("zone", "stated"), site)

    def _from_file(self, path: Path) -> Series:
        found = read_intensities(path)
        spans, step = found.series.spans, found.step
        count = round((found.end - found.start) / step)
        values = np.full(count, np.nan)
        for span in spans:
            values[round((span.start - found.start) / step)] = span.estimate.value
        whole = Series(
            zone=path.stem, topic=Topic.CARBON, unit=GRAMS_PER_KWH, basis=found.basis,
            source=path.name, status=Status.ESTIMATED, start=found.start, step=step, values=values,
        )  # fmt: skip
        site = self.told["site"]
        if "start" not in site:
            return whole
        start = _aware(site["start"], "start of the site")
        end = start + timedelta(hours=site["hours"]) if "hours" in site else whole.end
        if start < whole.start or end > whole.end:
            raise UsageError(
                f"{path.name} tells {whole.start:%Y-%m-%d %H:%M} to {whole.end:%Y-%m-%d %H:%M} UTC,"
                f" {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is asked for",
                fix="choose a time within it",
            )
        return whole.window(start, end)

    def _load(self, steps: Steps) -> Column:
        site = self.told["site"]
        if ("load_kw" in site) == ("load_file" in site):
            raise UsageError(
                "the site needs what its IT equipment draws",
                fix='write load_kw = 12.0, or load_file = "load.csv" with load_column = "kw"',
            )
        if "load_kw" in site:
            return np.full(steps.count, _KW * site["load_kw"])
        path = self.folder / site["load_file"]
        return _KW * column(path, site.get("load_column", "kw"), steps)

    def _pue(self, site: dict[str, Any], notes: list[str]) -> float:
        if "pue" in site:
            return float(site["pue"])
        factor = table("site")["pue"]
        notes.append(f"nobody told the PUE: {factor.value:g} is assumed ({factor.source})")
        return factor.value

    def _yield(self, steps: Steps, notes: list[str]) -> Column | None:
        """Output of one kilowatt peak; None where nothing tells it. [kW/kWp]"""
        site, solar = self.told["site"], self.told.get("solar", {})
        known = table("site_energy")
        performance = solar.get("performance", known["performance"].value)
        if "file" in solar:
            name = solar.get("irradiance", solar.get("column", "output"))
            only = {key: str(value) for key, value in solar.get("only", {}).items()}
            told = column(
                self.folder / solar["file"],
                name,
                steps,
                offset_h=site.get("utc_offset_h"),
                only=only,
            )
            return told * performance / 1e3 if "irradiance" in solar else told
        if "latitude" not in site or "longitude" not in site:
            if "solar" in self.told:
                raise UsageError(
                    "nothing tells what the panels give",
                    fix="give latitude and longitude of the site, or a file of solar",
                )
            return None
        clearness = solar.get("clearness", known["clearness"].value)
        notes.append(
            f"solar is modelled: level panels, skies {clearness:.0%} as clear as clear, every day"
            " alike"
        )
        return modelled_yield(
            steps.times(), steps.step.total_seconds() / 3600, (site["latitude"], site["longitude"]),
            clearness=clearness, performance=performance,
        )  # fmt: skip

    def _battery(self, notes: list[str]) -> Battery | None:
        told = self.told.get("battery")
        if told is None:
            return None
        trip = told.get("round_trip", 0.9)
        if not 0 < trip <= 1:
            raise UsageError(f"round_trip of the battery is {trip!r}", fix="give a share: 0.9")
        known = table("site_energy")
        wear = 1e3 * known["battery"].value / known["battery_cycles"].value
        if "wear_g_per_kwh" not in told:
            notes.append(f"each kWh out of the battery wears {wear:.3g} g of its making")
        kept = ("loss_per_h", "min_soc", "initial_soc", "final_soc")
        return Battery(
            capacity_j=_KWH_J * told["kwh"], charge_w=_KW * told["kw"], discharge_w=_KW * told["kw"],
            charge_efficiency=trip**0.5, discharge_efficiency=trip**0.5,
            wear_g_per_kwh=told.get("wear_g_per_kwh", wear),
            **{name: told[name] for name in kept if name in told},
        )  # fmt: skip

    def _price(self, intensity: Series, steps: Steps) -> Series | None:
        told = self.told.get("price")
        if told is None:
            return None
        if ("per_mwh" in told) == ("file" in told):
            raise UsageError("price tells no price", fix='give per_mwh = 90, or file = "price.csv"')
        if "file" in told:
            path = self.folder / told["file"]
            values = column(path, told.get("column", "price"), steps)
        else:
            values = np.full(steps.count, float(told["per_mwh"]))
        return Series(
            zone=intensity.zone, topic=Topic.PRICE, unit="currency/MWh", basis=None,
            source=told.get("file", "stated price"), status=Status.ESTIMATED,
            start=intensity.start, step=intensity.step, values=values,
        )  # fmt: skip

    def _sized(self, output: Column | None) -> Column:
        if output is None:
            raise UsageError(
                "nothing tells what panels would give here",
                fix="give latitude and longitude of the site, or a file of solar",
            )
        return output

    def _making(self) -> Making:
        known, told = table("site_energy"), self.told.get("size", {})
        return Making(
            solar_kg_per_kwp=known["solar"].estimate(),
            solar_years=known["solar_years"].estimate(),
            battery_kg_per_kwh=known["battery"].estimate(),
            battery_years=known["battery_years"].estimate(),
            battery_cycles=known["battery_cycles"].estimate(),
            solar_price=told.get("solar_price"),
            battery_price=told.get("battery_price"),
        )

    def _limits(self) -> Limits:
        told, battery = self.told.get("size", {}), self.told.get("battery", {})
        trip = battery.get("round_trip", 0.9) ** 0.5
        return Limits(
            solar_kwp=told.get("max_kwp", np.inf), battery_kwh=told.get("max_kwh", np.inf),
            rate_per_h=told.get("rate_per_h", 0.5), charge_efficiency=trip,
            discharge_efficiency=trip, loss_per_h=battery.get("loss_per_h", 0.0),
        )  # fmt: skip

    def _aim(self) -> Any:
        aim = self.told.get("size", {}).get("aim", "carbon")
        if aim not in {"carbon", "cost"}:
            raise UsageError(f"aim of size is {aim!r}", fix='give "carbon" or "cost"')
        return aim


def _flat(found: Intensity, zone: str, site: dict[str, Any]) -> Series:
    step = timedelta(minutes=site.get("step_min", 60))
    if step <= timedelta(0) or not site["hours"] > 0:
        raise UsageError("the site tells no length of time", fix="give hours and step_min above 0")
    count = round(timedelta(hours=site["hours"]) / step)
    if count < 1 or abs(count * step - timedelta(hours=site["hours"])) > timedelta(seconds=1):
        raise UsageError(
            f"{site['hours']:g} h are no whole number of steps of {step}", fix="change one of them"
        )
    grams = found.estimate
    return Series(
        zone=zone, topic=Topic.CARBON, unit=GRAMS_PER_KWH, basis=found.basis, source=grams.source,
        status=Status.ESTIMATED, start=_aware(site["start"], "start of the site"), step=step,
        values=np.full(count, grams.value), low=np.full(count, grams.low),
        high=np.full(count, grams.high),
    )  # fmt: skip


def _aware(moment: datetime, where: str) -> datetime:
    if moment.tzinfo is None:
        raise UsageError(f"{where} has no time zone", fix="add one: 2026-06-01T00:00:00Z")
    return utc(moment).astimezone(UTC)


def _job(name: str, told: dict[str, Any]) -> Job:
    return Job(
        name=name, work_s=3600.0 * told["hours"], power_w=_KW * told["kw"],
        release=_aware(told["release"], f"release of jobs.{name}"),
        deadline=_aware(told["deadline"], f"deadline of jobs.{name}"),
        interruptible=told.get("interruptible", False),
    )  # fmt: skip


def _water(told: dict[str, Any], name: str) -> Estimate | None:
    return stated_water(float(told[name])) if name in told else None
