from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_sample import BF16, INT4, INT8, PricedRuntime, lawful

from negawatt.actions.optimize.order import Tools
from negawatt.actions.optimize.workshop import Here
from negawatt.actions.predict import LADDER, Question, predict
from negawatt.core.errors import NotAModel, UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.records import Format, Workload
from negawatt.energy.calibrations import remember
from negawatt.energy.costs import CostTable, kept_at, load_table
from negawatt.energy.model import Calibration, EnergyModel
from negawatt.models.outline import outline

CHAT = Workload(128, 128, 1)
JOULES = Estimate(value=2.0, low=1.0, high=5.0, unit="J/s", kind=Kind.MODELLED, source="band")
WHERE = {"machine": "here", "runtime": "priced 1.0"}
SIZES: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024,
    "tie_word_embeddings": True,
}  # fmt: skip

Config = Callable[..., str]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    def write(**changes: Any) -> str:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        file.write_text(json.dumps(SIZES | changes))
        return str(file)

    return write


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    runtime = PricedRuntime(lawful)
    return Tools(
        runtime=runtime, engines=(runtime,), reference=runtime, joules_per_cpu_s=JOULES, machine={}, machine_id="here",
        versions={}, cores=2, cache=tmp_path / "cache", data=None, clock=runtime.clock,
        progress=lambda stage, share: None, workshop=Here(),
    )  # fmt: skip


def built(tools: Tools) -> list[Any]:
    assert isinstance(tools.runtime, PricedRuntime)
    return tools.runtime.built


def table(tools: Tools) -> CostTable:
    return load_table(kept_at(tools.cache, **WHERE), **WHERE)


def test_the_first_question_measures_and_the_second_reads(config: Config, tools: Tools) -> None:
    question = Question(config(), CHAT)
    first = predict(question, tools)
    assert [f.format for f in first.forecasts] == ["bf16", "int8-row-sym", "int4-g64-asym"]
    assert first.by_law == 0
    assert built(tools)
    built(tools).clear()
    assert predict(question, tools) == first
    assert predict(replace(question, measure=False), tools) == first
    assert not built(tools)


def test_told_not_to_measure_it_says_what_it_lacks(config: Config, tools: Tools) -> None:
    with pytest.raises(UsageError, match="leave out --no-measure"):
        predict(Question(config(), CHAT, measure=False), tools)
    assert not built(tools)


def test_another_model_follows_by_law_unless_it_shall_be_measured(
    config: Config, tools: Tools
) -> None:
    predict(Question(config(), CHAT), tools)
    built(tools).clear()
    other = Question(config(hidden_size=256, intermediate_size=512), CHAT)
    by_law = predict(other, tools)
    assert not built(tools)
    assert by_law.by_law > 0
    assert any("--measure" in note for note in by_law.notes)
    timed = predict(replace(other, measure=True), tools)
    assert timed.by_law == 0
    for told, true in zip(by_law.forecasts, timed.forecasts, strict=True):
        assert told.decode_cpu.low <= true.decode_cpu.value <= told.decode_cpu.high * (1 + 1e-3)


def test_a_model_of_few_or_huge_shapes_is_measured_beside_a_ladder(
    config: Config, tools: Tools
) -> None:
    found = predict(Question(config(vocab_size=2**20, hidden_size=256), CHAT, (INT8,)), tools)
    assert found.by_law == 1  # the head: 268 million weights
    assert max(rows * cols for rows, cols, *_ in built(tools)) <= 2**26
    assert set(LADDER) <= {row.shape for row in table(tools).rows}


def test_patience_ends_when_a_law_can_be_had(config: Config, tools: Tools) -> None:
    runtime = PricedRuntime(lambda *product: 0.05 * lawful(*product) / lawful(64, 64, INT8, 1))
    slow = replace(tools, runtime=runtime, clock=runtime.clock)
    found = predict(Question(config(intermediate_size=2**14), CHAT, (INT8,)), slow)
    assert found.by_law > 0
    assert found.measured > 0


def test_a_head_is_not_timed_for_a_whole_prompt(config: Config, tools: Tools) -> None:
    predict(Question(config(), CHAT), tools)
    tokens = {row.tokens for row in table(tools).rows if row.shape.rows == 1024}
    assert tokens == {1}


def test_threads_and_batches_have_products_of_their_own(config: Config, tools: Tools) -> None:
    found = predict(Question(config(), Workload(64, 64, 8), (INT4,), threads=2), tools)
    assert found.threads == 2
    assert {(row.threads, row.tokens) for row in table(tools).rows} == {(2, 8), (2, 128)}


def test_without_a_calibration_only_products_are_told(config: Config, tools: Tools) -> None:
    found = predict(Question(config(), CHAT, (INT8,)), tools)
    assert found.forecasts[0].energy.boundary == "matrix products"
    assert any("negawatt optimize" in note for note in found.notes)


def test_a_calibration_is_used_with_the_threads_it_was_learnt_on(
    config: Config, tools: Tools
) -> None:
    name = config()
    question = Question(name, CHAT, (INT8,))
    alone = predict(question, tools).forecasts[0]
    fits = dict.fromkeys(("prefill", "decode"), Calibration(1e-3, 1.0, 0.1))
    model = EnergyModel(outline(name).layers, CostTable(**WHERE, rows=()), CHAT, 1, JOULES, fits)
    remember(tools.cache, model, architecture="LlamaForCausalLM", threads=2)
    whole = predict(question, tools)
    assert whole.threads == 2
    assert whole.forecasts[0].energy.boundary == "process"
    assert whole.forecasts[0].decode_cpu.value == pytest.approx(1e-3 + alone.decode_cpu.value)
    assert predict(replace(question, threads=1), tools).forecasts[0] == alone
    larger = predict(Question(config(num_hidden_layers=4), CHAT, (INT8,)), tools)
    assert any("carried over from a model of 2 blocks" in note for note in larger.notes)


def test_only_formats_the_engine_executes_are_told(config: Config, tools: Tools) -> None:
    plain = PricedRuntime(lawful, formats=(BF16,))
    found = predict(Question(config(), CHAT), replace(tools, runtime=plain))
    assert [f.format for f in found.forecasts] == ["bf16"]
    with pytest.raises(UsageError, match="does not execute int5-g64-sym"):
        predict(Question(config(), CHAT, (Format(5, 64),)), tools)


def test_progress_goes_from_nothing_to_all(config: Config, tools: Tools) -> None:
    told = list[float]()
    predict(Question(config(), CHAT), replace(tools, progress=lambda _, share: told.append(share)))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)


def test_no_model_is_an_error_of_its_own(tools: Tools) -> None:
    with pytest.raises(NotAModel):
        predict(Question("no such thing", CHAT), tools)
