"""Hidden states of many texts, in memory while there is room and in a file beyond that.

The file is read and written as such rather than mapped: its pages then belong to the system's
cache, not to this process. It has no name, so it is gone when the process is, however that ends.
"""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from negawatt.core.errors import OutputError


class States:
    """One tensor a text, each of a size that does not change.

    Args:
        room: Bytes that may be in memory.
        place: Folder for the rest; where the system keeps such files when None.

    >>> with States(room=0) as states:
    ...     states.put(0, torch.ones(1, 2, 3, dtype=torch.bfloat16))
    ...     states.get(0).dtype, states.spilled
    (torch.bfloat16, 12)
    """

    def __init__(self, room: int, place: Path | None = None) -> None:
        self._room, self._place = room, place
        self._here: dict[int, Tensor] = {}
        self._there: dict[int, tuple[int, Tensor]] = {}  # at which byte, and the form, empty
        self._file: BinaryIO | None = None
        self.held = 0  # bytes in memory
        self.spilled = 0  # bytes in the file

    def put(self, number: int, state: Tensor) -> None:
        """Keep the state of a text in the place of its former one.

        Raises:
            OutputError: the disk is full.
        """
        known = number in self._here
        if not known and number not in self._there and self.held + state.nbytes <= self._room:
            self.held += state.nbytes
            known = True
        if known:
            self._here[number] = state
            return
        if number not in self._there:
            self._there[number] = self.spilled, torch.empty_like(state, device="meta")
            self.spilled += state.nbytes
        try:
            file = self._opened()
            file.seek(self._there[number][0])
            file.write(state.contiguous().view(torch.uint8).numpy().data)
        except OSError as error:
            raise OutputError(
                f"hidden states cannot be kept: {error.strerror or error}",
                fix="free some disk space, then run the same command",
            ) from error

    def get(self, number: int) -> Tensor:
        """The state of a text; not to be changed."""
        if number in self._here:
            return self._here[number]
        at, form = self._there[number]
        file = self._opened()
        file.seek(at)
        flat = np.fromfile(file, dtype=np.uint8, count=form.nbytes)
        return torch.from_numpy(flat).view(form.dtype).view(form.shape)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            # Unbuffered: numpy reads the file under whatever Python may keep of it.
            self._file = tempfile.TemporaryFile(dir=self._place, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)  # a walk that was broken off closes nothing
        return self._file

    def close(self) -> None:
        """Let everything go."""
        self._here.clear()
        self._there.clear()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
