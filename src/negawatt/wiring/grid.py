"""From the name of a zone to what its grid does: ahead, with fallbacks, and what happened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from negawatt import settings as configuration
from negawatt.core import registry
from negawatt.core.errors import NegawattError, OutputError, SignalUnavailable, UsageError
from negawatt.core.grid import Basis, GridSource, Reading, Topic

if TYPE_CHECKING:
    from negawatt.reports.hours import Told
    from negawatt.settings import Settings
    from negawatt.signals.kept import Kept
    from negawatt.signals.ladder import Foresee, Outlook
    from negawatt.signals.series import Series
    from negawatt.signals.store import Store

#: How much of a past a forecaster is given.
PAST = timedelta(days=56)
_SECRETS = frozenset({"key", "password", "user"})
_FORECASTER = "negawatt.signals.forecast"

#: An address such as `uk://` or the path of a file, several with spaces between, or sources that are built already.
Named = str | GridSource | list[GridSource] | tuple[GridSource, ...]


def outlook(  # noqa: PLR0913  # as many choices as the question has
    zone: str,
    start: datetime,
    end: datetime,
    *,
    settings: Settings | None = None,
    provider: Named | None = None,
    topic: Topic = Topic.CARBON,
    history: Series | timedelta = PAST,
    now: datetime | None = None,
    foresee: Foresee | None = None,
) -> Outlook:
    """What is known of the hours from `start` to `end`, from the best that can be had.

    A provider that fails, or has no key, is a remark in the answer and never an error.

    Args:
        zone: Such as "DE"; a provider's own names work with that provider.
        start: Aware.
        end: Aware.
        settings: Those of this machine when None.
        provider: Instead of the providers of the settings.
        topic: What about.
        history: A past at hand for the forecaster, or how much to ask providers for.
        now: A moment to answer as of, for replays; the clock's own when None.
        foresee: Makes a forecast of a past; negawatt's own when None.

    Raises:
        UsageError: an address cannot be read, the time is empty, or kinds of signals are mixed.

    >>> from datetime import UTC, datetime, timedelta
    >>> midnight = datetime(2026, 6, 1, tzinfo=UTC)
    >>> ahead = outlook("DE", midnight, midnight + timedelta(days=1), provider="")
    >>> str(ahead.rung), len(ahead.series), str(ahead.series.basis)
    ('typical hours', 24, 'average, life cycle, consumption')
    """
    from negawatt.signals.ladder import Question, look_ahead

    settings = settings or configuration.load()
    remarks: list[str] = []
    asked = Question(
        zone=zone,
        start=start,
        end=end,
        now=now or _now(),
        topic=topic,
        max_age=settings.grid.max_age,
        past=history if isinstance(history, timedelta) else PAST,
        replayed=now is not None,
    )
    found = look_ahead(
        asked,
        sources(settings, provider, topic, remarks),
        foresee or forecaster(),
        None if isinstance(history, timedelta) else history,
    )
    return replace(found, remarks=(*remarks, *found.remarks))


def observed(
    zone: str,
    start: datetime,
    end: datetime,
    *,
    settings: Settings | None = None,
    provider: Named | None = None,
    topic: Topic = Topic.CARBON,
) -> Series:
    """What happened in a zone, from the first provider that has it.

    Nothing built in stands in for it: a past that nobody has measured is not known.

    Args:
        zone: Such as "DE"; a provider's own names work with that provider.
        start: Aware.
        end: Aware.
        settings: Those of this machine when None.
        provider: Instead of the providers of the settings.
        topic: What about.

    Raises:
        UsageError: an address cannot be read, or a single provider knows no such zone.
        SignalUnavailable: none of the providers has it; the message tells of each why.
    """
    from negawatt.signals.series import from_readings

    settings = settings or configuration.load()
    remarks: list[str] = []
    asked = sources(settings, provider, topic, remarks)
    for source in asked:
        try:
            told = source.past(zone, start, end)
        except NegawattError as error:
            if len(asked) == 1 and isinstance(error, UsageError):
                raise
            remarks.append(f"{error.what} ({error.fix})")
            continue
        if told:
            return from_readings(told)
        remarks.append(f"{source.name}: has nothing of {zone} of that time")
    raise SignalUnavailable(
        f"nobody tells the {topic} of {zone} from {start:%Y-%m-%d %H:%M} on: {'; '.join(remarks)}",
        fix="`negawatt grid --providers` lists who can be asked, and which key is missing",
    )


def told(
    zone: str | None,
    hours: float,
    *,
    past: bool = False,
    price: bool = False,
    provider: str | None = None,
) -> Told:
    """What `negawatt grid` shows.

    Args:
        zone: That of the settings when None.
        hours: How many, ahead or back.
        past: What happened instead of what lies ahead.
        price: Prices instead of intensities.
        provider: An address, instead of those of the settings.

    Raises:
        UsageError: no zone is named, or an address cannot be read.
        SignalUnavailable: nobody tells the past asked for, or nothing is known of what lies ahead.
    """
    from negawatt.reports.hours import Told

    settings = configuration.load({"grid.providers": provider})
    zone = zone or settings.grid.zone
    if zone is None:
        raise UsageError("no zone is named", fix="add one, such as DE, or set NEGAWATT_ZONE")
    topic = Topic.PRICE if price else Topic.CARBON
    now, length = _now(), timedelta(hours=hours)
    if past:
        series = observed(zone, now - length, now, settings=settings, topic=topic)
        return Told(series, "observed", (), now)
    ahead = outlook(zone, now, now + length, settings=settings, topic=topic)
    if not ahead.known:
        raise SignalUnavailable(
            f"nothing is known of the {topic} of {zone} ahead: {'; '.join(ahead.remarks)}",
            fix=f"{_near(zone)}`negawatt grid --providers` lists who can be asked",
        )
    return Told(ahead.series, str(ahead.rung), ahead.remarks, _now())


def _near(zone: str) -> str:
    """Built-in zones with names like this one."""
    from difflib import get_close_matches

    from negawatt.core.zones import countries, zones

    known = {
        **{c: z.name for c, z in zones().items()},
        **{c: z.name for c, z in countries().items()},
    }
    close = get_close_matches(zone.upper(), known, n=3)
    return "" if zone.upper() in known or not close else f"near it are {', '.join(close)}; "


def sources(
    settings: Settings, provider: Named | None, topic: Topic, remarks: list[str]
) -> list[Kept]:
    """The providers that tell of a topic, each with its memory; why others do not is a remark.

    Raises:
        UsageError: an address cannot be read, or has an option that the provider lacks.
    """
    from negawatt.signals.kept import Kept

    named = (settings.grid.providers or "") if provider is None else provider
    if not isinstance(named, str):
        many = isinstance(named, list | tuple)
        built = cast("Sequence[GridSource]", named if many else (named,))
        return [Kept(source, None, source.name) for source in built if source.topic is topic]
    if not named.strip():
        remarks.append("no provider is named; `negawatt grid --providers` lists them")
    found = []
    addresses = [text if "://" in text else of_file(text) for text in named.split()]
    if len(addresses) == 1 and addresses[0].startswith("file:///"):
        # A file that is all there is, and is not there, is a slip of the pen and no outage.
        of_file(unquote(urlsplit(addresses[0]).path))
    for address in addresses:
        name = address.partition("://")[0]
        if topic not in getattr(registry.load(registry.GRIDS, name), "topics", (topic,)):
            remarks.append(f"{name} tells nothing of {topic}")
            continue
        source = build(address, topic)
        local = getattr(source, "local", False)
        found.append(Kept(source, None if local else _store(settings, remarks), address))
    return found


def of_file(path: str) -> str:
    """The address of a file that is named by its path.

    Raises:
        UsageError: there is no such file.

    >>> of_file(__file__).startswith("file:///")
    True
    """
    place = Path(path).expanduser().resolve()
    if not place.is_file():
        raise UsageError(
            f"{path!r} is neither a file nor the address of a provider",
            fix="write PROVIDER://, for example electricitymaps://, or the path of a CSV file",
        )
    return f"file://{quote(str(place))}"


def build(address: str, topic: Topic = Topic.CARBON) -> GridSource:
    """The provider that an address names, for one topic.

    Args:
        address: `PROVIDER://`, options after a `?`; `file:///path.csv` names a file. The option
            `zones=OURS:THEIRS,...` translates names of zones.
        topic: What about.

    Raises:
        UsageError: it cannot be read, or has an option that the provider lacks.
    """
    parts = urlsplit(address)
    if not parts.scheme or "://" not in address:
        raise UsageError(
            f"{address!r} is no address of a provider",
            fix="write PROVIDER://, for example electricitymaps:// or file:///grid.csv",
        )
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if secrets := sorted(_SECRETS & set(options)):
        raise UsageError(
            f"the address of {parts.scheme} holds a {secrets[0]}, which would be kept and shown",
            fix="put it into the environment; `negawatt grid --providers` names the variable",
        )
    zones = options.pop("zones", "")
    place = unquote(parts.netloc + parts.path)
    if place:
        options["path"] = place
    source: GridSource = registry.build(registry.GRIDS, parts.scheme, topic=topic, **options)
    return _Translated(source, _names(zones)) if zones else source


def _names(text: str) -> dict[str, str]:
    pairs = [pair.partition(":") for pair in text.split(",")]
    if not all(ours and theirs for ours, _, theirs in pairs):
        raise UsageError(
            f"zones={text} cannot be read",
            fix="write OURS:THEIRS, several with commas, such as zones=US-CAL-CISO:CAISO_NORTH",
        )
    return {ours: theirs for ours, _, theirs in pairs}


@dataclass(frozen=True, slots=True)
class _Translated:
    """A source that is asked by our names of zones."""

    source: GridSource
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def topic(self) -> Topic:
        return self.source.topic

    @property
    def basis(self) -> Basis | None:
        return self.source.basis

    @property
    def local(self) -> bool:
        return getattr(self.source, "local", False)

    def past(self, zone: str, start: datetime, end: datetime) -> Sequence[Reading]:
        told = self.source.past(self.names.get(zone, zone), start, end)
        return [replace(reading, zone=zone) for reading in told]

    def ahead(
        self, zone: str, start: datetime, end: datetime, *, as_of: datetime | None = None
    ) -> Sequence[Reading]:
        told = self.source.ahead(self.names.get(zone, zone), start, end, as_of=as_of)
        return [replace(reading, zone=zone) for reading in told]


def _store(settings: Settings, remarks: list[str]) -> Store | None:
    from negawatt.signals.store import Store

    try:
        return Store(settings.paths.cache)
    except OutputError as error:
        remarks.append(error.what)
        return None


def forecaster() -> Foresee | None:
    """What foresees a signal from its past; None where this build has none."""
    try:
        module = import_module(_FORECASTER)
    except ModuleNotFoundError:
        return None
    found: Foresee = module.foresee
    return found


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Provider:
    """Who can be asked.

    Args:
        name: As in its address.
        about: What it tells, in a line.
        topics: By name.
        keys: Environment variables that it needs.
        missing: Those of them that are not set.
    """

    name: str
    about: str
    topics: tuple[str, ...]
    keys: tuple[str, ...]
    missing: tuple[str, ...]


def providers(environ: Mapping[str, str] | None = None) -> tuple[Provider, ...]:
    """Everybody who can be asked, in the order of the alphabet.

    >>> [one.name for one in providers({}) if not one.missing][:2]
    ['carbonawaresdk', 'energinet']
    """
    return tuple(_providers(os.environ if environ is None else environ))


def _providers(environ: Mapping[str, str]) -> Iterator[Provider]:
    for name in registry.names(registry.GRIDS):
        factory = registry.load(registry.GRIDS, name)
        keys = tuple(getattr(factory, "keys", ()))
        yield Provider(
            name,
            getattr(factory, "about", ""),
            tuple(sorted(str(topic) for topic in getattr(factory, "topics", ()))),
            keys,
            tuple(key for key in keys if not environ.get(key)),
        )
