"""Which of the tokens it reads a model's decision rests on.

Two ways that know nothing of each other. Integrated gradients (Sundararajan et al. 2017) add up
the slope of the output along the way from a text of no meaning to the text: every token's vector
replaced by the mean of all vectors. Leaving out puts that mean in the place of one token after the
other and needs no gradient. Both are Captum's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from negawatt.core.errors import NumericsGateFailed, RuntimeUnavailable
from negawatt.core.records import ENCODERS
from negawatt.models.opening import ending
from negawatt.models.probes import Probe

if TYPE_CHECKING:
    import torch

    from negawatt.models.encoder import Ending

_STEPS = (32, 64, 128)  # of the integral, at Gauss-Legendre's places; more where it misses more
_GAP = 0.1  # of the change that may be missed
_LEAST = 1e-3  # a smaller change of the output is none
_AT_ONCE = 16  # texts at a time
_ROWS = 4096  # of the embedding looked up at a time

Values = tuple[float, ...]
Method = Literal["gradients", "left out"]
METHODS: tuple[Method, ...] = ("gradients", "left out")


@dataclass(frozen=True, slots=True)
class Attributed:
    """What a model's decisions rest on; one entry for every probe.

    Args:
        choices: What it would choose itself.
        gradients: Integrated gradients of every token read. [nat, or 1 for a cosine]
        left_out: What the output loses when a token is left out. [nat or 1]
        gaps: Share of the output's change that the integral misses; 0 is perfect. [1]
    """

    choices: tuple[int, ...]
    gradients: tuple[Values, ...]
    left_out: tuple[Values, ...]
    gaps: Values

    def by(self, method: Method) -> tuple[Values, ...]:
        """The values of one way."""
        return self.gradients if method == "gradients" else self.left_out


def attribute(
    model: Any,
    probes: Sequence[Probe],
    about: tuple[Ending | None, str],
    choices: Sequence[int] | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Attributed:
    """Ask a model what its decisions rest on.

    Args:
        model: From `open_model`.
        probes: The decisions.
        about: What an encoder ends in (None for a decoder), and how its positions become one vector.
        choices: What to explain, such as the base's choices; the model's own when None.
        progress: Told the share done.

    Raises:
        RuntimeUnavailable: Captum is not installed.
        NumericsGateFailed: the model returns something that is no number.
    """
    try:
        from captum.attr import FeatureAblation, IntegratedGradients
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable(
            f"attributions need Captum, and {error.name} is not installed",
            fix="pip install 'negawatt[explain]'",
        ) from error
    import torch

    judge = _Judge(model, *about)
    slope, left = IntegratedGradients(judge), FeatureAblation(judge)
    own, gradients, left_out, gaps = [], [], [], []
    for i, probe in enumerate(probes):
        vectors = judge.vectors(probe.tokens)
        own.append(judge.face(probe))
        judge.choice = own[i] if choices is None else choices[i]
        nothing = judge.neutral.expand_as(vectors).contiguous()
        found, gap = _integral(slope, judge, vectors, nothing)
        gradients.append(found)
        gaps.append(gap)
        groups = torch.arange(vectors.shape[1])[None, :, None].expand_as(vectors)
        with torch.no_grad():
            lost = left.attribute(
                vectors, baselines=nothing, feature_mask=groups, perturbations_per_eval=_AT_ONCE
            )
        left_out.append(_checked(lost[0, :, 0]))
        progress((i + 1) / len(probes))
    return Attributed(tuple(own), tuple(gradients), tuple(left_out), tuple(gaps))


def _integral(
    method: Any, judge: _Judge, vectors: torch.Tensor, nothing: torch.Tensor
) -> tuple[Values, float]:
    """Integrated gradients of every token, and the share of the change that they miss."""
    import torch

    with torch.no_grad():
        first, last = (float(judge(given)) for given in (nothing, vectors))
    change = last - first
    for steps in _STEPS:
        parts = method.attribute(
            vectors, baselines=nothing, n_steps=steps, internal_batch_size=_AT_ONCE
        )
        found = parts[0].sum(-1)
        missed = abs(float(found.sum()) - change) / max(abs(change), _LEAST)
        if missed <= _GAP:
            break
    return _checked(found), min(missed, 1.0 / _LEAST)


def _checked(values: torch.Tensor) -> Values:
    import torch

    if not bool(torch.isfinite(values).all()):
        raise NumericsGateFailed(
            "the attributions are not numbers", fix="look for broken weights in the model"
        )
    return tuple(float(value) for value in values.detach())


class _Judge:
    """The number that is explained: of vectors [batch, tokens, width], one for each text."""

    def __init__(self, model: Any, kind: Ending | None, pooling: str) -> None:
        self._model, self._kind, self._pooling = model, kind, pooling
        self._probe = Probe((), "")
        self._facing: torch.Tensor | None = None  # unit vector of the probe's other text
        self.choice = 0
        self.neutral = self._neutral()  # [width]

    def vectors(self, tokens: Sequence[int]) -> torch.Tensor:
        """What the tokens are looked up as, float32 [1, tokens, width]."""
        import torch

        with torch.no_grad():
            found: torch.Tensor = self._model.get_input_embeddings()(torch.tensor([tokens]))
        return found.float()

    def face(self, probe: Probe) -> int:
        """Turn to a decision; returns what the model would choose."""
        import torch

        self._probe, self._facing = probe, None
        with torch.no_grad():
            if self._kind == "embedding":
                self._facing = self._unit(self._read(self.vectors(probe.other)))
                return 0
            return int(self._read(self.vectors(probe.tokens))[0, probe.at].argmax())

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Log-probability of the choice, or likeness to the other text: [batch]."""
        seen = self._read(vectors)
        if self._facing is not None:
            return (self._unit(seen) * self._facing).sum(-1)
        return seen[:, self._probe.at].log_softmax(-1)[:, self.choice]

    def _read(self, vectors: torch.Tensor) -> torch.Tensor:
        """What comes out, float32 [batch, positions, width]; of a decoder the last position."""
        given = vectors.to(self._model.dtype)
        if self._model.config.model_type in ENCODERS:
            mask = given.new_ones(given.shape[:2])
            return ending(self._model(inputs_embeds=given, attention_mask=mask)).float()
        found = self._model(inputs_embeds=given, use_cache=False, logits_to_keep=1)
        values: torch.Tensor = found.logits.float()
        return values

    def _unit(self, seen: torch.Tensor) -> torch.Tensor:
        vector = seen[:, 0] if self._pooling == "cls" else seen.mean(1)
        unit: torch.Tensor = vector / vector.norm(dim=-1, keepdim=True)
        return unit

    def _neutral(self) -> torch.Tensor:
        """The mean of all tokens' vectors, as the model itself would look them up."""
        import torch

        table = self._model.get_input_embeddings()
        rows = int(table.weight.shape[0])
        total = torch.zeros(int(table.weight.shape[1]), dtype=torch.float64)
        with torch.no_grad():
            for start in range(0, rows, _ROWS):
                ids = torch.arange(start, min(start + _ROWS, rows))
                total += table(ids).double().sum(0)
        return (total / rows).float()
