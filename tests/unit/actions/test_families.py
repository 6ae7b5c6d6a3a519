"""Both jobs on a small random model of every family whose blocks are built otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from job_sample import EFFORT, some_order, some_tools

from negawatt import wiring
from negawatt.actions.optimize.run import optimize
from negawatt.actions.quantise.job import quantise
from negawatt.actions.quantise.request import Request
from negawatt.compress.quantised import Recipe
from negawatt.core.records import Format

from .conftest import Story, made_up

#: Matrices with a format of their own, of two blocks, with embedding and head.
LAYERS = {"gpt2": 14, "gpt_neox": 10, "phi": 14, "phi3": 10, "olmoe": 34}
SLOW = ("gpt_neox", "phi", "phi3", "olmoe")
FAMILIES = ("gpt2", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW))


@pytest.fixture(scope="module", params=FAMILIES)
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The family, and a model of it."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, made_up(folder / "story", request.param)


def test_quantise_writes_what_other_tools_load(told: tuple[str, Story], tmp_path: Path) -> None:
    """The job itself compares the logits of every artifact with those of its own codes."""
    pytest.importorskip("openvino")
    family, story = told
    request = Request(
        model=str(story.model),
        recipe=Recipe(Format(4, 32), "polished", (), Format(8)),
        targets=("huggingface", "openvino", "onnxruntime"),
        text=str(story.text),
        out=tmp_path / "out",
    )
    engines = {name: wiring.runtime(name) for name in request.targets[1:]}
    found = quantise(request, some_tools(tmp_path / "cache"), engines, EFFORT)
    assert 0 < found.quality.kl.value < 3
    assert found.bits_per_weight < 12
    assert set(found.artifacts) == set(request.targets)
    assert (found.architecture == "OPTForCausalLM") == (family == "gpt2")


def test_optimize_chooses_among_the_layers(told: tuple[str, Story], tmp_path: Path) -> None:
    family, story = told
    order = some_order(story.model, story.text, tmp_path / "out", max_loss=0.2)
    outcome = optimize(order, some_tools(tmp_path / "cache"))
    chosen = next(p for p in outcome.points if p.variant.name == outcome.decision.choice)
    names = [name.rpartition(".")[2] for name in chosen.variant.plan]
    assert chosen.meets_budget
    assert len(names) == LAYERS[family]
    config = json.loads((story.model / "config.json").read_text())
    assert config["model_type"] == family  # the source was not touched
