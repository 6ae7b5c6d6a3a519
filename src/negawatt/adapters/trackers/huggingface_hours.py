"""Hugging Face Trainer: trains in clean hours, and stands at a checkpoint in the others.

    import negawatt

    clean = negawatt.clean("DE", duration="12h", deadline="2026-12-01T07:00Z")
    hours = negawatt.callback("huggingface-hours", clean=clean)
    trainer = Trainer(model, args, callbacks=[hours], ...)
    trainer.train(resume_from_checkpoint=hours.last(args.output_dir))
    hours.exit()

Before it stands still it has the Trainer write a checkpoint, so that whatever happens to it
meanwhile costs nothing. With `leave` it ends the training there instead, and `exit` ends the program
with status 75, which `negawatt run --checkpoint USR1` and schedulers take for "start me again".
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from negawatt.core.errors import UsageError

#: What a program exits with that wants to be started again: EX_TEMPFAIL.
AGAIN = 75


class HoursCallback(TrainerCallback):
    """Asks now and then whether to go on, and waits at a checkpoint while the answer is no.

    A signal asks for a checkpoint and for leaving, whatever the hour: SIGUSR1, as sent by
    `negawatt run --checkpoint USR1`.

    Args:
        clean: Tells whether to train now; a deadline is its to keep.
        leave: End the training at the checkpoint instead of waiting there.
        every_s: It asks so often. [s]
        poll_s: And so often while it waits. [s]
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        clean: Callable[[], bool],
        *,
        leave: bool = False,
        every_s: float = 60.0,
        poll_s: float = 60.0,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._clean, self._leave = clean, leave
        self._every_s, self._poll_s, self._sleep = every_s, poll_s, sleep
        self._asked_at = -float("inf")
        self._asked_to_leave = threading.Event()
        self._pausing = False
        self.left = False
        self.paused_s = 0.0
        self.pauses = 0

    @staticmethod
    def last(folder: str | Path) -> str | None:
        """The newest checkpoint of a folder; None where there is none, which begins anew."""
        newest: Callable[[str], str | None] = get_last_checkpoint
        return newest(str(folder)) if Path(folder).is_dir() else None

    def exit(self) -> None:
        """End the program with status 75 if the training was left before its end."""
        if self.left:
            sys.exit(AGAIN)

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Hear the signal, where we may.

        Raises:
            UsageError: several processes train together, or checkpoints are not all written.
        """
        if args.world_size > 1:
            raise UsageError(
                f"{args.world_size} processes train together, and would not stand still together",
                fix="let `negawatt run --interruptible` pause the whole of them",
            )
        if args.save_only_model:
            raise UsageError(
                "checkpoints without the optimiser's state cannot be gone on from",
                fix="leave save_only_model out of TrainingArguments",
            )
        self.left = False
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, lambda *_: self._asked_to_leave.set())

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Ask for a checkpoint when it is time to stand still; not after the last step."""
        if state.global_step >= state.max_steps or not self._is_over():
            return
        self._pausing = True
        control.should_save = True

    def _is_over(self) -> bool:
        if self._asked_to_leave.is_set():
            return True
        now = time.monotonic()
        if now - self._asked_at < self._every_s:
            return False
        self._asked_at = now
        return not self._clean()

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """The checkpoint is on disk: wait for a clean hour, or leave."""
        if not self._pausing:
            return
        self._pausing = False
        self.pauses += 1
        begun = time.monotonic()
        while not (self._leave or self._asked_to_leave.is_set() or self._clean()):
            self._sleep(self._poll_s)
        self.paused_s += time.monotonic() - begun
        if self._leave or self._asked_to_leave.is_set():
            self.left = True
            control.should_training_stop = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any
    ) -> None:
        """Say at the end how long it stood, in the log beside the run time that includes it."""
        if logs is not None and "train_runtime" in logs:
            logs.update(paused_s=self.paused_s, pauses=self.pauses)
            if state.log_history:
                state.log_history[-1].update(paused_s=self.paused_s, pauses=self.pauses)


def callback(measure: object, clean: Callable[[], bool], **options: Any) -> HoursCallback:
    """A callback for `Trainer(callbacks=[...])`; it measures nothing.

    Raises:
        UsageError: an option is not known.
    """
    del measure
    known = {"leave", "every_s", "poll_s", "sleep"}
    if unknown := sorted(options.keys() - known):
        raise UsageError(
            f"huggingface-hours has no option {unknown[0]}",
            fix=f"its options are: clean, {', '.join(sorted(known))}",
        )
    return HoursCallback(clean, **options)
