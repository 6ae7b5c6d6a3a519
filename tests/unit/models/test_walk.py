"""A model taken block by block says what it says as a whole, and is not held."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_decoder import VOCABULARY, layers_of, random_decoder

from negawatt.compress.inputs import block_paths
from negawatt.core.errors import BrokenWeights, NotAModel, UsageError
from negawatt.models.cloze import Cloze, Passage
from negawatt.models.mapped import Mapped, Whole
from negawatt.models.quality import Exam
from negawatt.models.states import States
from negawatt.models.walk import Walk
from negawatt.models.walked import WalkedSession, texts_of

TEXTS = [
    list(np.random.default_rng(n).integers(0, VOCABULARY, length))
    for n, length in enumerate((24, 24, 11))
]
FAMILIES = {
    "llama": {},
    "qwen3": {},
    "gemma3_text": {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    "smollm3": {},
    "llama untied": {"tie_word_embeddings": False},
    "llama tied": {"tie_word_embeddings": True},
}


def made(name: str, folder: Path, **how: Any) -> tuple[Any, list[str]]:
    """A model, written down as well; and the paths of its blocks."""
    model = random_decoder(name.split(maxsplit=1)[0], **FAMILIES[name])
    model.save_pretrained(folder, **how)
    return model, block_paths(layers_of(model))


def whole(model: Any, text: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(torch.tensor([text])).logits
    return logits


@pytest.mark.parametrize("name", FAMILIES)
def test_it_says_what_the_whole_model_says(name: str, tmp_path: Path) -> None:
    model, blocks = made(name, tmp_path)
    parts = Mapped(tmp_path, torch.float32)
    with WalkedSession(parts, blocks, TEXTS) as session:
        for text in TEXTS:
            session.reset()
            found = np.concatenate(
                [session.forward(np.array([text[:7]])), session.forward(np.array([text[7:]]))], 1
            )
            np.testing.assert_allclose(found, whole(model, text), rtol=1e-4, atol=1e-4)


def test_shards_serve_as_one_file_does(tmp_path: Path) -> None:
    model, blocks = made("llama", tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    with WalkedSession(Mapped(tmp_path, torch.float32), blocks, TEXTS[:1]) as session:
        found = session.forward(np.array(TEXTS[:1]))
    np.testing.assert_allclose(found, whole(model, TEXTS[0]), rtol=1e-4, atol=1e-4)


def test_the_last_positions_alone_can_be_asked_for(tmp_path: Path) -> None:
    model, blocks = made("llama", tmp_path)
    with WalkedSession(Whole(model), blocks, TEXTS[:1]) as session:
        found = session.forward(np.array(TEXTS[:1]), keep=3)
    np.testing.assert_allclose(found, whole(model, TEXTS[0])[:, -3:], rtol=1e-4, atol=1e-4)


def test_other_weights_can_stand_in_the_place_of_its_own(tmp_path: Path) -> None:
    model, blocks = made("llama tied", tmp_path)
    layer, head = "model.layers.1.mlp.up_proj", "lm_head"
    other = {layer: torch.randn(96, 64) * 0.1, head: torch.randn(VOCABULARY, 64) * 0.1}
    with WalkedSession(Mapped(tmp_path, torch.float32, other.get), blocks, TEXTS[:1]) as session:
        found = session.forward(np.array(TEXTS[:1]))
    for name, weight in other.items():  # parameters of their own, so that tied layers part
        model.get_submodule(name).weight = torch.nn.Parameter(weight)
    np.testing.assert_allclose(found, whole(model, TEXTS[0]), rtol=1e-4, atol=1e-4)


def test_one_block_is_held_at_a_time(tmp_path: Path) -> None:
    _, blocks = made("llama", tmp_path)
    parts = Mapped(tmp_path, torch.float32)
    walk = Walk(parts, blocks, [torch.tensor([text]) for text in TEXTS])

    def held() -> set[str]:
        return {name for name, value in parts.model.named_parameters() if not value.is_meta}

    seen: list[set[str]] = []
    for _ in blocks:
        walk.step(lambda _: seen.append(held()))
    assert held() == set()
    for names, block in zip(seen[:: len(TEXTS)], blocks, strict=True):
        assert names
        assert all(name.startswith(f"{block}.") for name in names)


def test_weights_stored_as_they_are_computed_are_mapped_and_not_copied(tmp_path: Path) -> None:
    model, blocks = made("llama", tmp_path)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    parts = Mapped(tmp_path)

    def maps() -> int:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return sum(str(tmp_path) in line for line in lines)

    if not Path("/proc/self/maps").exists():
        pytest.skip("the system does not tell what is mapped")
    assert maps() == 0
    with parts.held(blocks[0]):
        assert maps() > 0
    assert maps() == 0


def test_rows_are_those_of_the_stored_matrix(tmp_path: Path) -> None:
    model, _ = made("llama tied", tmp_path)
    for parts in (Mapped(tmp_path, torch.float32), Whole(model)):
        for name in ("lm_head", "model.layers.1.self_attn.q_proj"):
            weight = model.get_submodule(name).weight
            torch.testing.assert_close(parts.rows(name, 3, 9), weight[3:9])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    model, blocks = made("llama", tmp_path)
    values = {k: v for k, v in model.state_dict().items() if "1.mlp.up" not in k}
    model.save_pretrained(tmp_path, state_dict=values)
    with (
        pytest.raises(BrokenWeights, match=r"model\.layers\.1\.mlp\.up_proj\.weight"),
        Mapped(tmp_path).held(blocks[1]),
    ):
        pass
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(NotAModel, match="safetensors"):
        Mapped(tmp_path)


def test_another_text_than_was_said_is_refused(tmp_path: Path) -> None:
    model, blocks = made("llama", tmp_path)
    with WalkedSession(Whole(model), blocks, TEXTS) as session:
        with pytest.raises(UsageError, match="other texts"):
            session.forward(np.array([TEXTS[0][::-1]]))
        with pytest.raises(UsageError, match="writes no text"):
            session.stream([1], max_new=1)


def test_an_exam_asks_for_windows_and_then_for_passages() -> None:
    windows = np.array([[1, 2, 3], [4, 5, 6]])
    task = Cloze(passages=(Passage((7, 8, 9, 10), 2),), name="words")
    assert [list(text) for text in texts_of(Exam(windows, "text", task))] == [
        [1, 2],
        [4, 5],
        [7, 8, 9],
    ]


# ------------------------------------------------------------------------- states


@pytest.fixture(params=[0, 40, 10**6], ids=["all on disk", "some on disk", "all in memory"])
def states(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[States]:
    with States(request.param, tmp_path) as found:
        yield found


def test_states_come_back_as_they_were_put(states: States) -> None:
    kept = [torch.randn(1, 3 + n, 5).to(torch.bfloat16) for n in range(3)]
    for _ in range(2):  # and again, in the place of the former ones
        for i, state in enumerate(kept):
            states.put(i, state)
        kept = kept[:1] + [state * 2 for state in kept[1:]]
        for i, state in enumerate(kept):
            states.put(i, state)
        for i, state in enumerate(kept):
            assert torch.equal(states.get(i), state)
    assert states.held + states.spilled == sum(state.nbytes for state in kept)


def test_a_file_of_states_has_no_name(tmp_path: Path) -> None:
    """So it is gone when the process is, even after kill -9."""
    with States(0, tmp_path) as states:
        states.put(0, torch.ones(1, 2, 3))
        assert states.spilled == 24
        assert os.listdir(tmp_path) == []  # noqa: PTH208  # names, whatever they are


def test_a_walk_with_its_states_on_disk_ends_the_same(tmp_path: Path) -> None:
    model, blocks = made("llama", tmp_path)
    found = []
    for room in (0, 10**9):
        with WalkedSession(Whole(model), blocks, TEXTS, tmp_path, room=room) as session:
            found.append(session.forward(np.array(TEXTS[:1])))
            assert (session.memory_bytes == 0) == (room == 0)
    np.testing.assert_array_equal(*found)
