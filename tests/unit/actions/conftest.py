"""A small model with a text it can be measured on, and one undisturbed job with them."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from job_sample import some_order, some_tools

from negawatt.actions.optimize.run import optimize
from negawatt.core.outcome import Outcome


@dataclass(frozen=True)
class Story:
    """A model folder and a text file."""

    model: Path
    text: Path


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """What a small model needs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()  # a job looks for garbage after every step; what came before it is none
    yield
    gc.unfreeze()
    torch.set_num_threads(before)


def made_up(folder: Path, family: str = "llama") -> Story:
    """A random decoder of some family, a tokenizer trained on Python's manual, and the manual."""
    from pydoc_data.topics import topics

    from small_decoder import random_decoder
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True)
    text = folder / "manual.txt"
    text.write_text("\n\n".join(topics[name] for name in sorted(topics)), encoding="utf-8")
    model = folder / "model"
    random_decoder(family, stacked=True, vocab_size=512).to(torch.bfloat16).save_pretrained(model)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text.read_text(encoding="utf-8")[:50_000]], trainer)
    tokenizer.save(str(model / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    return Story(model, text)


@pytest.fixture(scope="session")
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """stories260K with its stories where they are at hand, else a random model."""
    try:
        shared: Path = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        return made_up(tmp_path_factory.mktemp("made-up") / "story")
    text = shared / "data" / "text" / "tinystories-sample" / "train.txt"
    return Story(shared / "models" / "stories260K", text)


@dataclass(frozen=True)
class Finished:
    """A job that nobody disturbed."""

    out: Path
    cache: Path
    outcome: Outcome
    told: tuple[tuple[str, float], ...]


@pytest.fixture(scope="session")
def finished(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """What every disturbed job must come to as well."""
    folder = tmp_path_factory.mktemp("undisturbed")
    told: list[tuple[str, float]] = []

    def tell(stage: str, share: float) -> None:
        told.append((stage, share))
        if stage == "convert":  # by now every library is loaded
            gc.freeze()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        outcome = optimize(
            some_order(story.model, story.text, folder / "out"),
            some_tools(folder / "cache", tell),
        )
    finally:
        torch.set_num_threads(before)
    return Finished(folder / "out", folder / "cache", outcome, tuple(told))
