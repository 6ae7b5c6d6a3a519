"""What a model says of some tokens, and how far that is from what another one says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from negawatt.core.records import ENCODERS
from negawatt.models.encoder import ending_of, pooling_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

_LEAST = 1e-12  # so that nothing is divided by nought
_STATES = 0.1  # weight of single positions beside the vector of the text


@dataclass(frozen=True, slots=True)
class Answering:
    """How a kind of model answers.

    Args:
        ending: "logits" when it gives log-probabilities, "embedding" when it gives vectors.
        pooling: How a text's vector is made of those of its positions: "mean" or "cls".
        keyed: Whether it must be told to keep no context.
    """

    ending: str
    pooling: str
    keyed: bool

    def said(self, model: Any, tokens: Tensor) -> Tensor:
        """Logits, or vectors of the positions: [texts, positions, width]."""
        out = model(input_ids=tokens, **({"use_cache": False} if self.keyed else {}))
        found: Tensor = out.last_hidden_state if self.ending == "embedding" else out.logits
        return found.float()

    def thought(self, model: Any, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What `said` gives, and what enters each block, with what leaves the last one."""
        more = {"use_cache": False} if self.keyed else {}
        out = model(input_ids=tokens, output_hidden_states=True, **more)
        found: Tensor = out.last_hidden_state if self.ending == "embedding" else out.logits
        return found.float(), tuple(out.hidden_states)

    def vectors(self, said: Tensor) -> Tensor:
        """The vector of each text, [texts, width], from those of its positions."""
        return said[:, 0] if self.pooling == "cls" else said.mean(1)

    def apart(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Mean KL [nat], or 1 - cosine of the texts' vectors and a little of the positions' error."""
        if self.ending == "logits":
            width = wanted.shape[-1]
            given, asked = (one.reshape(-1, width).log_softmax(-1) for one in (found, wanted))
            return functional.kl_div(given, asked, reduction="batchmean", log_target=True)
        first, second = self.vectors(found), self.vectors(wanted)
        alike = functional.cosine_similarity(first, second, dim=-1).mean()
        return 1 - alike + _STATES * (found - wanted).square().sum() / wanted.square().sum()


def unlike(found: Sequence[Tensor], wanted: Sequence[Tensor], gone: Sequence[int] = ()) -> Tensor:
    """Mean squared error of hidden states, each relative to the base's at its place. [1]

    Each position counts alike: in many models a few have states a thousand times as large.

    Args:
        found: What enters each block of the changed model, and what leaves the last.
        wanted: The same of its base.
        gone: Blocks of the base that the other one lacks. What a block that stays is to be given is
            what it was given in the base, so the one before learns the work of those between.
    """
    stay = [number for number in range(len(wanted)) if number not in set(gone)]
    parts = [
        (mine - theirs).square().sum(-1) / theirs.square().sum(-1).clamp_min(_LEAST)
        for mine, theirs in zip(found[1:], [wanted[i] for i in stay[1:]], strict=True)
    ]
    return torch.stack([one.mean() for one in parts]).mean()


def answering(model: Any, folder: Path) -> Answering:
    """How `model`, loaded from `folder`, answers."""
    if model.config.model_type not in ENCODERS:
        return Answering("logits", "", keyed=True)
    ending = ending_of(type(model).__name__)
    return Answering(
        "embedding" if ending == "embedding" else "logits", pooling_of(folder), keyed=False
    )
