"""Datasheets, and published measurements, as tables tell them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from negawatt.core.errors import UsageError
from negawatt.energy.devices import Datasheet, read_datasheets
from negawatt.energy.published import Totals, family_of, totals_in, windows_in

SHEET: dict[str, Any] = {
    "name": "a GPU",
    "bandwidth": 2e12,
    "rate": 5e14,
    "power_w": 500.0,
    "idle_w": 60.0,
    "memory_bytes": 80e9,
    "source": "its datasheet",
}
ROW = {
    "device": "a GPU",
    "mem_bw_gb_s": "2000",
    "tdp_w": "500",
    "idle_w": "60",
    "mem_gb": "80",
    "peak_bf16_tflops": "",
    "peak_fp16_tflops": "500",
    "source": "its datasheet",
}
MODEL = {
    "model": "them/Tiny-2B-Instruct",
    "params_total_b": "2",
    "params_active_b": "2",
    "layers": "20",
    "d_model": "2048",
    "n_heads": "16",
    "head_dim": "128",
    "kv_elems_per_token": "20480",
    "n_experts": "1",
    "top_k": "1",
}
MEASURED = {
    "model": "them/Tiny-2B-Instruct",
    "weight_precision": "bf16",
    "avg_batch": "8",
    "max_batch": "16",
    "in_tokens": "100",
    "out_tokens": "200",
    "j_per_output_token": "0.5",
    "output_tok_per_s": "800",
    "n_devices": "1",
    "tp": "1",
    "ep": "1",
    "task": "chat",
}


def test_units_of_a_table_become_those_of_the_model() -> None:
    assert read_datasheets([ROW]) == {"a GPU": Datasheet(**SHEET)}


def test_what_a_table_does_not_tell_is_unknown_and_never_nought() -> None:
    assert read_datasheets([ROW | {"idle_w": ""}])["a GPU"].idle_w is None
    for needed in ("mem_bw_gb_s", "tdp_w", "mem_gb", "peak_fp16_tflops"):
        assert read_datasheets([ROW | {needed: ""}]) == {}


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("bandwidth", 0.0, "bandwidth is 0"),
        ("rate", -1.0, "rate is -1"),
        ("power_w", float("nan"), "power_w is nan"),
        ("memory_bytes", float("inf"), "memory_bytes is inf"),
        ("idle_w", 600.0, "600 W at rest and 500 W at most"),
    ],
)
def test_an_absurd_device_is_refused(field: str, value: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Datasheet(**(SHEET | {field: value}))


def test_a_row_becomes_a_window_by_hand() -> None:
    found = windows_in([MEASURED], totals_in([MODEL]))
    assert found.joules.tolist() == [0.5 * 8]
    assert found.seconds.tolist() == [8 / 800]
    assert found.groups == ("Tiny-2B",)
    assert found.kinds == ("chat",)
    # weights once a step; keys and values of 201 tokens read, and of half a prompt token written
    assert found.load.weight_bytes.tolist() == pytest.approx([2e9 * 2])
    assert found.load.context_bytes.tolist() == pytest.approx([8 * 20480 * 2 * (201 + 100 / 200)])
    products = 2 * 2e9 * 8 * (1 + 100 / 200)
    looks = 4 * 20 * 2048 * 8 * (201 + (100 * 101 / 2) / 200)
    assert found.load.operations.tolist() == pytest.approx([products + looks])


@pytest.mark.parametrize(
    "gap", ["out_tokens", "j_per_output_token", "output_tok_per_s", "weight_precision"]
)
def test_a_row_that_tells_too_little_is_left_out(gap: str) -> None:
    rows = [MEASURED, MEASURED | {gap: ""}, MEASURED | {"model": "another"}]
    assert len(windows_in(rows, totals_in([MODEL]))) == 1


def test_experts_spread_over_devices_repeat_what_is_shared() -> None:
    totals = Totals(
        parameters=10e9,
        active=3e9,
        layers=10,
        hidden=1024,
        heads=1024,
        kept=1000,
        experts=8,
        experts_used=1,
    )
    models = {MEASURED["model"]: totals}
    rows = [
        MEASURED | {"n_devices": "4", "ep": ep, "tp": tp} for ep, tp in (("4", "1"), ("1", "4"))
    ]
    spread, cut = windows_in(rows, models).load.weight_bytes
    apart = (10e9 - 3e9) / (1 - 1 / 8)
    assert spread - cut == pytest.approx(3 * 2 * (10e9 - apart))
    assert np.isfinite(spread)


def test_versions_of_one_model_are_one_family() -> None:
    named = ["Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "Qwen/Qwen3-235B-A22B-Thinking-2507"]
    assert {family_of(name) for name in named} == {"Qwen3-235B-A22B"}
    assert family_of("google/gemma-3-12b-it") != family_of("google/gemma-3-27b-it")
