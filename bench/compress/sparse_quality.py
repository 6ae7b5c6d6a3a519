"""What zeros cost: linear layers pruned with second-order compensation (SparseGPT), and judged.

A weight is worth w² / [H⁻¹]²: what the output loses when it goes and the columns behind it make
up for it (Frantar and Alistarh 2023, arXiv 2301.00774). Hessians come from the same calibration
text as those that rounding uses. Embedding and head stay whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from negawatt import settings, wiring
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Effort, Order, fingerprint
from negawatt.adapters.runtimes.torch_session import TorchSession
from negawatt.compress.inputs import input_statistics
from negawatt.core.records import Workload
from negawatt.models.load import load_reference
from negawatt.models.quality import score
from negawatt.models.source import ModelSource, prepare

Tensor = torch.Tensor
WIDE = 128  # columns whose mask is chosen at once
DAMPING = 0.01  # of the mean Hessian diagonal

#: Less than a job takes: what is lost here is large.
TEXT = Effort(calibration_tokens=6_144, hessian_windows=24, selection_tokens=640, test_tokens=2_048)

#: Name -> share of zeros, and how they lie: single ones, two of four, square blocks.
PLANS = {
    "50 %, single weights": (0.5, 1),
    "2 of every 4": (0.5, 0),
    "50 %, blocks of 16x16": (0.5, 16),
    "75 %, single weights": (0.75, 1),
    "90 %, single weights": (0.9, 1),
}


def factor(hessian: Tensor) -> Tensor:
    """Upper Cholesky factor of the damped inverse, float32 [cols, cols]."""
    damped = hessian.double()
    diagonal = damped.diagonal()
    usual = diagonal.mean().clamp_min(1e-12)
    damped = damped + torch.diag(torch.where(diagonal == 0, usual, DAMPING * usual))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper.float()


def mask(worth: Tensor, share: float, block: int) -> Tensor:
    """Which weights go, bool [rows, some cols]; `block` 0 stands for two of every four."""
    rows, cols = worth.shape
    if block == 0:
        fours = worth.reshape(rows, -1, 4)
        return (
            torch.zeros_like(fours).scatter_(2, fours.argsort(2)[..., :2], 1).reshape(rows, cols)
            > 0
        )
    sums = worth.reshape(rows // block, block, cols // block, block).sum((1, 3))
    order = sums.flatten().argsort()
    gone = torch.zeros(sums.numel(), dtype=torch.bool)
    gone[order[: round(share * len(order))]] = True
    return gone.view(sums.shape).repeat_interleave(block, 0).repeat_interleave(block, 1)


def compensated(weight: Tensor, hessian: Tensor, share: float, block: int) -> Tensor:
    """The matrix with zeros, what is left making up for what went, float32 [rows, cols]."""
    inverse, work = factor(hessian), weight.detach().float().T.contiguous()  # a column per row
    for start in range(0, len(work), WIDE):
        stop = min(start + WIDE, len(work))
        inner, part = inverse[start:stop, start:stop], work[start:stop]
        gone = mask((part.T / inner.diagonal()).square(), share, block).T.contiguous()
        errors = part.new_zeros(part.shape)
        for i in range(stop - start):
            errors[i] = part[i] * gone[i] / inner[i, i]
            part[i + 1 :].addr_(inner[i, i + 1 :], errors[i], alpha=-1.0)
        part.masked_fill_(gone, 0.0)
        work[stop:].addmm_(inverse[start:stop, stop:].T, errors, alpha=-1.0)
    return work.T.contiguous()


def statistics(source: ModelSource, windows: Any, file: Path) -> dict[str, Tensor]:
    """What flows into every linear layer, kept in `file`; float32 [cols, cols] by name."""
    if file.is_file():
        kept: dict[str, Tensor] = torch.load(file)
        return kept
    network: Any = load_reference(source.folder)
    linear = [one for one in source.layers if one.kind == "linear"]
    sums: dict[str, Tensor] = {}
    for _, known in input_statistics(network, source.layers, linear, windows):
        sums |= known
    torch.save(sums, file)
    return sums


def quality(model: str, out: Path) -> dict[str, Any]:
    """KL and perplexity of every plan, on the text that all our figures use."""
    wired = settings.load({})
    tools = wiring.tools(wired, lambda stage, share: None)
    workload = Workload.parse("chat")
    seed = wired.run.seed
    order = Order(model=model, max_loss=0.5, workload=workload, out=out, seed=seed, effort=TEXT)
    work = out / "work"
    source = prepare(model, work, seed=order.seed)
    key = fingerprint(source.digest, source.off_grid, order.seed)
    base = place_of(work, tools.reference, key)
    if not base.exists():
        stages.convert(tools, tools.reference, source, base)
    told = f"{key} {tools.reference.version}"
    texts = stages.read_texts(tools, order, source, (base, told), work)
    windows = texts.corpus.calibration[: order.effort.hessian_windows]
    linear = [one for one in source.layers if one.kind == "linear"]
    sums = statistics(source, windows, work / "sums.pt")
    found = {}
    for name, (share, block) in PLANS.items():
        if (done := work / f"{name}.json").is_file():  # of a run that was stopped
            found[name] = json.loads(done.read_text(encoding="utf-8"))
            continue
        if any(one.rows % max(block, 1) or one.cols % max(block, 4) for one in linear):
            print(f"{name}: left out, a layer cannot be cut so", flush=True)
            continue
        network: Any = load_reference(source.folder)
        zeros = total = 0
        for layer in linear:
            module = network.get_submodule(layer.name)
            new = compensated(module.weight, sums[layer.name], share, block)
            zeros, total = zeros + int((new == 0).sum()), total + new.numel()
            module.weight = torch.nn.Parameter(new.to(torch.bfloat16), requires_grad=False)
        told_of = score(TorchSession(network, tools.cores, 0), texts.test)
        found[name] = {
            "zeros": zeros / total,
            "kl": [told_of.kl.value, told_of.kl.low, told_of.kl.high],
            "loss": [told_of.loss.value, told_of.loss.low, told_of.loss.high],
            "perplexity": told_of.perplexity.value,
            "test_tokens": told_of.tokens,
        }
        done.write_text(json.dumps(found[name]), encoding="utf-8")
        print(name, {k: v for k, v in found[name].items() if k != "test_tokens"}, flush=True)
    return found
