"""The forms an account can take, by the names people ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate
from negawatt.ledger.footprint.account import Account
from negawatt.reports.standards import energy_score, eu_ai_act, ghg, model_card, sci


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a form needs besides the account."""

    units: float | None = None  # delivered
    unit: str = "token"
    hardware: str = ""
    training_type: str | None = None
    training: Estimate | None = None  # emissions, once [gCO2e]
    lifetime_units: float | None = None
    task: str = "text_generation"


@dataclass(frozen=True, slots=True)
class Form:
    """A record for machines and its text for people."""

    record: object
    text: str


def fill(name: str, found: Account, wish: Wish) -> Form:
    """Put an account into a form.

    Args:
        name: One of `FORMS`.
        found: What was worked out.
        wish: What the form needs besides.

    Raises:
        UsageError: no such form, or something it needs is missing; the message says what.
    """
    if name not in FORMS:
        raise UsageError(f"there is no form {name!r}", fix=f"name one of: {', '.join(FORMS)}")
    return FORMS[name](found, wish)


def score(found: Account, wish: Wish) -> sci.Sci | None:
    """The SCI score where units and embodied share are known, else None."""
    if wish.units is None or found.embodied is None:
        return None
    return sci.sci(found.scope2.location, found.embodied, units=wish.units, unit=wish.unit)


def _sci(found: Account, wish: Wish) -> Form:
    told = sci.sci(found.scope2.location, found.embodied, units=_units(wish), unit=wish.unit)
    return Form(told, sci.text(told))


def _sci_for_ai(found: Account, wish: Wish) -> Form:
    if found.emissions is None:
        raise UsageError(
            "SCI for AI needs the embodied share, and it is unknown",
            fix="name the hardware and how long it was held: --hardware h100:8 --hours 24",
        )
    told = sci.sci_for_ai(
        found.emissions,
        tokens=_units(wish),
        training=wish.training,
        lifetime_tokens=wish.lifetime_units,
    )
    return Form(told, sci.text(told))


def _ghg(found: Account, _: Wish) -> Form:
    told = ghg.statement(found)
    return Form(told, ghg.text(told))


def _model_card(found: Account, wish: Wish) -> Form:
    if wish.training_type is None:
        raise UsageError(
            "a model card says how the model was trained",
            fix=f"add --training-type {' or '.join(model_card.TRAINING_TYPES)}",
        )
    told = model_card.card(
        found.scope2.location,
        training_type=wish.training_type,
        location=found.place,
        hardware=wish.hardware or "not stated",
        market=found.scope2.market,
    )
    return Form(told, model_card.text(told))


def _eu_ai_act(found: Account, wish: Wish) -> Form:
    told = eu_ai_act.fields(found.facility, hardware=wish.hardware, period=found.period)
    return Form(told, eu_ai_act.text(told))


def _energy_score(found: Account, wish: Wish) -> Form:
    told = energy_score.rating(
        found.energy, task=wish.task, queries=round(_units(wish)), hardware=wish.hardware
    )
    return Form(told, energy_score.text(told))


def _units(wish: Wish) -> float:
    if wish.units is None:
        raise UsageError(
            "this form counts per unit delivered", fix="say how many: --units 1000000 --unit token"
        )
    return wish.units


FORMS: Mapping[str, Callable[[Account, Wish], Form]] = MappingProxyType(
    {
        "model-card": _model_card,
        "sci": _sci,
        "sci-ai": _sci_for_ai,
        "ghg": _ghg,
        "eu-ai-act": _eu_ai_act,
        "ai-energy-score": _energy_score,
    }
)
