"""An encoder is recognised, written as it is, and refused where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_encoder import small_encoder

from negawatt.core.errors import BrokenWeights, NotAModel, UnsupportedArchitecture
from negawatt.models.encoder import (
    ending_of,
    find_encoder,
    load_encoder,
    pooling_of,
    prepare_encoder,
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("encoders") / "bert")


def test_a_decoder_is_no_encoder(bert: Path, tmp_path: Path) -> None:
    from small_decoder import random_decoder

    assert find_encoder(str(bert)) == bert
    random_decoder().save_pretrained(tmp_path)
    assert find_encoder(str(tmp_path)) is None
    with pytest.raises(NotAModel):
        find_encoder(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("architecture", "ending"),
    [
        ("BertModel", "embedding"),
        ("DistilBertForSequenceClassification", "labels"),
        ("RobertaForMaskedLM", "tokens"),
    ],
)
def test_what_it_ends_in_is_told_by_its_class(architecture: str, ending: str) -> None:
    assert ending_of(architecture) == ending


def test_a_class_with_another_ending_is_refused_with_those_there_are(tmp_path: Path) -> None:
    model = small_encoder(tmp_path / "model", "BertForTokenClassification")
    with pytest.raises(UnsupportedArchitecture, match="TokenClassification") as caught:
        prepare_encoder(str(model), model, tmp_path / "work")
    assert "ForMaskedLM" in caught.value.fix


def test_it_is_written_in_float32_and_again_only_when_it_changed(
    bert: Path, tmp_path: Path
) -> None:
    source = prepare_encoder(str(bert), bert, tmp_path)
    original = load_file(bert / "model.safetensors")
    written = load_file(source.folder / "model.safetensors")
    for name, value in written.items():
        torch.testing.assert_close(value, original[name], rtol=0, atol=0)
    assert not [name for name in written if "pooler" in name]  # no vector goes through it
    assert source.layers[0].kind == "embedding"
    assert {layer.block for layer in source.layers[1:]} == {0, 1}
    assert source.parameters == sum(value.numel() for value in written.values())
    before = (source.folder / "model.safetensors").stat().st_mtime_ns
    assert prepare_encoder(str(bert), bert, tmp_path) == source
    assert (source.folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_masked_language_model_has_its_head(tmp_path: Path) -> None:
    model = small_encoder(tmp_path / "model", "BertForMaskedLM")
    source = prepare_encoder(str(model), model, tmp_path / "work")
    head = source.layers[-1]
    assert (head.kind, head.tied_to) == ("head", source.layers[0].name)


def test_missing_weights_are_named(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BrokenWeights, match=r"encoder\.layer\.1\.output\.dense\.weight"):
        load_encoder(folder)


def test_values_that_are_no_numbers_are_named(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.attention.self.key.weight"][2, 3] = torch.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BrokenWeights, match=r"key\.weight"):
        prepare_encoder(str(folder), folder, tmp_path / "work")
    assert not (tmp_path / "work" / "model").exists()


def test_pooling_is_as_the_folder_says(tmp_path: Path) -> None:
    assert pooling_of(tmp_path) == "mean"
    (tmp_path / "1_Pooling").mkdir()
    file = tmp_path / "1_Pooling" / "config.json"
    file.write_text(json.dumps({"pooling_mode_cls_token": True}), encoding="utf-8")
    assert pooling_of(tmp_path) == "cls"
    file.write_text(json.dumps({"pooling_mode_mean_tokens": True}), encoding="utf-8")
    assert pooling_of(tmp_path) == "mean"
