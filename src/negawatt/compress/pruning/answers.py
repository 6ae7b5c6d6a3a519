"""What a model says of some tokens, and how far that is from what another one says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn import functional

from negawatt.core.records import ENCODERS
from negawatt.models.encoder import ending_of, pooling_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

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


def answering(model: Any, folder: Path) -> Answering:
    """How `model`, loaded from `folder`, answers."""
    if model.config.model_type not in ENCODERS:
        return Answering("logits", "", keyed=True)
    ending = ending_of(type(model).__name__)
    return Answering(
        "embedding" if ending == "embedding" else "logits", pooling_of(folder), keyed=False
    )
