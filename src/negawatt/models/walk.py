"""Many texts on their way through a model together, block by block.

Whatever the size of the model, one block of it is held at a time; what grows with the texts
is what leaves a block and enters the next one, and that goes to a file where it is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import torch
from torch import Tensor, nn

from negawatt.models.mapped import Parts, outside
from negawatt.models.states import States

#: Share of the memory free at the start that states may take before they go to a file.
SHARE = 0.1


class _Enough(Exception):
    """Raised in a module once it has been given what was wanted."""


class Walk:
    """What enters the next block, for every text.

    Args:
        parts: The model.
        blocks: Paths of its blocks, in execution order.
        texts: Token numbers, int64 [1, positions] each, of any lengths.
        place: Folder for states that do not fit into memory; the system's own when None.
        room: Bytes of states in memory; a tenth of what is free when None.
    """

    def __init__(
        self,
        parts: Parts,
        blocks: Sequence[str],
        texts: Sequence[Tensor],
        *,
        place: Path | None = None,
        room: int | None = None,
    ) -> None:
        self.parts, self.paths = parts, list(blocks)
        self._blocks = [parts.model.get_submodule(path) for path in blocks]
        self._early, self.late = outside(parts.model, blocks)
        self.at = 0  # the next block
        # What each block is given beside the states: it depends on the length of a text alone.
        self._named: dict[int, list[Mapping[str, Any]]] = {}
        self._lengths = [text.shape[1] for text in texts]
        share = int(SHARE * psutil.virtual_memory().available)
        self.states = States(share if room is None else room, place)
        self._enter(texts)

    def __len__(self) -> int:
        return len(self._lengths)

    def step(self, before: Callable[[int], None] = lambda _: None) -> None:
        """Take every text through the next block.

        Args:
            before: Told the number of each text when it is about to go.
        """
        block = self._blocks[self.at]
        with torch.no_grad(), self.parts.held(self.paths[self.at]):
            for i, length in enumerate(self._lengths):
                before(i)
                out = block(self.states.get(i), **self._named[length][self.at])
                self.states.put(i, out[0] if isinstance(out, tuple) else out)
        self.at += 1

    def logits(self, number: int, start: int, stop: int) -> Tensor:
        """What the model says at some positions of a text that is behind all blocks.

        The modules in `late` must be held.
        """
        with torch.no_grad(), self._passing():
            state = self.states.get(number)[:, start:stop]
            found: Tensor = self.parts.model(inputs_embeds=state, use_cache=False).logits
            return found

    def show(self, last: str) -> None:
        """Have everything behind the blocks called up to the layer `last`, for every text."""

        def stop(*_: object) -> None:
            raise _Enough

        with self.parts.held(*self.late), torch.no_grad(), self._passing():
            handle = self.parts.model.get_submodule(last).register_forward_pre_hook(stop)
            try:
                for i in range(len(self)):
                    self._until_enough(inputs_embeds=self.states.get(i))
            finally:
                handle.remove()

    def _enter(self, texts: Sequence[Tensor]) -> None:
        with self.parts.held(*self._early), torch.no_grad():
            for i, text in enumerate(texts):
                length = text.shape[1]
                named: list[Mapping[str, Any]] = []
                first: list[Tensor] = []
                with self._recording(named, first, whole=length not in self._named):
                    self._until_enough(input_ids=text)
                self._named.setdefault(length, named)
                self.states.put(i, first[0])

    def _until_enough(self, **given: Any) -> None:
        try:
            self.parts.model(**given, use_cache=False)
        except _Enough:
            return

    @contextmanager
    def _recording(
        self, named: list[Mapping[str, Any]], first: list[Tensor], *, whole: bool
    ) -> Iterator[None]:
        """Note what the first block is given, and how all are called when `whole`."""
        wanted = len(self._blocks) if whole else 1

        def note(*args: Any, **given: Any) -> Tensor:
            state: Tensor = args[0] if args else given["hidden_states"]
            first.append(state)
            named.append({key: one for key, one in given.items() if key != "hidden_states"})
            if len(named) == wanted:
                raise _Enough
            return state

        with _instead(self._blocks, note):
            yield

    @contextmanager
    def _passing(self) -> Iterator[None]:
        """Blocks that give back what they are given."""

        def same(*args: Any, **given: Any) -> Any:
            return args[0] if args else given["hidden_states"]

        with _instead(self._blocks, same):
            yield

    def close(self) -> None:
        """Let the states go."""
        self.states.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@contextmanager
def _instead(blocks: Sequence[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """Have blocks do something else when they are called."""
    changed: Sequence[Any] = blocks
    for block in changed:
        block.forward = forward
    try:
        yield
    finally:
        for block in changed:
            del block.forward
