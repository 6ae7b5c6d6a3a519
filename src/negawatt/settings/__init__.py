"""One frozen tree of settings: flag > environment > file > default, with origins.

A setting is a field below. Its specification names the environment variables,
says what it is for and how its text is read; the file's keys, the `negawatt
settings` command and the reference page are derived from that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

from negawatt.core import registry
from negawatt.core.caches import CACHES, Cache
from negawatt.core.errors import UsageError
from negawatt.core.quantities import GramsPerKWh
from negawatt.core.records import Workload
from negawatt.settings.places import FILE_NAME as FILE_NAME
from negawatt.settings.places import (
    Found,
    Reader,
    Spec,
    file_paths,
    ignored,
    read_file,
    refuse_unknown,
    strongest,
)


def _path(text: str, base: Path) -> Path:
    return base / Path(text).expanduser()


def _ledger(text: str, base: Path) -> Path | str:
    if "://" not in text:
        return _path(text, base)
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("a file, or the address of a database: postgresql://user@host/name")
    return text


def _threads(text: str, _: Path) -> int:
    if re.fullmatch(r"[1-9]\d{0,3}", text) is None:
        raise ValueError("a whole number of at least 1")
    return int(text)


def _seed(text: str, _: Path) -> int:
    if re.fullmatch(r"\d{1,9}", text) is None:
        raise ValueError("a whole number from 0 to 999999999")
    return int(text)


#: Every engine that is installed here, but for the reference.
AUTO = "auto"


def _cache(text: str, _: Path) -> Cache | Literal["auto"]:
    if text not in {AUTO, *CACHES}:
        raise ValueError(f"one of {AUTO}, {', '.join(CACHES)}")
    return cast("Cache", text)


def _runtime(text: str, _: Path) -> str:
    known = (AUTO, *registry.names(registry.RUNTIMES))
    if text in registry.names(registry.ENDPOINTS):
        raise UsageError(
            f"{text} is reached through its HTTP door, where nothing can be converted, compressed "
            "or timed by itself",
            fix=f"let another engine find the plan, serve its huggingface/ folder with {text}, and "
            "check that with `negawatt endpoint ADDRESS --base MODEL`",
        )
    if text not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return text


def _workload(text: str, _: Path) -> Workload:
    try:
        return Workload.parse(text)
    except UsageError as error:
        raise ValueError("chat, batch or PROMPT:GEN:BATCH, for example 512:128:1") from error


def _intensity(text: str, _: Path) -> GramsPerKWh:
    if re.fullmatch(r"\d+(\.\d+)?", text) is None:
        raise ValueError("a number of gCO2e/kWh, 0 or more, for example 250")
    return GramsPerKWh(float(text))


def _switch(text: str, _: Path) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        raise ValueError("true or false")
    return known[text.lower()]


def _addresses(text: str, _: Path) -> str:
    if not all(re.match(r"[a-z][a-z0-9+.-]*://", one) for one in text.split()):
        raise ValueError("ADAPTER://HOST, for example shelly://192.0.2.7; several with spaces")
    return " ".join(text.split())


def _zone(text: str, _: Path) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. -]*", text) is None:
        raise ValueError("the name of a grid zone, for example DE or US-CAL-CISO")
    return text


def _providers(text: str, _: Path) -> str:
    known = registry.names(registry.GRIDS)
    for one in text.split():
        name, mark, _rest = one.partition("://")
        if not mark or name not in known:
            raise ValueError(
                f"PROVIDER://, several with spaces; providers are {', '.join(known)}, "
                "for example electricitymaps:// or file:///grid.csv"
            )
    return " ".join(text.split())


def _hours(text: str, _: Path) -> timedelta:
    if re.fullmatch(r"\d{1,5}(\.\d{1,3})?", text) is None:
        raise ValueError("a number of hours, for example 24")
    return timedelta(hours=float(text))


def _spec(read: Reader, description: str, *environment: str, default: str = "") -> dict[str, Spec]:
    return {"spec": Spec(read, description, environment, default)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where things are kept."""

    ledger: Path | str = field(
        metadata=_spec(
            _ledger,
            "The file that keeps what was measured, or the address of a PostgreSQL database.",
            "NEGAWATT_LEDGER",
            default="$XDG_DATA_HOME/negawatt/ledger.db",
        )
    )
    queue: Path = field(
        metadata=_spec(
            _path,
            "The file that keeps what `negawatt run` and `negawatt queue` are to run.",
            "NEGAWATT_QUEUE",
            default="$XDG_DATA_HOME/negawatt/queue.db",
        )
    )
    cache: Path = field(
        metadata=_spec(
            _path,
            "The folder of measured cost tables, one per machine, runtime and version.",
            "NEGAWATT_CACHE",
            default="$XDG_CACHE_HOME/negawatt",
        )
    )
    data: Path | None = field(
        metadata=_spec(
            _path,
            "A folder of corpora (text/wikitext2, ...). When unset, the prose that Python ships.",
            "NEGAWATT_DATA",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How models are run."""

    runtime: str = field(
        metadata=_spec(
            _runtime,
            "The engine that will serve the model; auto tries every installed one.",
            "NEGAWATT_RUNTIME",
            default=AUTO,
        )
    )
    cache: Cache | Literal["auto"] = field(
        metadata=_spec(
            _cache,
            "Bits of the key-value cache of an optimised model: own is the engine's own; 16, 8, "
            "8/4 (keys/values) or 4; auto measures them and takes another one if it is worth it.",
            "NEGAWATT_KV_CACHE",
            default="own",
        )
    )
    threads: int | None = field(
        metadata=_spec(
            _threads,
            "Threads of the engine. When unset, the command chooses.",
            "NEGAWATT_THREADS",
        )
    )
    seed: int = field(
        metadata=_spec(
            _seed,
            "Start of every random draw; the same seed gives the same choice.",
            "NEGAWATT_SEED",
            default="0",
        )
    )
    workload: Workload = field(
        metadata=_spec(
            _workload,
            "What the model is run for: chat, batch or PROMPT:GEN:BATCH.",
            "NEGAWATT_WORKLOAD",
            default="chat",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Carbon:
    """From joules to grams."""

    intensity: GramsPerKWh | None = field(
        metadata=_spec(
            _intensity,
            "Carbon intensity of your electricity, gCO2e/kWh. When unset, a published range.",
            "NEGAWATT_INTENSITY",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The model hub."""

    offline: bool = field(
        metadata=_spec(
            _switch,
            "Never ask the hub: use only models that are on this machine.",
            "NEGAWATT_HUB_OFFLINE",
            "HF_HUB_OFFLINE",
            default="false",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Meters:
    """Power meters that stand outside this machine."""

    outside: str | None = field(
        metadata=_spec(
            _addresses,
            "Addresses of outside meters, such as shelly://HOST. When unset, none is contacted.",
            "NEGAWATT_OUTSIDE_METERS",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What the electricity grid tells by the hour."""

    zone: str | None = field(
        metadata=_spec(
            _zone,
            "Your grid zone, such as DE or US-CAL-CISO. When unset, a command asks for one.",
            "NEGAWATT_ZONE",
        )
    )
    providers: str | None = field(
        metadata=_spec(
            _providers,
            "Addresses of those who tell carbon, prices or weather by the hour, the preferred "
            "first, such as electricitymaps://. When unset, built-in typical hours.",
            "NEGAWATT_GRID",
        )
    )
    max_age: timedelta = field(
        metadata=_spec(
            _hours,
            "Hours after which a forecast, or the end of a history, is too old to be used.",
            "NEGAWATT_GRID_MAX_AGE",
            default="24",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Build it with `load`.

    `origins` maps each name, such as `run.threads`, to where its value came
    from: `flag`, `environment NEGAWATT_THREADS`, `file <path>` or `default`.
    """

    paths: Paths
    run: Run
    carbon: Carbon
    hub: Hub
    meters: Meters
    grid: Grid
    origins: Mapping[str, str]
    ignored: tuple[str, ...] = ()  # NEGAWATT_ variables that name no setting


class Row(NamedTuple):
    """One setting with its value, ready to be shown."""

    name: str
    value: str  # empty when unset
    origin: str
    description: str


_SECTIONS: Mapping[str, type[Paths | Run | Carbon | Hub | Meters | Grid]] = MappingProxyType(
    {"paths": Paths, "run": Run, "carbon": Carbon, "hub": Hub, "meters": Meters, "grid": Grid}
)


def specs() -> dict[str, Spec]:
    """Every setting there is by its name, in the order of the tree.

    >>> list(specs())[:3]
    ['paths.ledger', 'paths.queue', 'paths.cache']
    """
    return {
        f"{section}.{entry.name}": entry.metadata["spec"]
        for section, kind in _SECTIONS.items()
        for entry in fields(kind)
    }


def load(
    flags: Mapping[str, object] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Read every setting from the strongest place that gives it.

    Args:
        flags: Setting name to the value a command line gave, None where it
            gave none. Text is read as the environment's would be.
        environ: The environment; this process's own when None.
        folder: Where `negawatt.toml` is looked for and relative paths start;
            the current one when None.

    Raises:
        UsageError: a value, a name or a file cannot be taken; the message
            names the flag, variable or file that holds it.

    >>> settings = load({"run.threads": "2"}, environ={"NEGAWATT_SEED": "7"})
    >>> settings.run.threads, settings.run.seed, settings.origins["run.seed"]
    (2, 7, 'environment NEGAWATT_SEED')
    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    known = list(specs())
    refuse_unknown(given, known, "a flag")
    files = [read_file(path, known) for path in file_paths(environ, folder)]
    found = {
        name: strongest(name, spec, given, environ, files, folder) for name, spec in specs().items()
    }
    values = {name: _take(name, spec, found[name]) for name, spec in specs().items()}
    sections: dict[str, Any] = {
        section: kind(**{entry.name: values[f"{section}.{entry.name}"] for entry in fields(kind)})
        for section, kind in _SECTIONS.items()
    }
    return Settings(
        **sections,
        origins=MappingProxyType({name: place.origin for name, place in found.items()}),
        ignored=ignored(environ, specs().values()),
    )


def rows(settings: Settings) -> tuple[Row, ...]:
    """The settings as text with their origins, in the order of the tree.

    >>> settings = load(environ={"NEGAWATT_WORKLOAD": "512:64:8"})
    >>> next(row[:3] for row in rows(settings) if row[0] == "run.workload")
    ('run.workload', '512:64:8', 'environment NEGAWATT_WORKLOAD')
    """
    return tuple(
        Row(name, _shown(_value(settings, name)), settings.origins[name], spec.description)
        for name, spec in specs().items()
    )


def name_meters(settings: Settings) -> None:
    """Put the addresses of outside meters where their adapters look: in the environment.

    Call it before the meters of this machine are looked for.
    """
    for variable in specs()["meters.outside"].environment:
        if settings.meters.outside is not None:
            os.environ[variable] = settings.meters.outside


def _shown(value: object) -> str:
    """A value as text, without the password of an address."""
    text = re.sub(r"(//[^\s/@:]*):[^\s/]*@", r"\1:…@", _text(value))
    return re.sub(r"([?&]password=)[^&\s]*", r"\1…", text)


def _value(settings: Settings, name: str) -> object:
    section, _, key = name.partition(".")
    return getattr(getattr(settings, section), key)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Workload):
        return value.spec
    if isinstance(value, timedelta):
        return f"{value.total_seconds() / 3600:g}"
    return f"{value.value:g}" if isinstance(value, GramsPerKWh) else str(value)


def _take(name: str, spec: Spec, found: Found) -> Any:
    if not isinstance(found.value, str | int | float | Path):
        return found.value  # from Python code, already of the type the tree holds
    text = _text(found.value)
    if not text and found.origin == "default":
        return None
    try:
        return spec.read(text, found.base)
    except ValueError as error:
        raise UsageError(
            f"{name} is {_shown(text)!r} ({found.origin}), which cannot be taken",
            fix=f"give {error}",
        ) from error
