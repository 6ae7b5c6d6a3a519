"""A footprint as somebody asks for it, and the records that answer it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger.footprint import GRAMS, Intensity, of_zone, stated_pue
from negawatt.ledger.footprint import intensity as grids
from negawatt.ledger.footprint import remote as elsewhere
from negawatt.ledger.footprint.account import Hold, Site
from negawatt.ledger.footprint.embodied import Part, stated_seconds
from negawatt.ledger.footprint.intensity_file import read_intensities
from negawatt.ledger.footprint.scope2 import Instrument
from negawatt.ledger.footprint.stated import stated_energy, stated_range
from negawatt.ledger.footprint.water import stated_water
from negawatt.reports.standards.booked import Booked, booked
from negawatt.reports.standards.forms import Wish

_WHOLE_YEAR_H = 8000  # hours from which yearly means say more than single hours
_HOUR_S = 3600
_FROM_LEDGER = ("ledger", "kind", "name", "since")
_FOR_REMOTE = ("active_params", "tokens", "latency")
_FOR_OWN = (
    "energy", *_FROM_LEDGER, "intensity_file", "market", "residual", "hardware", "hours", "busy_hours", "units",
    "training_type", "training_kg", "lifetime_units", "form",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was stated, as it was stated; None is not stated. Units stand in the names' options."""

    energy: str | None = None
    ledger: Path | str | None = None
    kind: str | None = None
    name: str | None = None
    since: str | None = None
    zone: str | None = None
    intensity: float | None = None  # [gCO2e/kWh]
    intensity_file: Path | None = None
    pue: float | None = None  # [1]
    wue: float | None = None  # [L/kWh]
    wue_offsite: float | None = None  # [L/kWh]
    market: float | None = None  # [gCO2e/kWh]
    market_share: float = 1.0  # [1]
    residual: float | None = None  # [gCO2e/kWh]
    hardware: tuple[str, ...] = ()
    hours: float | None = None  # [h]
    busy_hours: float | None = None  # [h]
    share: float = 1.0  # [1]
    units: float | None = None
    unit: str = "token"
    training_type: str | None = None
    training_kg: float | None = None  # [kgCO2e]
    lifetime_units: float | None = None
    remote: str | None = None
    params: str | None = None  # [1e9]
    active_params: str | None = None  # [1e9]
    tokens: int | None = None
    latency: float | None = None  # [s]
    form: str | None = None

    def __post_init__(self) -> None:
        known = {one.name for one in fields(self)}
        strangers = _FOR_OWN if self.is_remote else _FOR_REMOTE
        given = [n for n in strangers if n in known and getattr(self, n) not in (None, ())]
        if given:
            names = ", ".join(f"--{'as' if n == 'form' else n.replace('_', '-')}" for n in given)
            raise UsageError(
                f"{names} cannot be used {'with' if self.is_remote else 'without'} a remote model",
                fix="leave out what does not belong"
                + ("" if self.is_remote else ", or add --remote PROVIDER/MODEL or --params B"),
            )
        places = {
            "a zone": self.zone, "an intensity": self.intensity, "a file of them": self.intensity_file,
        }  # fmt: skip
        stated = [word for word, value in places.items() if value is not None]
        if len(stated) > 1:
            raise UsageError(f"{' and '.join(stated)} are given", fix="leave one of them out")
        if self.energy is not None and self.intensity_file is not None:
            raise UsageError(
                "an energy alone does not say in which hours it was drawn",
                fix="take it from a ledger (--ledger LEDGER), or state one --intensity",
            )
        if self.market is None and self.market_share != 1.0:
            raise UsageError("--market-share needs a contract", fix="add --market G_PER_KWH")
        if self.energy is not None and any(getattr(self, n) is not None for n in _FROM_LEDGER):
            raise UsageError(
                "the energy is given twice: by --energy and from a ledger",
                fix="leave one of them out",
            )

    @property
    def is_remote(self) -> bool:
        """True when it is about a request to somebody else's model."""
        return self.remote is not None or self.params is not None

    def spent(self, own_ledger: Path | str) -> Booked:
        """The energy, and what a ledger knows of it.

        Args:
            own_ledger: Read when neither an energy nor a ledger is stated.
        """
        if self.energy is not None:
            return Booked(stated_energy(self.energy), f"Footprint of {self.energy}")
        file = self.intensity_file
        hours = None if file is None else read_intensities(file)
        found = booked(self.ledger or own_ledger, self.kind, self.name, self.since, hours)
        if hours is None or self.busy_hours is None:
            return found
        note = "idle draw is counted with the mean intensity that the work met"
        return replace(found, notes=(*found.notes, note))

    def site(self, set_intensity: float | None = None, grid: Intensity | None = None) -> Site:
        """The place and what was bought for it.

        Args:
            set_intensity: From the settings, where no place is stated. [gCO2e/kWh]
            grid: What entries met hour by hour, where that is known.
        """
        contract = (
            ()
            if self.market is None
            else (Instrument("contract", _grid(self.market), self.market_share),)
        )
        return Site(
            grid=grid or self._grid(set_intensity),
            zone=self.zone,
            pue=None if self.pue is None else stated_pue(self.pue),
            wue=None if self.wue is None else stated_water(self.wue),
            wue_offsite=None if self.wue_offsite is None else stated_water(self.wue_offsite),
            instruments=contract,
            residual=None if self.residual is None else _grid(self.residual),
        )

    def _grid(self, set_intensity: float | None) -> Intensity:
        if self.zone is not None:
            return of_zone(self.zone, whole_year=(self.hours or 0) >= _WHOLE_YEAR_H)
        grams = set_intensity if self.intensity is None else self.intensity
        return grids.world() if grams is None else grids.stated(grams)

    def hold(self, wall: Estimate | None = None) -> Hold | None:
        """The hardware that was held, or None when none was named.

        Args:
            wall: How long, where no hours are stated. [s]
        """
        if not self.hardware:
            return None
        period = wall if self.hours is None else stated_seconds(self.hours * _HOUR_S)
        if period is None:
            raise UsageError(
                "how long was the hardware held?", fix="add --hours, for example --hours 24"
            )
        return Hold(
            parts=tuple(Part.parse(text) for text in self.hardware),
            period=period,
            share=self.share,
            busy=None if self.busy_hours is None else stated_seconds(self.busy_hours * _HOUR_S),
        )

    def wish(self) -> Wish:
        """What forms need besides the account."""
        training = None
        if self.training_kg is not None:
            training = Estimate.exact(
                self.training_kg * 1000,
                unit=GRAMS,
                kind=Kind.ASSUMED,
                source="stated training emissions",
            )
        return Wish(
            units=self.units,
            unit=self.unit,
            hardware=", ".join(self.hardware),
            training_type=self.training_type,
            training=training,
            lifetime_units=self.lifetime_units,
        )

    def answer(self, site: Site) -> elsewhere.Remote:
        """The request to a remote model, worked out."""
        if self.tokens is None:
            raise UsageError("how long was the answer?", fix="add --tokens, for example 500")
        place = elsewhere.Site(site.grid.estimate, site.pue, site.wue, site.wue_offsite)
        return elsewhere.remote_request(
            self._size(), tokens=self.tokens, latency=self.latency, site=place
        )

    def _size(self) -> elsewhere.Size:
        if self.params is None:
            return elsewhere.model(str(self.remote))
        active = self.active_params
        working = None if active is None else stated_range(active)
        return elsewhere.stated_size(*stated_range(self.params), working)


def _grid(grams_per_kwh: float) -> Estimate:
    return grids.stated(grams_per_kwh).estimate
