"""A real tiny training that stands still in dirty hours, and goes on as if it had not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_rigs import until

import negawatt
from negawatt.core.errors import UsageError

pytest.importorskip("accelerate", reason="pip install 'negawatt[huggingface]'")
torch: Any = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.slow,  # each training takes seconds on a busy machine
    pytest.mark.filterwarnings("ignore"),  # what the libraries say of each other is theirs
]

STEPS = 12
SCRIPT = """
import sys
import torch, transformers
from pathlib import Path

def trainer(folder, callbacks, steps=12, **more):
    transformers.set_seed(7)
    shape = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                 num_attention_heads=2)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    generator = torch.Generator().manual_seed(1)
    rows = [{"input_ids": r, "labels": r} for r in torch.randint(0, 64, (64, 8), generator=generator)]
    args = transformers.TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=4, logging_steps=1,
        save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True, seed=7, **more)
    return transformers.Trainer(model, args, train_dataset=rows, callbacks=callbacks)
"""
made: dict[str, Any] = {}
exec(SCRIPT, made)  # noqa: S102  # the same text is a program of its own below
trainer: Callable[..., Any] = made["trainer"]


def losses(done: Any) -> list[float]:
    return [entry["loss"] for entry in done.state.log_history if "loss" in entry]


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    done = trainer(tmp_path_factory.mktemp("through"), [])
    done.train()
    return losses(done)


@pytest.fixture(autouse=True)
def _signal_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def dirty_after(step: int) -> Callable[[], bool]:
    """Clean so many times; then dirty three times; then clean."""
    asked = iter([True] * step + [False] * 4)
    return lambda: next(asked, True)


def test_it_stands_at_a_checkpoint_and_ends_as_if_it_had_not(
    tmp_path: Path, through: list[float]
) -> None:
    slept: list[float] = []
    hours = negawatt.callback(
        "huggingface-hours", clean=dirty_after(4), every_s=0, poll_s=9.0, sleep=slept.append
    )
    done = trainer(tmp_path, [hours])
    done.train()
    assert slept == [9.0] * 3
    assert hours.pauses == 1
    assert (tmp_path / "checkpoint-5").is_dir()
    assert losses(done) == through
    assert done.state.log_history[-1]["pauses"] == 1


def test_left_at_a_checkpoint_it_goes_on_to_the_same_losses(
    tmp_path: Path, through: list[float]
) -> None:
    hours = negawatt.callback("huggingface-hours", clean=dirty_after(4), every_s=0, leave=True)
    assert hours.last(tmp_path / "nothing") is None
    first = trainer(tmp_path, [hours])
    first.train()
    assert hours.left
    assert first.state.global_step == 5
    with pytest.raises(SystemExit) as left:
        hours.exit()
    assert left.value.code == 75
    again = negawatt.callback("huggingface-hours", clean=lambda: True)
    second = trainer(tmp_path, [again])
    second.train(resume_from_checkpoint=again.last(tmp_path))
    assert losses(second) == through
    again.exit()  # which does nothing


def test_a_signal_asks_for_a_checkpoint(tmp_path: Path) -> None:
    def clean() -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        return True

    hours = negawatt.callback("huggingface-hours", clean=clean, every_s=1e9)
    done = trainer(tmp_path, [hours])
    done.train()
    assert hours.left
    assert done.state.global_step < STEPS
    assert hours.last(tmp_path) is not None


def test_what_it_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no option"):
        negawatt.callback("huggingface-hours", clean=lambda: True, colour="green")
    hours = negawatt.callback("huggingface-hours", clean=lambda: True)
    with pytest.raises(UsageError, match="optimiser"):
        trainer(tmp_path, [hours], save_only_model=True).train()


@pytest.mark.slow
def test_killed_while_it_stands_it_goes_on_to_the_same_losses(
    tmp_path: Path, through: list[float]
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        SCRIPT
        + """
import negawatt
asked = iter([True] * 4)
hours = negawatt.callback("huggingface-hours", clean=lambda: next(asked, False), every_s=0, poll_s=60)
trainer(sys.argv[1], [hours]).train()
""",
        encoding="utf-8",
    )
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(program), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until((folder / "checkpoint-5" / "trainer_state.json").exists, "no checkpoint")
        until(lambda: any((folder / "checkpoint-5").glob("rng_state*")), "no whole checkpoint")
    finally:
        process.kill()
        process.wait()
    hours = negawatt.callback("huggingface-hours", clean=lambda: True)
    done = trainer(folder, [hours])
    done.train(resume_from_checkpoint=hours.last(folder))
    assert losses(done) == through
