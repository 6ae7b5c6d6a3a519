"""Published power facts about CPUs, memory and counters, read from `data/devices/`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from negawatt.core.factors import Factor


@dataclass(frozen=True, slots=True)
class Identity:
    """What a CPU says about itself; any part may be missing or hidden."""

    name: str = ""  # "AMD EPYC 9654 96-Core Processor"
    vendor: str = ""  # "AuthenticAMD", "GenuineIntel", Arm implementer "0x41"
    family: int | None = None  # x86 only
    model: int | None = None  # x86 only
    part: str = ""  # Arm only, "0xd4f"


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """One entry of the CPU table and the conditions that select it."""

    key: str
    conditions: Mapping[str, Any]
    watts_per_thread: Factor  # thermal design power per hardware thread [W/thread]

    @property
    def names_model(self) -> bool:
        """True when the entry is about one named product rather than a family of them."""
        return set(self.conditions) == {"name"} and any(c.isdigit() for c in self.key)

    def describes(self, cpu: Identity) -> bool:
        """True when every condition of the entry holds for `cpu`."""
        known = self.conditions
        return (
            ("name" not in known or re.search(known["name"], cpu.name) is not None)
            and ("vendor" not in known or known["vendor"] == cpu.vendor)
            and ("family" not in known or known["family"] == cpu.family)
            and ("models" not in known or cpu.model in known["models"])
            and ("parts" not in known or cpu.part in known["parts"])
        )


def _load(name: str) -> dict[str, dict[str, Any]]:
    text = (files("negawatt") / "data" / "devices" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def table(name: str) -> Mapping[str, Factor]:
    """Every factor of `data/devices/<name>.toml`, by key.

    Raises:
        TypeError: an entry lacks value, low, high, unit, source, year or licence.

    >>> table("curve")["load_0"].value
    0.12
    """
    return {key: Factor(name=key, **entry) for key, entry in _load(name).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A whole server with its published power at eleven loads."""

    system: str
    vendor: str
    cpu: str
    family: str  # generation of the CPU
    chips: int
    threads: int
    memory_gb: float  # 0 where unknown
    year: int
    tdp_watts: float  # thermal design power of one chip, 0 where unknown
    watts: tuple[float, ...]  # at the wall: at rest, at 10 %, ... at 100 % of its throughput
    result: str  # number of the published result
    source: str  # key of the copy it was read from

    @property
    def design_watts(self) -> float:
        """Thermal design power of all chips. [W]"""
        return self.chips * self.tdp_watts


@cache
def platforms() -> tuple[Platform, ...]:
    """The servers on which the band was fitted and tried.

    >>> platforms()[0].system, len(platforms()[0].watts)
    ('Acer Altos R380 F2', 11)
    """
    entries: Any = _load("platforms")["platform"]
    return tuple(Platform(**{**entry, "watts": tuple(entry["watts"])}) for entry in entries)


@cache
def cpus() -> tuple[CpuFacts, ...]:
    """The CPU table, in the order in which entries are tried."""
    found = []
    for key, entry in _load("cpus").items():
        watts = Factor(name=key, **entry.pop("watts_per_thread"))
        found.append(CpuFacts(key, entry, watts))
    return tuple(found)


def facts_of(cpu: Identity) -> CpuFacts:
    """The first entry that describes `cpu`; the last one, `unknown`, describes every CPU.

    >>> facts_of(Identity(name="AMD EPYC", vendor="AuthenticAMD", family=26, model=2)).key
    'epyc-turin'
    >>> facts_of(Identity(name="something new")).key
    'unknown'
    """
    return next(entry for entry in cpus() if entry.describes(cpu))
