"""Footprints in the words of standards: what each form holds, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.ledger.footprint import stated_pue
from negawatt.ledger.footprint.account import Account, Hold, Site, account
from negawatt.ledger.footprint.embodied import Part, stated_seconds
from negawatt.ledger.footprint.intensity import of_zone, stated
from negawatt.reports.standards import energy_score, eu_ai_act, forms, ghg, model_card, sci
from negawatt.reports.standards.forms import Wish
from negawatt.reports.standards.wording import readable, sentence, significant

KWH = Estimate.exact(3.6e6, unit="J", source="meter", boundary="machine")
GRAMS = Estimate(
    value=300, low=100, high=500, unit="gCO2e", kind=Kind.MODELLED, source="x", boundary="use"
)
MORE = Estimate(value=150, low=50, high=250, unit="gCO2e", kind=Kind.ASSUMED, source="y")


@pytest.fixture
def found() -> Account:
    hold = Hold(parts=(Part("h100", 8),), period=stated_seconds(24 * 3600))
    return account(KWH, Site(grid=of_zone("DE"), zone="DE", pue=stated_pue(1.2)), hold)


def test_sci_is_operational_and_embodied_per_unit() -> None:
    told = sci.sci(GRAMS, MORE, units=90, unit="request")

    assert (told.score.low, told.score.value, told.score.high) == pytest.approx(
        (150 / 90, 5, 750 / 90)
    )
    assert told.score.unit == "gCO2e/request"
    assert told.score.kind is Kind.ASSUMED
    assert "R: 90 × request" in sci.text(told)


def test_sci_without_the_embodied_share_is_refused_not_lowered() -> None:
    with pytest.raises(UsageError, match="embodied share"):
        sci.sci(GRAMS, None, units=1, unit="request")
    with pytest.raises(UsageError, match="needs some"):
        sci.sci(GRAMS, MORE, units=0, unit="request")


def test_training_is_spread_over_all_it_will_serve() -> None:
    told = sci.sci_for_ai(GRAMS, tokens=1e6, training=MORE, lifetime_tokens=1e9)

    assert told.serving.value == pytest.approx(300)
    assert told.training is not None
    assert told.training.value == pytest.approx(0.15)
    assert told.total.value == pytest.approx(300.15)
    assert "amortised training" in told.total.boundary
    with pytest.raises(UsageError, match="whole life"):
        sci.sci_for_ai(GRAMS, tokens=1e6, training=MORE)
    with pytest.raises(UsageError, match="whole life"):
        sci.sci_for_ai(GRAMS, tokens=1e6, training=MORE, lifetime_tokens=10)


def test_the_ghg_statement_tells_scope_2_twice_and_what_is_left_out(found: Account) -> None:
    told = ghg.statement(found)
    text = ghg.text(told)

    assert told.scope2_location == found.scope2.location
    assert told.scope2_market == found.scope2.market
    assert told.scope3_hardware == found.embodied
    for words in ("location-based", "market-based", "never added", "Left out: Scope 1", "unknown"):
        assert words in text
    assert "Electricity Maps" in text


def test_direct_factors_leave_fuel_supply_out() -> None:
    told = ghg.statement(account(KWH, Site(grid=stated(400))))
    assert any("category 3" in what for what in told.left_out)
    assert "hardware (category 1 rented, 2 owned): unknown" in ghg.text(told)


def test_the_model_card_block_is_yaml_with_the_hubs_keys(found: Account) -> None:
    told = forms.fill("model-card", found, Wish(training_type="fine-tuning", hardware='8 "h100"'))
    block: dict[str, Any] = yaml.safe_load(told.text)

    assert block.keys() == {"co2_eq_emissions"}
    inner = block["co2_eq_emissions"]
    assert inner.keys() == {
        "emissions",
        "source",
        "training_type",
        "geographical_location",
        "hardware_used",
    }
    assert inner["emissions"] == pytest.approx(found.scope2.location.value, rel=1e-3)  # grams
    assert inner["training_type"] == "fine-tuning"
    assert inner["geographical_location"] == "DE (Germany)"
    assert inner["hardware_used"] == '8 "h100"'
    assert "market-based" in told.text


def test_the_hub_library_reads_the_block(found: Account) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the hub's library is not installed")
    block = forms.fill("model-card", found, Wish(training_type="pre-training")).text
    card = hub.ModelCard(f"---\nlicense: apache-2.0\n{block}---\n# A model\n")

    assert card.data.to_dict()["co2_eq_emissions"]["training_type"] == "pre-training"


def test_a_training_type_the_hub_does_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match="no training type"):
        model_card.card(GRAMS, training_type="magic", location="", hardware="", market=None)


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Kind.MEASURED, "known"), (Kind.MODELLED, "estimated"), (Kind.ASSUMED, "estimated")],
)
def test_only_a_measured_energy_is_known_to_the_eu(kind: Kind, status: str) -> None:
    energy = Estimate(value=3.6e12, low=3e12, high=4e12, unit="J", kind=kind, source="meter")
    told = eu_ai_act.fields(energy, period=stated_seconds(7200), hardware="8 × h100")

    assert told.status == status
    assert told.energy_mwh == pytest.approx(1000)
    assert told.energy_mwh_low < told.energy_mwh < told.energy_mwh_high
    assert told.training_time_h == 2
    text = eu_ai_act.text(told)
    assert f"1000 MWh ({status}" in text
    assert "Compute used for training: N/A" in text


def test_a_rating_says_where_it_departs_from_the_protocol() -> None:
    spent = Estimate.exact(3600, unit="J", source="RAPL", boundary="package:0")
    told = energy_score.rating(spent, task="text_generation", queries=500, hardware="l4")

    assert told.energy.value == pytest.approx(2)
    assert len(told.departures) == 3
    assert told.stars is None
    assert "departs from the protocol: 500 queries" in energy_score.text(told)


def test_stars_carry_the_interval() -> None:
    spent = Estimate(
        value=7200, low=3600, high=14400, unit="J", kind=Kind.MODELLED, source="x", boundary="gpu:0"
    )
    told = energy_score.rating(
        spent, task="t", queries=1000, hardware="h100:1", peers=[0.5, 1.5, 3, 6, 12]
    )
    assert told.stars == (2, 4)
    assert "stars among the peers given: 2 to 4" in energy_score.text(told)


@pytest.mark.parametrize("name", forms.FORMS)
def test_every_form_can_be_filled(name: str, found: Account) -> None:
    wish = Wish(units=1e6, training_type="pre-training", hardware="h100:8")
    form = forms.fill(name, found, wish)
    assert form.text.endswith("\n")


@pytest.mark.parametrize("name", ["sci", "sci-ai", "ai-energy-score"])
def test_forms_per_unit_ask_for_units(name: str, found: Account) -> None:
    with pytest.raises(UsageError, match="per unit delivered"):
        forms.fill(name, found, Wish())


def test_an_unknown_form_names_the_known_ones(found: Account) -> None:
    with pytest.raises(UsageError) as caught:
        forms.fill("poem", found, Wish())
    assert "eu-ai-act" in caught.value.fix


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.6e9, "J", "1 MWh"),
        (0.0, "gCO2e", "0 g CO2e"),
        (2.5e-3, "gCO2e", "2.5 mg CO2e"),
        (130, "gCO2e/1e6 tokens", "130 g CO2e/1e6 tokens"),
        (0.002, "L", "2 mL"),
        (3, "1", "3"),
    ],
)
def test_figures_are_written_in_the_unit_that_keeps_them_short(
    value: float, unit: str, text: str
) -> None:
    assert readable(Estimate.exact(value, unit=unit, source="t")) == (text, "")


def test_a_sentence_has_interval_and_kind() -> None:
    assert sentence(GRAMS) == "300 g CO2e (100 to 500 g CO2e, modelled)"
    assert sentence(None) == "unknown"


@given(st.floats(1e-9, 1e12))
def test_rounding_keeps_the_digits(value: float) -> None:
    assert significant(value) == pytest.approx(value, rel=5e-3)
