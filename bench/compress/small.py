"""Plans under limits on bytes beside files of llama.cpp: bytes and quality, without the whole bench.

    python bench/compress/small.py [--models smollm2 gemma3-270m] [--bits 5.3 ...]
        [--types IQ4_XS ...] [--out FOLDER]

Texts, tokens, search and judge are those of `run.py`, whose timing of all variants and search for
joules are left out. Figures go to `bench/results/compress_small.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judge import Effort, Judge, Row
from llamacpp_types import TYPES
from sized import BITS, Sized
from variants import OURS, Variant, built, llamacpp_types
from work import SMOLLM2, Work, cpu_time, unsearched

from negawatt import wiring

RESULTS = Path(__file__).resolve().parent.parent / "results" / "compress_small.json"


def variants(work: Work, folder: Path, asked: argparse.Namespace) -> Iterator[Variant]:
    """Files of llama.cpp, then ours; each of ours with the CPU time of all up to it."""
    yield from llamacpp_types(work, folder, set(asked.types))
    began = cpu_time()
    search = Sized(work)
    for bits in asked.bits:
        name = f"within {bits:g} bits"
        path = built(work, name, search.codes(search.plan(bits)), folder)
        yield Variant(OURS, name, path, {"cpu_seconds": cpu_time() - began}, path)


def bench(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model."""
    job = unsearched(name, asked.out)
    place = asked.out / name.replace(":", "-").replace("/", "-")
    work = Work(name, place, None, 0.0, job)
    folder = place / "variants"
    folder.mkdir(exist_ok=True)
    judge = Judge(work, place / "judged", Effort(with_tasks=False))
    rows: list[Row] = []
    for one in variants(work, folder, asked):
        rows.append(judge.row(one))
        kl = rows[-1]["quality"]["kl"]["value"]
        sys.stderr.write(f"{one.key}: {rows[-1]['bytes'] / 1e6:.2f} MB, KL {kl:.4f}\n")
    return {
        "machine": wiring.machine(),
        "versions": wiring.versions(),
        "texts": dict(job.texts.corpus.texts),
        "parameters": job.source.parameters,
        "formats": [fmt.name for fmt in job.groundwork()[0]],
        "rows": rows,
    }


def main() -> None:
    """Run the bench of every model asked for; others' figures stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=[SMOLLM2], metavar="MODEL")
    parser.add_argument("--bits", nargs="+", type=float, default=list(BITS))
    parser.add_argument("--types", nargs="+", default=list(TYPES), choices=TYPES)
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-small"))
    asked = parser.parse_args()
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in asked.models:
        kept[name] = bench(name, asked)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
