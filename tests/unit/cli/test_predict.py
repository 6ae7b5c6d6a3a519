from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from engine_sample import PricedRuntime, lawful

from negawatt import predict as front_door
from negawatt import wiring
from negawatt.actions.optimize.order import Progress, Tools
from negawatt.actions.optimize.workshop import Here
from negawatt.cli import VERBS
from negawatt.cli.predict import command
from negawatt.core.codec import decode
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.energy.predict import Prediction
from negawatt.settings import Settings

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    return str(file)


@pytest.fixture(autouse=True)
def sample_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine of known prices, and a cache of its own."""
    monkeypatch.setenv("NEGAWATT_CACHE", str(tmp_path / "cache"))

    def tools(settings: Settings, progress: Progress) -> Tools:
        runtime = PricedRuntime(lawful)
        price = Estimate(
            value=2.0, low=1.0, high=5.0, unit="J/s", kind=Kind.MODELLED, source="band"
        )
        return Tools(
            runtime=runtime, engines=(runtime,), reference=runtime, joules_per_cpu_s=price, machine={},
            machine_id="here", versions={}, cores=2, cache=settings.paths.cache, data=None,
            clock=runtime.clock, progress=progress, workshop=Here(),
        )  # fmt: skip

    monkeypatch.setattr(wiring, "tools", tools)


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def record(*arguments: str) -> Prediction:
    return decode(Prediction, json.loads(predict("--json", *arguments).stdout))


def test_its_help_begins_with_its_line_in_the_list() -> None:
    assert str(command.help).splitlines()[0] == VERBS["predict"]


def test_people_get_a_table_with_intervals_and_kinds(model: str) -> None:
    shown = predict(model).stdout
    for word in ("bf16", "int8-row-sym", "int4-g64-asym", "prefill", "decode", "modelled"):
        assert word in shown
    assert "mJ" in shown or "µJ" in shown
    # three or more figures with an interval in each of three formats; a narrow one rounds to a point
    assert shown.count("…") >= 9
    assert "matrix products" in shown
    assert "128 tokens read and 128 written" in shown


def test_progress_is_on_standard_error_and_only_while_something_is_measured(model: str) -> None:
    first, second = predict("--json", model), predict("--json", model)
    assert "measuring matrix products" in first.stderr
    assert second.stderr == ""
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) == 1


def test_machines_get_one_object_with_every_estimate_whole(model: str) -> None:
    found = record(model)
    assert found.runtime == "priced 1.0"
    for forecast in found.forecasts:
        for estimate in (forecast.energy, forecast.prefill_energy, forecast.decode_energy):
            assert estimate.low < estimate.value < estimate.high
            assert (estimate.kind, estimate.unit) == (Kind.MODELLED, "J/token")
            assert estimate.source
            assert estimate.boundary


def test_options_are_heard(model: str) -> None:
    found = record(model, "--format", "int8-row-sym", "--workload", "64:32:4", "--threads", "2")
    assert [forecast.format for forecast in found.forecasts] == ["int8-row-sym"]
    assert (found.workload.spec, found.threads) == ("64:32:4", 2)


def test_not_measuring_is_an_error_with_its_fix(model: str) -> None:
    with pytest.raises(UsageError) as raised:
        predict(model, "--no-measure")
    assert "lacks" in raised.value.what
    assert "--no-measure" in raised.value.fix
    predict(model)
    assert predict(model, "--no-measure").return_value is None


@pytest.mark.parametrize(
    "wrong", [("--format", "fp3"), ("--workload", "talk"), ("--threads", "none")]
)
def test_wrong_values_are_refused_before_anything_is_measured(
    model: str, wrong: tuple[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=wrong[1]):
        predict(model, *wrong)
    assert not (tmp_path / "cache").exists()


def test_python_gets_the_same_record(model: str) -> None:
    assert front_door(model) == record(model)
    eight = front_door(model, formats=["int8-row-sym"], flags={"run.workload": "batch"})
    assert eight.workload.batch == 8
    assert replace(eight, forecasts=()) != eight
