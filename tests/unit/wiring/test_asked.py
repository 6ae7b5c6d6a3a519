"""What every verb does first: settings, tools for a model, and a folder that is let go again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from job_sample import some_tools

from negawatt import wiring
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.folder import claimed
from negawatt.actions.optimize.order import Order
from negawatt.actions.optimize.workshop import Here
from negawatt.core.errors import ModelError, NegawattError
from negawatt.core.records import Workload
from negawatt.wiring import asked


def test_values_of_any_kind_are_taken_and_none_is_not_asked_for() -> None:
    found = asked.settings_of({"run.threads": 2, "run.seed": None})
    assert (found.run.threads, found.origins["run.threads"]) == (2, "flag")
    assert found.origins["run.seed"] != "flag"


def test_a_hub_is_left_alone_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    asked.settings_of({"hub.offline": True})
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("size", "small"), [(1000, True), (asked.LARGE, False), (None, False)])
def test_large_models_and_those_of_unknown_size_are_worked_on_apart(
    monkeypatch: pytest.MonkeyPatch, size: int | None, small: bool
) -> None:
    from negawatt.models import origin

    told: dict[str, Any] = {}
    monkeypatch.setattr(origin, "weight_bytes", lambda _: size)
    monkeypatch.setattr(wiring, "tools", lambda *_, **named: told.update(named))
    asked.tools_for("model", asked.settings_of({}), lambda stage, share: None)
    assert told == {"small": small}


def test_models_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    settings = asked.settings_of({"paths.cache": tmp_path})
    one, other = (asked.forms_at(name, settings) for name in ("here/model", "there/model"))
    assert one.parent == other.parent == tmp_path / "engines"
    assert one != other
    assert one.name.startswith("model-")


def test_folder_and_workers_are_let_go_when_something_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shop(Here):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    shop = Shop()
    tools = replace(some_tools(tmp_path / "cache"), workshop=shop)
    order = Order("none", 0.01, Workload(4, 4), tmp_path / "out")

    def fail(*_: object) -> None:
        raise ModelError("there is none", fix="name one")

    monkeypatch.setattr(stages, "prepared", fail)
    with pytest.raises(NegawattError, match="none"), asked.at_work(order, tools):
        raise AssertionError("never reached")
    assert shop.closed == 1
    with claimed(order.out):  # nobody holds it
        pass
