"""negawatt's plans beside those of other tools: quality against CPU time and bytes, in one run.

All sides get the same 16-bit model, taken off the grid its weights were once rounded to, the same
calibration tokens, the same held-out text and the same engine on the same machine. Every variant
takes turns with one and the same Q8_0 form, so that the ratios are paired.

    python bench/compress/run.py [--models smollm2 gemma3-270m] [--only NNCF ...]
        [--without AutoRound ...] [--types Q4_K_M ...] [--skip-more] [--skip-sized]
        [--skip-tasks] [--skip-ablations] [--passes 2] [--untimed]

Figures and verdicts go to `bench/results/compress.json`, a picture to `compress.html` beside the
variants. What has been found is kept and not done again: `--untimed` does all that needs no
quiet machine, and without it the same command then does the rest.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rivals
import show
import verdict
from ablations import ablated
from install import read_pins
from judge import Effort, Judge, Row, with_payback
from llamacpp_types import TYPES
from sized import between, sized
from variants import Variant, llamacpp_types, of_rival, ours
from work import SMOLLM2, Work, prepared

from negawatt import wiring

RESULTS = Path(__file__).resolve().parent.parent / "results"
YARDSTICK = "Q8_0"


def theirs(work: Work, folder: Path, asked: argparse.Namespace) -> Iterator[Variant | str]:
    """What other tools make; those that make nothing as a sentence."""
    kept = folder.parent / "rivals"
    kept.mkdir(exist_ok=True)
    missing, key = rivals.absent(), work.job.journal.key
    for rival in rivals.chosen(asked.only, asked.without):
        if rival.environment in missing:
            yield f"{rival.who} {rival.name} is left out: {missing[rival.environment]}"
            continue
        sys.stderr.write(f"{rival.who} {rival.name}\n")
        answer = rivals.ask(rival, work.job.source.folder, work.calibration, kept, key)
        if isinstance(answer, str):
            yield f"{rival.who} {rival.name} is left out: {answer}"
        else:
            yield of_rival(work, (rival.who, rival.name), answer, folder)


def every(work: Work, folder: Path, asked: argparse.Namespace) -> Iterator[Variant | str]:
    """All variants; llama.cpp's types come first, for the yardstick is one of them."""
    yield from llamacpp_types(work, folder, {YARDSTICK, *asked.types})
    yield from ours(work, folder)
    if not asked.skip_more:
        yield from between(work, folder)
    if not (asked.skip_more or asked.skip_sized):
        yield from sized(work, folder)
    yield from theirs(work, folder, asked)
    if not asked.skip_ablations:
        yield from ablated(work, folder)


def bench(work: Work, asked: argparse.Namespace) -> dict[str, Any]:
    """Everything about one model."""
    folder = work.folder / f"variants-{work.job.journal.key[:8]}"  # of this model and text
    folder.mkdir(exist_ok=True)
    effort = Effort(
        asked.passes, asked.rounds, asked.patience, not asked.skip_tasks, asked.scoring_threads
    )
    judge = Judge(work, work.folder / "judged", effort)
    judge.prepare(work.base / "model.gguf")
    variants: list[Variant] = []
    rows: list[Row] = []
    left_out = []
    for one in every(work, folder, asked):
        if isinstance(one, str):
            left_out.append(one)
            sys.stderr.write(f"{one}\n")
            continue
        variants.append(one)
        rows.append(judge.row(one))
        sys.stderr.write(f"{'  '.join(show.line(rows[-1]))}\n")
    if not asked.untimed:
        times = judge.time(variants, folder / f"{YARDSTICK}.gguf")
        for row in rows:
            row["cpu"] = times[f"{row['who']} {row['name']}"]
        with_payback(rows)
    facts = work.found.facts
    return {
        "workload": facts.workload.spec,
        "machine": dict(facts.machine),
        "versions": dict(facts.versions),
        "texts": dict(facts.texts),
        "parameters": facts.parameters,
        "yardstick": YARDSTICK,
        "search_cpu_s": work.search_cpu_s,
        "search_peak_memory_bytes": work.found.peak_memory_bytes,
        "left_out": left_out,
        "rows": rows,
        "verdict": verdict.judged(rows, facts.parameters, alone(facts.model)),
    }


def alone(model: str) -> dict[str, Any]:
    """Rows of `alone.py` about a model, or none."""
    try:
        kept = json.loads((RESULTS / "compress_alone.json").read_text(encoding="utf-8"))
    except OSError:
        return {}
    return next((rows for name, rows in kept.items() if name.startswith(f"{model} ")), {})


def arguments() -> argparse.ArgumentParser:
    """What may be asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=[SMOLLM2], metavar="MODEL")
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-compress"))
    parser.add_argument("--max-loss", type=float, default=0.2)
    parser.add_argument("--only", nargs="+", default=[], metavar="TOOL", help="of other tools")
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="TOOL", help="or one way: 'AutoRound 4 bit'"
    )
    parser.add_argument("--types", nargs="+", default=list(TYPES), choices=TYPES, metavar="TYPE")
    parser.add_argument(
        "--skip-more", action="store_true", help="of ours, the search's plans alone"
    )
    parser.add_argument("--skip-sized", action="store_true", help="of ours, plans for bytes")
    parser.add_argument("--skip-tasks", action="store_true")
    parser.add_argument("--skip-ablations", action="store_true")
    parser.add_argument("--untimed", action="store_true", help="all but the passes of timing")
    # Threads of the engine wait for each other busily: two on a busy machine take many times as long.
    parser.add_argument("--scoring-threads", type=int, help="all when not given")
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--patience", type=float, default=60.0, help="for quiet, at each pass [s]")
    return parser


def main() -> None:
    """Search, quantise, measure, judge, write."""
    asked = arguments().parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "compress.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    models = told.get("models", {})
    for name in asked.models:
        work = prepared(name, asked.out, asked.max_loss)
        models[name] = found = bench(work, asked)
        kept = {"negawatt": wiring.versions()["negawatt"], "peers": read_pins()}
        if not asked.untimed:
            text = json.dumps({**kept, "models": models}, indent=1)
            file.write_text(f"{text}\n", encoding="utf-8")
        show.picture(found["rows"], YARDSTICK, work.folder / "compress.html")
        sys.stdout.write(f"{name}\n{show.table(found['rows'])}\n\n")
        for bar, one in ({} if asked.untimed else found["verdict"]).items():
            sys.stdout.write(f"{show.sentence(bar, one)}\n")
        for line in found["left_out"]:
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
