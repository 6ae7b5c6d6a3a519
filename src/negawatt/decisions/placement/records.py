"""What is to be placed, and where it may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from negawatt.core.errors import UsageError
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.profiles import DeviceProfile

Aim = Literal["carbon", "energy"]

J_PER_KWH = 3.6e6
_AT_REST = 0.5  # of the static watts, where a datasheet tells none at rest: assumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where machines stand.

    Args:
        name: Of the site.
        intensity: Of its grid. [gCO2e/kWh]
        pue: Facility over IT energy. [1]
    """

    name: str
    intensity: float
    pue: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.intensity < 1e5:
            raise UsageError(
                f"the intensity of {self.name} is {self.intensity!r}",
                fix="give grams of CO2e per kWh, such as 55",
            )
        if not 1 <= self.pue < 100:
            raise UsageError(f"the PUE of {self.name} is {self.pue!r}", fix="give 1 or more")

    @property
    def grams_per_joule(self) -> float:
        """Of the IT equipment. [gCO2e/J]"""
        return self.intensity * self.pue / J_PER_KWH


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Devices of one kind at one site.

    Args:
        name: What the user calls them.
        profile: What they take.
        count: How many there are.
        site: Where.
        idle_w: That each draws while it is on and has nothing to do; the datasheet's when None. [W]
        embodied_kg: Of making one, or its share in that of a server; None where nobody tells. [kgCO2e]
        lifetime_s: Over which that is shared out. [s]
    """

    name: str
    profile: DeviceProfile
    count: int
    site: Site
    idle_w: float | None = None
    embodied_kg: float | None = None
    lifetime_s: float = 5 * 365.25 * 86400.0

    def __post_init__(self) -> None:
        for name in ("count", "lifetime_s"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"{name} of {self.name} is {getattr(self, name)!r}", fix="give more than nought"
                )
        for name in ("idle_w", "embodied_kg"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UsageError(f"{name} of {self.name} is {value!r}", fix="give nought or more")

    @property
    def rest_w(self) -> float:
        """Drawn while on without work. [W]"""
        static = float(self.profile.constants.static_w)
        told = self.idle_w if self.idle_w is not None else self.profile.sheet.idle_w
        return min(static, _AT_REST * static if told is None else told)

    @property
    def busy_w(self) -> float:
        """More than at rest, drawn while at work, apart from what the work takes. [W]"""
        return float(self.profile.constants.static_w) - self.rest_w

    @property
    def embodied_g_per_s(self) -> float:
        """Of one device while it is on; nought where nobody tells. [gCO2e/s]"""
        return (self.embodied_kg or 0.0) * 1e3 / self.lifetime_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A language model that requests ask for.

    Args:
        name: What the user calls it.
        anatomy: Of what it consists.
        precision: Of its weights.
    """

    name: str
    anatomy: Anatomy
    precision: str = "bf16"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """Requests that are alike.

    Args:
        name: What the user calls them.
        model: Which one answers.
        rate: How many arrive. [1/s]
        prompt: Tokens read of each.
        written: Tokens written for each.
        first_s: Until the first token, at most. [s]
        token_s: Between tokens, at most. [s]
    """

    name: str
    model: str
    rate: float
    prompt: float
    written: float
    first_s: float = 10.0
    token_s: float = 0.2

    def __post_init__(self) -> None:
        for name in ("rate", "prompt", "written", "first_s", "token_s"):
            value = getattr(self, name)
            if not 0 < value < 1e12:
                raise UsageError(
                    f"{name} of {self.name} is {value!r}", fix=f"give a {name} above nought"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What carries keys and values from who reads to who writes.

    Args:
        bandwidth: Of one transfer. [B/s]
        joules_per_byte: At both ends and between. Assumed. [J/B]
    """

    bandwidth: float = 12.5e9
    joules_per_byte: float = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All that a placement chooses among.

    Args:
        machines: Of all kinds.
        models: That may be asked for.
        classes: Of requests.
        link: Between machines.
        busy: Share of its time that a server may work, so that nobody waits long. [1]
    """

    machines: tuple[Machine, ...]
    models: tuple[Model, ...]
    classes: tuple[RequestClass, ...]
    link: Link = Link()
    busy: float = 0.7

    def __post_init__(self) -> None:
        for what, named in (
            ("machines", self.machines),
            ("models", self.models),
            ("classes", self.classes),
        ):
            names = [one.name for one in named]
            if not names:
                raise UsageError(f"there are no {what}", fix=f"name at least one of the {what}")
            if len(set(names)) < len(names):
                raise UsageError(f"two {what} have one name", fix="give each a name of its own")
        known = {model.name for model in self.models}
        for one in self.classes:
            if one.model not in known:
                raise UsageError(
                    f"{one.name} asks for {one.model}, which is no model here",
                    fix=f"name one of {', '.join(sorted(known))}",
                )
        if not 0 < self.busy <= 1:
            raise UsageError(f"busy is {self.busy!r}", fix="give a share such as 0.7")
