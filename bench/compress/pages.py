"""What it is worth on which pages of memory weights lie: one file, opened in three ways in turns.

*mapped*: pages of the file, as llama.cpp has them when nothing is said. *copied*: memory of the
process, in the usual small pages. *large*: the same, and then the cache too, in large pages, as
negawatt opens files. Every opening is a draw: small pages lie elsewhere each time, so there are
several, each in a process of its own.

    python bench/compress/pages.py [--models smollm2 gemma3-270m] [--openvino FOLDER]
        [--openings 3] [--rounds 3] [--only-served]

Besides, at every loss that `bench/compress/run.py` compares writing at: our plan as negawatt opens
it, in turns with the best of the others as llama.cpp opens it when nothing is said.

Reads what `bench/compress/run.py` has left, and an artifact for OpenVINO, which always copies;
figures go to `bench/results/pages.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import cost
import numpy as np
import quiet

from negawatt import wiring
from negawatt.adapters.runtimes import llamacpp_session, openvino_graph
from negawatt.adapters.runtimes.openvino import OpenVinoRuntime
from negawatt.compress.race import race_reading, race_writing, ratio
from negawatt.core.codec import encode
from negawatt.core.protocols import RunOptions, Session
from negawatt.core.records import Workload
from negawatt.meters.machine import here

RESULTS = Path(__file__).resolve().parent.parent / "results" / "pages.json"
COMPARED = RESULTS.with_name("compress.json")
LEVELS = "15 % fewer decode joules at the same loss"  # of the verdicts
FILES = ("Q8_0.gguf", "Q6_K.gguf", "Q4_K_M.gguf", "uniform-nl4-g32/model.gguf")
WORKLOAD = Workload.parse("128:128:1")
WAYS = ("mapped", "copied", "large")

Times = dict[str, dict[str, list[float]]]  # phase -> way -> CPU seconds a token


@contextmanager
def _opened(path: Path, way: str) -> Iterator[Session]:
    # Copies alone, as if the system had no large pages.
    small = mock.patch.object(llamacpp_session, "on_large_pages", return_value=nullcontext())
    with nullcontext() if way == "large" else small:
        session = cost.opened(path, mapped=way == "mapped")
        session.forward(np.zeros((1, 1), np.int64))  # makes the cache
    with session:
        yield session


@contextmanager
def _compiled(path: Path, way: str) -> Iterator[Session]:
    """One of OpenVINO's graphs for single tokens."""
    with nullcontext() if way == "large" else mock.patch.object(openvino_graph, "Allocated"):
        session = OpenVinoRuntime().open(path, RunOptions(steps="write"))
        session.forward(np.zeros((1, 1), np.int64))  # packs the weights
    with session:
        yield session


def one_opening(path: Path, vocabulary: int, rounds: int, beside: Path | None = None) -> Times:
    """All ways open side by side, taking turns; OpenVINO's are timed at writing alone.

    With a file `beside` it, that one is mapped, and the other lies on large pages.
    """
    engine, ways = (_compiled, WAYS[1:]) if path.is_dir() else (_opened, WAYS)
    paths = dict.fromkeys(ways, path)
    if beside is not None:
        paths = {"mapped": beside, "large": path}
    asked: dict[str, Any] = {"rounds": rounds, "vocabulary": vocabulary}
    with ExitStack() as stack:
        sessions = {way: stack.enter_context(engine(one, way)) for way, one in paths.items()}
        write = race_writing(sessions, WORKLOAD, decode_tokens=cost.WRITTEN, **asked)
        read = {} if path.is_dir() else race_reading(sessions, WORKLOAD, **asked)
    return {
        phase: {way: list(half.cpu) for way, half in found.items()}
        for phase, found in (("read", read), ("write", write))
    }


def measured(
    path: Path, vocabulary: int, openings: int, rounds: int, beside: Path | None = None
) -> dict[str, Any]:
    """Several openings of a file, each in a process of its own."""
    asked = [sys.executable, __file__, "--one", str(path), str(vocabulary), str(rounds)]
    asked += [str(beside)] if beside else []
    passes, others = [], []
    for _ in range(openings):
        others.append(quiet.wait(60.0))
        done = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True)
        passes.append(json.loads(done.stdout.strip().splitlines()[-1]))
    found: dict[str, Any] = {"others_busy": others}
    for phase in ("write", "read"):
        joined = {way: [x for one in passes for x in one[phase][way]] for way in passes[0][phase]}
        large = joined.pop("large", [])
        found[phase] = {f"large over {way}": encode(ratio(large, joined[way])) for way in joined}
    found["write_ms_each"] = {
        way: [round(1e3 * float(np.median(one["write"][way])), 3) for one in passes]
        for way in passes[0]["write"]
    }
    return found


def _file(folder: Path, who: str, name: str) -> Path:
    """Where `run.py` has put a row's file."""
    if who == "llama.cpp":
        return folder / f"{name}.gguf"
    slug = name if who == "negawatt" else f"{who}-{name}"
    return folder / slug.replace(" ", "-").replace(",", "") / "model.gguf"


def as_served(folder: Path, model: str, how: tuple[int, int, int]) -> Iterator[dict[str, Any]]:
    """Our cheapest plan at each loss, as we open it, beside the others' as llama.cpp does."""
    told = json.loads(COMPARED.read_text(encoding="utf-8"))["models"][model]
    owners = {f"{row['who']} {row['name']}": (row["who"], row["name"]) for row in told["rows"]}
    for level in told["verdict"][LEVELS]["levels"]:
        ours = _file(folder, "negawatt", level["ours"])
        theirs = _file(folder, *owners[level["peer"]])
        found = measured(ours, *how, beside=theirs)["write"]["large over mapped"]
        print(model, level["loss"], level["ours"], level["peer"], found["value"], flush=True)
        yield {name: level[name] for name in ("loss", "ours", "peer")} | {"write": found}


def main() -> None:
    """Measure every file that is there, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["smollm2", "gemma3-270m"])
    parser.add_argument("--out", type=Path, default=Path("negawatt-out/bench-compress"))
    parser.add_argument("--openvino", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--openings", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-served", action="store_true")
    asked = parser.parse_args()
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if asked.only_served else {}
    machine, found, served = here(), kept.get("rows", {}), kept.get("as_served", {})
    for model in asked.models:
        config = next((asked.out / model / "work").glob("llamacpp-*/config.json"))
        vocabulary = int(json.loads(config.read_text(encoding="utf-8"))["vocab_size"])
        folder = next((asked.out / model).glob("variants-*"))
        how = vocabulary, asked.openings, asked.rounds
        served[model] = list(as_served(folder, model, how))
        for name in () if asked.only_served else FILES:
            row = measured(folder / name, *how)
            found[f"{model} {name.split('/')[0].removesuffix('.gguf')}"] = row
            print(model, name, json.dumps(row["write_ms_each"]), flush=True)
    for folder in asked.openvino:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        row = measured(folder, int(config["vocab_size"]), asked.openings, asked.rounds)
        found[f"OpenVINO {folder.parent.name}"] = row
        print(folder, json.dumps(row["write_ms_each"]), flush=True)
    told = {
        "machine": f"{machine.cpu.name}, {machine.threads_usable:g} threads, {machine.share}",
        "system": machine.system,
        "large_pages": machine.large_pages,
        "versions": wiring.versions(),
        "rows": found,
        "as_served": served,
    }
    RESULTS.write_text(f"{json.dumps(told, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        file, size, often, *other = sys.argv[2:]
        second = Path(other[0]) if other else None
        sys.stdout.write(json.dumps(one_opening(Path(file), int(size), int(often), second)) + "\n")
    else:
        main()
