"""A branch for every expert, and weights that are still found inside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_decoder import random_decoder

pytest.importorskip("openvino")

from negawatt.adapters.runtimes.openvino import OpenVinoRuntime
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_experts import every_node
from negawatt.compress.quantise import round_to_nearest
from negawatt.core.records import Format
from negawatt.models.architecture import blueprint
from negawatt.models.load import load_reference

EXPERTS, BLOCKS = 4, 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("olmoe") / "model"
    random_decoder("olmoe", stacked=True).to(torch.bfloat16).save_pretrained(folder)
    return folder


def branches(folder: Path) -> list[ov.Node]:
    graph = ov.Core().read_model(folder / "model.xml")
    return [op for op in graph.get_ops() if op.get_type_name() == "If"]


def test_every_expert_has_a_branch_with_its_three_products(model: Path, tmp_path: Path) -> None:
    OpenVinoRuntime().convert(model, tmp_path / "base")
    found = branches(tmp_path / "base")
    assert len(found) == EXPERTS * BLOCKS
    for one in found:
        inside = [op.get_type_name() for op in one.get_function(0).get_ops()]
        assert inside.count("MatMul") == 3
    names = {
        op.get_friendly_name()
        for op in every_node(ov.Core().read_model(tmp_path / "base" / "model.xml"))
    }
    assert "negawatt/model.layers.1.mlp.experts.3.down_proj" in names


def test_gate_and_up_of_an_expert_become_one_product(model: Path, tmp_path: Path) -> None:
    runtime, reference = OpenVinoRuntime(), load_reference(model)
    plan = blueprint(json.loads((model / "config.json").read_text()))
    codes = {
        one.name: round_to_nearest(reference.get_submodule(one.name).weight, Format(8))
        for one in plan.layers
    }
    stem = "model.layers.0.mlp.experts.2"
    runtime.convert(model, tmp_path / "base")
    pair = (f"{stem}.gate_proj", f"{stem}.up_proj")
    runtime.compress(tmp_path / "base", codes, tmp_path / "joint", joint=[pair])
    counts = sorted(
        [op.get_type_name() for op in one.get_function(0).get_ops()].count("MatMul")
        for one in branches(tmp_path / "joint")
    )
    assert counts == [2, *[3] * (EXPERTS * BLOCKS - 1)]


def test_experts_are_priced_by_the_tokens_they_get(model: Path) -> None:
    plan = blueprint(json.loads((model / "config.json").read_text()))
    shares = {one.name: one.share for one in plan.layers}
    assert shares["model.layers.0.mlp.experts.0.up_proj"] == pytest.approx(2 / EXPERTS)
    assert np.isclose(shares["model.layers.0.self_attn.q_proj"], 1.0)
