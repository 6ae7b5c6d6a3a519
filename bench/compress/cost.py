"""CPU time of a file in turns with a yardstick; each pass is a process of its own.

    python cost.py OWN.gguf RIVAL.gguf WORKLOAD VOCABULARY ROUNDS PATIENCE_S

Prints one line of JSON: the times of both, and how busy others were when it began.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import quiet

from negawatt.adapters.runtimes.llamacpp_probe import may_pack
from negawatt.adapters.runtimes.llamacpp_session import LlamaSession
from negawatt.compress.race import centre, race_reading, race_writing, ratio
from negawatt.core.codec import encode
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Workload

WRITTEN = 32  # tokens a round
TRIES = 3  # at most, of a pass
WHOLE = 0.9  # share of both files that should lie on large pages

Pass = Mapping[str, Any]


def opened(path: Path, threads: int = 1, *, mapped: bool = False) -> LlamaSession:
    """A GGUF file as it would be served."""
    options, size = RunOptions(threads=threads, mapped=mapped), path.stat().st_size
    return LlamaSession(path, options, memory_bytes=size, extra=may_pack())


def timed(own: Path, rival: Path, workload: Workload, vocabulary: int, rounds: int) -> Pass:
    """One pass: both files open, taking turns.

    Weights are copied onto large pages, for both. Pages of a file stay where they are from pass to
    pass, and reading them was seen to take up to a fifth longer for one file than for its copy.
    """
    with opened(own) as a, opened(rival) as b:
        both = {"own": a, "rival": b}
        read = race_reading(both, workload, rounds=rounds, vocabulary=vocabulary)
        write = race_writing(
            both, workload, rounds=rounds, decode_tokens=WRITTEN, vocabulary=vocabulary
        )
        held = large_pages() / (own.stat().st_size + rival.stat().st_size)
    halves = {"read": read, "write": write}
    return {
        phase: {who: list(half.cpu) for who, half in both_halves.items()}
        for phase, both_halves in halves.items()
    } | {"large_pages": held}


def large_pages() -> int:
    """Memory of this process that lies on large pages; 0 where the system does not tell. [B]"""
    try:
        told = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return 1024 * int(told.partition("AnonHugePages:")[2].split()[0])


def one_pass(
    own: Path, rival: Path, workload: Workload, vocabulary: int, how: Sequence[str]
) -> Pass:
    """The same in a process of its own; tried again when memory was in pieces, and so copies too."""
    asked = [sys.executable, __file__, str(own), str(rival), workload.spec, str(vocabulary), *how]
    tried: list[Pass] = []
    while len(tried) < TRIES and (not tried or 0 < tried[-1]["large_pages"] < WHOLE):
        done = subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True)
        tried.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return max(tried, key=lambda one: float(one["large_pages"]))


def summary(passes: Sequence[Pass], workload: Workload) -> dict[str, Any]:
    """Ratios to the yardstick over all passes, and of each pass alone: their spread.

    The workload's ratio weighs both phases by the time that the yardstick takes for them.
    """
    joined: dict[str, dict[str, list[float]]] = {
        phase: {who: [x for one in passes for x in one[phase][who]] for who in ("own", "rival")}
        for phase in ("read", "write")
    }
    base = workload.prompt * float(np.median(joined["read"]["rival"]))
    total = base + workload.generate * float(np.median(joined["write"]["rival"]))
    share = base / total
    read, write = (ratio(half["own"], half["rival"]) for half in joined.values())
    alone = [
        share * ratio(one["read"]["own"], one["read"]["rival"]).value
        + (1 - share) * ratio(one["write"]["own"], one["write"]["rival"]).value
        for one in passes
    ]
    return {
        "workload": encode(read.scaled(share) + write.scaled(1 - share)),
        "read": encode(read),
        "write": encode(write),
        "write_s": encode(centre(joined["write"]["own"], unit="s/token")),
        "yardstick_s_per_token": total / workload.tokens,
        "passes": alone,
        "others_busy": [one["others_busy"] for one in passes],
        "large_pages": [one["large_pages"] for one in passes],
    }


def main(own: str, rival: str, *how: str) -> None:
    """Wait until it is quiet, race, print."""
    workload, vocabulary, rounds, patience = how
    others = quiet.wait(float(patience))
    found = timed(Path(own), Path(rival), Workload.parse(workload), int(vocabulary), int(rounds))
    sys.stdout.write(json.dumps({**found, "others_busy": others}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
