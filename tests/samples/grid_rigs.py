"""Every provider of grid signals with the fake it is tried against, and what it should say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from grid_countries import EIAServer, EnerginetServer, UKServer, eia_expected
from grid_entsoe import EntsoeServer, entsoe_expected
from grid_server import GAP, HOUR, NOW, GridServer, foreseen, steps, truth
from grid_worldwide import CarbonAwareServer, ElectricityMapsServer, WattTimeServer

from negawatt.adapters.grids.web import Patience
from negawatt.core import registry


@dataclass
class Rig:
    """One provider.

    Args:
        name: In the registry.
        server: Its fake; None for a file.
        zone: One that it knows.
        misspelt: One that it does not, and what it should name instead.
        step: Of its values.
        options: It is built with.
        secret: Options that hold its key, by the variable of the environment.
        past: What it should tell of a time.
        ahead: The same of its forecast; None where it makes none.
        reach: How far its forecast goes from now.
    """

    name: str
    server: GridServer | None
    zone: str
    misspelt: tuple[str, str]
    step: timedelta
    options: dict[str, Any] = field(default_factory=dict)
    secret: dict[str, str] = field(default_factory=dict)
    past: Callable[[datetime], float] = truth
    ahead: Callable[[datetime], float] | None = foreseen
    reach: timedelta = 24 * HOUR
    waited: list[float] = field(default_factory=list)
    timeout_s: float = 5.0

    def source(self, **options: Any) -> Any:
        """The adapter; waits are noted and not waited."""
        patience = Patience(
            tries=3,
            timeout_s=self.timeout_s,
            sleep=self.waited.append,
            draw=lambda: 1.0,
            clock=lambda: NOW,
        )
        given = {**self.options, **dict.fromkeys(self.secret.values(), GridServer.key), **options}
        if self.server is not None:
            given.setdefault("base_url", self.server.url)
        return registry.build(registry.GRIDS, self.name, patience=patience, **given)

    def close(self) -> None:
        if self.server is not None:
            self.server.close()


def electricitymaps(folder: Path) -> Rig:
    server = ElectricityMapsServer()
    return Rig("electricitymaps", server, "DE", ("DK-DK3", "DK-DK1"), HOUR, reach=72 * HOUR,
               secret={"ELECTRICITYMAPS_API_KEY": "key"})  # fmt: skip


def watttime(folder: Path) -> Rig:
    return Rig("watttime", WattTimeServer(), "CAISO_NORTH", ("CAISO_NORT", "CAISO_NORTH"),
               timedelta(minutes=5), {"user": "ada"}, {"WATTTIME_PASSWORD": "password"},
               reach=72 * HOUR)  # fmt: skip


def uk(folder: Path) -> Rig:
    return Rig("uk", UKServer(), "GB", ("GB-LONDEN", "GB-LONDON"), timedelta(minutes=30),
               reach=48 * HOUR)  # fmt: skip


def uk_region(folder: Path) -> Rig:
    # what a region's past was is the last forecast of it
    return Rig("uk", UKServer(), "GB-London", ("GB-99", "GB"), timedelta(minutes=30), past=foreseen,
               reach=48 * HOUR)  # fmt: skip


def entsoe(folder: Path) -> Rig:
    return Rig("entsoe", EntsoeServer(), "FR", ("FRA", "FR"), HOUR, past=entsoe_expected, ahead=None,
               secret={"ENTSOE_API_KEY": "key"})  # fmt: skip


def eia(folder: Path) -> Rig:
    return Rig("eia", EIAServer(), "US-CAL-CISO", ("US-CAL-CISQ", "CISO"), HOUR, past=eia_expected,
               ahead=None, secret={"EIA_API_KEY": "key"})  # fmt: skip


def energinet(folder: Path) -> Rig:
    return Rig("energinet", EnerginetServer(), "DK1", ("DK3", "DK1"), timedelta(minutes=5),
               reach=36 * HOUR)  # fmt: skip


def carbonawaresdk(folder: Path) -> Rig:
    return Rig("carbonawaresdk", CarbonAwareServer(), "eastus", ("eastuss", "eastus"), HOUR,
               {"signal": "marginal"})  # fmt: skip


def file_of_past(folder: Path) -> Rig:
    path = folder / "past.csv"
    times = [t for t in steps(NOW - 60 * 24 * HOUR, NOW, HOUR) if t < NOW]
    rows = [f"{t:%Y-%m-%dT%H:%M:%SZ},{'' if t == GAP else truth(t)}" for t in times]
    path.write_text("\n".join(["time_utc,DE", *rows]), encoding="utf-8")
    return Rig("file", None, "DE", ("DK", "DE"), HOUR, {"path": str(path)}, ahead=None)


def file_of_forecasts(folder: Path) -> Rig:
    path = folder / "ahead.csv"
    lines = [
        f"{issued.isoformat()},{t.isoformat()},DE,{foreseen(t)}"
        for issued in steps(NOW - 72 * HOUR, NOW, 12 * HOUR)
        for t in steps(issued, issued + 47 * HOUR, HOUR)
    ]
    path.write_text("\n".join(["issued_at,time_utc,zone,value", *lines]), encoding="utf-8")
    return Rig("file", None, "DE", ("DEE", "DE"), HOUR, {"path": str(path)}, reach=48 * HOUR)


RIGS: dict[str, Callable[[Path], Rig]] = {
    "electricitymaps": electricitymaps,
    "watttime": watttime,
    "uk": uk,
    "uk, a region": uk_region,
    "entsoe": entsoe,
    "eia": eia,
    "energinet": energinet,
    "carbonawaresdk": carbonawaresdk,
    "file, a past": file_of_past,
    "file, forecasts": file_of_forecasts,
}
