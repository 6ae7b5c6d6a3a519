"""How much each candidate of each layer hurts, to second order, from one pass.

For small changes the divergence of a changed model from its base is
`KL ≈ ½ gᵀ F g`, where `F` is the Fisher information of the gates: the
covariance of the gradients of the log-likelihood of texts *drawn from the
base model itself*. One backward pass gives the gradient for every candidate
of every layer at once, so F costs no more than a short training run, and its
off-diagonal says which choices aggravate each other.

A text gives a score for every few positions rather than one: gradients that
reach a layer at different positions hardly vary together, so their squares
say as much as many texts would, at no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from negawatt.compress.problem import Sensitivity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from negawatt.compress.gates import GatedModel

__all__ = ["SLICE", "Sensitivity", "backward_through", "measure_sensitivity", "slices"]

SLICE = 64  # tokens whose logits are held at once
RUN = 8  # positions whose gradients make one score: fewer say more, but miss what they share


def measure_sensitivity(
    gated: GatedModel,
    windows: NDArray[np.int64],
    *,
    seed: int,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    batch: int = 2,
) -> Sensitivity:
    """Sample labels from the base model and collect the gradients of all gates.

    Args:
        gated: The model; its gates are left at None.
        windows: Calibration text, int64 [texts, positions]; each gives a score per run.
        seed: Of the label sampling.
        on_batch: Told how many texts of how many are done.
        batch: Texts per pass.
    """
    options = gated.options
    generator = torch.Generator().manual_seed(seed)
    runs = np.arange(0, windows.shape[1], RUN)
    scores = np.empty((len(windows), len(runs), len(options)))
    for start in range(0, len(windows), batch):
        tokens = torch.from_numpy(windows[start : start + batch])
        gates = torch.zeros(*tokens.shape, len(options), requires_grad=True)
        backward_through(gated, tokens, _SampledScore(generator), gates)
        if gates.grad is None:
            raise RuntimeError("no gate took part in the forward pass")
        scores[start : start + batch] = np.add.reduceat(gates.grad.double().numpy(), runs, axis=1)
        on_batch(min(start + batch, len(windows)), len(windows))
    gated.set_gates(None)
    scores *= np.sqrt(len(runs) / windows.shape[1])
    return Sensitivity(options=tuple(options), scores=scores.reshape(-1, len(options)))


class _SampledScore:
    """Log-likelihood of labels drawn from the model's own prediction."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, logits: Tensor, at: slice) -> Tensor:
        log_probability = logits.log_softmax(-1)
        flat = log_probability.detach().exp().flatten(0, 1)
        labels = torch.multinomial(flat, 1, generator=self._generator)
        return log_probability.flatten(0, 1).gather(1, labels).sum()


def backward_through(
    gated: GatedModel,
    tokens: Tensor,
    objective: Callable[[Tensor, slice], Tensor],
    gates: Tensor,
) -> float:
    """Backpropagate an objective on the logits, a few positions at a time.

    Only one slice of logits (vocabulary wide) exists at any moment; the
    hidden states collect the gradients and are pulled back once.

    Args:
        gated: The model.
        tokens: int64, [batch, positions].
        objective: Of logits, [batch, some positions, vocabulary], and where they stand.
        gates: [batch, options] or [batch, positions, options]; stay set afterwards.
    """
    gated.set_gates(gates)
    hidden = gated.hidden(tokens)
    leaf = hidden.detach().requires_grad_()
    total = 0.0
    for at in slices(tokens):
        gated.set_gates(gates if gates.ndim == 2 else gates[:, at])
        value = objective(gated.logits(leaf[:, at]), at)
        value.backward()  # type: ignore[no-untyped-call]
        total += float(value.detach())
    gated.set_gates(gates)  # blocks are run again
    if leaf.grad is not None:
        hidden.backward(leaf.grad)  # type: ignore[no-untyped-call]
    return total


def slices(tokens: Tensor) -> Iterator[slice]:
    """Runs of positions such that a batch holds at most about `SLICE` tokens in each."""
    batch, positions = tokens.shape
    step = max(1, SLICE // batch)
    for start in range(0, positions, step):
        yield slice(start, min(start + step, positions))
