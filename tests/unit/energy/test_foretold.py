"""Requests on a device, before they are run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.errors import UsageError
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.catalogue import catalogue, unseen_band
from negawatt.energy.configs import anatomy_of
from negawatt.energy.foretold import Asked, fewest, foretell
from negawatt.energy.precisions import PRECISIONS, kept_bytes, stored_bytes, weight_bits
from negawatt.energy.training import Training, train, utilisation

EIGHT = anatomy_of(
    {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "eight",
)  # fmt: skip
ENCODER = anatomy_of(
    {
        "model_type": "bert", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 100,
    }
)  # fmt: skip
H100 = catalogue().find("h100")


def test_figures_lie_where_servers_were_measured() -> None:
    """An H100 serves 8 B parameters in 16 bits at some 0.1 to 0.2 J a token, 64 at once."""
    told = foretell(EIGHT, Asked(batch=64), H100)
    assert 0.08 < told.per_token.value < 0.25
    assert told.per_token.low < told.per_token.value < told.per_token.high
    assert told.per_token.boundary == "GPU boards"
    assert told.beyond == ()
    assert told.power.high <= 700


@given(batch=st.integers(8, 256), prompt=st.integers(16, 4096), written=st.integers(16, 2048))
def test_figures_agree_with_each_other(batch: int, prompt: int, written: int) -> None:
    told = foretell(EIGHT, Asked(batch=batch, prompt=prompt, written=written), H100)
    assert told.per_request.value == pytest.approx(told.per_token.value * written)
    assert told.power.value == pytest.approx(told.per_token.value * told.tokens_per_s.value)
    assert sum(told.parts.values()) == pytest.approx(1.0)


def test_outside_of_the_windows_the_band_is_a_datasheets() -> None:
    inside, alone = (foretell(EIGHT, Asked(batch=b), H100) for b in (8, 1))
    assert alone.beyond
    assert alone.per_token.high / alone.per_token.value == pytest.approx(unseen_band().joules)
    assert inside.per_token.high / inside.per_token.value == pytest.approx(H100.band.joules)


def test_an_encoder_is_told_by_what_it_reads() -> None:
    short, long = (foretell(ENCODER, Asked(batch=8, prompt=n), H100) for n in (64, 512))
    assert short.per_request.value == pytest.approx(64 * short.per_token.value)
    assert long.per_token.value < short.per_token.value  # launches are shared by more tokens
    assert "texts read whole, calibrated on writing" in short.beyond
    assert sum(short.parts.values()) == pytest.approx(1.0)


def test_a_profile_of_dense_models_does_not_vouch_for_experts() -> None:
    experts = anatomy_of(
        {
            "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
            "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
            "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
            "num_experts_per_tok": 8, "vocab_size": 151936, "tie_word_embeddings": False,
        },
        "experts",
    )  # fmt: skip
    assert foretell(experts, Asked(batch=64), H100).beyond == ()
    told = foretell(experts, Asked(batch=64), replace(H100, expert_band=None))
    assert told.beyond == ("layers with experts, calibrated on dense models",)
    assert told.per_token.high / told.per_token.value >= unseen_band().joules


def test_the_fewest_devices_that_hold_the_model_are_taken() -> None:
    told = foretell(EIGHT, Asked(batch=1), catalogue().find("T4"))
    assert told.devices == 2
    assert told.fits
    assert told.room_bytes < 2 * 16e9
    assert not foretell(EIGHT, Asked(batch=1, devices=1), catalogue().find("T4")).fits


def test_fewer_devices_than_needed_are_never_found() -> None:
    assert [fewest(n, 10.0) for n in (1, 10, 11, 39, 41)] == [1, 1, 2, 4, 8]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_narrower_weights_take_no_more(precision: str) -> None:
    wide = foretell(EIGHT, Asked(batch=8), H100)
    narrow = foretell(EIGHT, Asked(batch=8), H100, precision)
    assert narrow.per_token.value <= wide.per_token.value
    assert narrow.memory_bytes <= wide.memory_bytes


def test_memory_is_that_of_weights_and_texts() -> None:
    bits = weight_bits(EIGHT, "bf16")
    assert stored_bytes(EIGHT, bits) == pytest.approx(2 * EIGHT.parameters)
    assert kept_bytes(EIGHT, 100, 16) == 100 * 32 * 2 * 8 * 128 * 2


def test_heads_and_tables_stay_wide() -> None:
    bits = dict(zip((m.name for m in EIGHT.matrices), weight_bits(EIGHT, "fp8"), strict=True))
    assert bits["head"] == bits["embedding"] == 16
    assert bits["ffn"] == 8


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="no precision called fp3"):
        foretell(EIGHT, Asked(), H100, "fp3")
    with pytest.raises(UsageError, match="tokens is -1"):
        Training(tokens=-1)


def olmo() -> Anatomy:
    return anatomy_of(
        {
            "model_type": "olmo", "hidden_size": 4096, "intermediate_size": 11008,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
            "vocab_size": 50304, "tie_word_embeddings": False,
        }
    )  # fmt: skip


def test_a_training_that_was_metered_lies_inside() -> None:
    """OLMo 7B: 104 MWh with a PUE of 1.1 (Groeneveld et al. 2024)."""
    told = train(olmo(), Training(tokens=2.46e12, devices=216), catalogue().find("A100-SXM4-40GB"))
    assert told.joules.low < 104e6 * 3600 / 1.1 < told.joules.high


def test_a_training_takes_six_operations_a_weight_and_token() -> None:
    told = train(olmo(), Training(tokens=1e9, length=128), H100)
    assert told.operations == pytest.approx(6 * olmo().active * 1e9, rel=0.02)
    assert sum(told.parts.values()) == pytest.approx(1.0)
    assert told.parts["backward"] == pytest.approx(2 * told.parts["forward"], rel=0.1)


def test_more_devices_train_sooner_on_the_same_joules() -> None:
    few, many = (train(olmo(), Training(tokens=1e11, devices=n), H100) for n in (8, 64))
    assert many.seconds.value == pytest.approx(few.seconds.value / 8, rel=0.01)
    assert many.joules.value == pytest.approx(few.joules.value, rel=0.01)


def test_the_rate_of_trainings_is_a_share() -> None:
    told = utilisation()
    assert 0 < told.low < told.value < told.high <= 1
