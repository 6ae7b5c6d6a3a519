"""Which meters this machine has, which it lacks, and what would bring the missing ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from negawatt.core.errors import NegawattError
from negawatt.core.protocols import PowerMeter
from negawatt.meters.boundary import covers_cpu
from negawatt.meters.integrate import Integrated, PowerGauge


@dataclass(frozen=True, slots=True)
class Missing:
    """An adapter that found nothing to read here."""

    adapter: str
    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The meters of this machine."""

    meters: tuple[PowerMeter, ...]
    missing: tuple[Missing, ...] = ()

    @property
    def boundaries(self) -> tuple[str, ...]:
        """What the meters include, in their order."""
        return tuple(meter.boundary for meter in self.meters)

    @property
    def measures_cpu(self) -> bool:
        """True when the CPU's energy is counted, so that no band is needed for it."""
        return covers_cpu(self.boundaries)


def as_meters(found: Iterable[PowerMeter | PowerGauge]) -> tuple[PowerMeter, ...]:
    """Counters as they are; gauges that know power alone, integrated."""
    return tuple(meter if isinstance(meter, PowerMeter) else Integrated(meter) for meter in found)


def _ask(adapter: str) -> tuple[tuple[PowerMeter, ...], Missing | None]:
    from negawatt.core import registry  # looks at every package; not needed to import `measure`

    try:
        found: Sequence[PowerMeter | PowerGauge] = registry.load(registry.METERS, adapter)()
    except NegawattError as error:
        return (), Missing(adapter, error.what, error.fix)
    except Exception as error:  # noqa: BLE001  # an adapter may come from anyone; it must not
        # take the other meters down with it, and what went wrong is reported, not hidden
        return (), Missing(
            adapter,
            f"the adapter failed with {type(error).__name__}: {error}",
            f"report it to the author of the {adapter} adapter",
        )
    return as_meters(found), None


def discover(adapters: Sequence[str] | None = None) -> Inventory:
    """Ask every registered adapter, or those named, what it can read here.

    Raises:
        UsageError: a named adapter is not registered.
    """
    from negawatt.core import registry  # see above

    chosen = registry.names(registry.METERS) if adapters is None else tuple(adapters)
    for name in chosen:
        if name not in registry.names(registry.METERS):
            registry.load(registry.METERS, name)  # raises, naming the ones there are
    answers = [_ask(name) for name in chosen]
    return Inventory(
        meters=_each_once(meter for meters, _ in answers for meter in meters),
        missing=_told_once(missing for _, missing in answers if missing is not None),
    )


def _each_once(meters: Iterable[PowerMeter]) -> tuple[PowerMeter, ...]:
    """One meter a boundary: a counter before one that is sampled, then the first found."""
    chosen: dict[str, PowerMeter] = {}
    for meter in meters:
        known = chosen.setdefault(meter.boundary, meter)
        if isinstance(known, Integrated) and not isinstance(meter, Integrated):
            chosen[meter.boundary] = meter
    return tuple(chosen.values())


def _told_once(missing: Iterable[Missing]) -> tuple[Missing, ...]:
    """Adapters that lack the same thing in one entry, their names joined."""
    names: dict[tuple[str, str], list[str]] = {}
    for one in missing:
        names.setdefault((one.reason, one.fix), []).append(one.adapter)
    return tuple(
        Missing(", ".join(adapters), reason, fix) for (reason, fix), adapters in names.items()
    )


@cache
def here() -> Inventory:
    """The inventory of this machine, taken once."""
    return discover()
