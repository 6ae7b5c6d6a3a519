"""What rounding a decoder block by block holds in memory, measured, and carried on to larger ones.

Models of random weights in the shape of Llama are written to disk: the same block 4, 8 and 16
times over, wider and wider blocks, and more and more text. A process of its own rounds each by
one method and then grades it; its peak, less what it held before it touched the model, is set
beside what `negawatt.compress.bound` said beforehand. A line is fitted through all but the
largest, the largest is foretold by it, and it is carried on to the shape of a 70 B model, with a
95 % interval of prediction. Nothing larger than the rows named *measured* was run.

    python bench/compress/memory.py --out bench/results/memory.json [--full]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import stats

_VOCABULARY = 2048
_WINDOW = 256  # tokens
_FORMAT = "int4-g128-asym"
#: name -> hidden, intermediate, heads, value heads, blocks, windows of text
SHAPES: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "512 wide, 2 blocks": (512, 1408, 8, 8, 2, 2),
    "512 wide, 8 blocks": (512, 1408, 8, 8, 8, 2),
    "512 wide, 64 windows": (512, 1408, 8, 8, 1, 64),
    "512 wide, 128 windows": (512, 1408, 8, 8, 1, 128),
    "1024 wide": (1024, 2816, 16, 16, 1, 2),
    "1536 wide, grouped heads": (1536, 5376, 16, 4, 1, 2),
    "2048 wide": (2048, 5632, 16, 16, 1, 2),
}
LARGEST = {"4096 wide, as in Llama 7 B": (4096, 11008, 32, 32, 1, 2)}
#: name -> shape, vocabulary and tokens of text of a model that is not run
BEYOND: Mapping[str, tuple[tuple[int, int, int, int, int, int], int]] = {
    "Llama 7 B": ((4096, 11008, 32, 32, 32, 96), 32_000),
    "Llama 3 8 B": ((4096, 14336, 32, 8, 32, 96), 128_256),
    "Llama 70 B": ((8192, 28672, 64, 8, 80, 96), 32_000),
    "Llama 3 70 B": ((8192, 28672, 64, 8, 80, 96), 128_256),
}


def config_of(shape: tuple[int, ...], vocabulary: int = _VOCABULARY) -> dict[str, Any]:
    """The `config.json` of a model."""
    hidden, inter, heads, groups, blocks, _ = shape
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inter,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }


def written(shape: tuple[int, ...], folder: Path) -> None:
    """A model of random weights, a few rows at a time."""
    import torch

    from negawatt.models.architecture import blueprint
    from negawatt.models.checkpoint import write_bfloat16

    plan = blueprint(config_of(shape))
    generator = torch.Generator().manual_seed(0)

    def pieces() -> Iterator[torch.Tensor]:
        for size in plan.shapes.values():
            if len(size) == 1:
                yield torch.ones(size, dtype=torch.bfloat16)
                continue
            for at in range(0, size[0], 1024):
                rows = min(1024, size[0] - at)
                part = torch.randn(rows, size[1], generator=generator)
                yield part.mul_(size[1] ** -0.5).to(torch.bfloat16)

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(dict(plan.config)), encoding="utf-8")
    write_bfloat16(folder / "model.safetensors", plan.shapes, pieces())


def stated(shape: tuple[int, ...], vocabulary: int, threads: int) -> Any:
    """What is said beforehand."""
    from negawatt.compress.bound import bound
    from negawatt.models.architecture import blueprint
    from negawatt.models.halves import quick_halves

    config = config_of(shape, vocabulary)
    text = shape[5] * _WINDOW
    layers = blueprint(config).layers
    wide = not quick_halves()
    return bound(layers, config, (text, _WINDOW, _WINDOW), 2**62, threads, wide=wide)


# --------------------------------------------------------------- in a process of its own


def child(folder: Path, method: str, windows: int) -> None:
    """Round and grade a model, and print what was held."""
    import torch

    from negawatt.actions.optimize import memory
    from negawatt.actions.optimize.workshop import settle, warm
    from negawatt.actions.quantise import work
    from negawatt.adapters.runtimes.torch import TorchRuntime
    from negawatt.compress.bank import WeightBank
    from negawatt.compress.calibrate import fill_bank
    from negawatt.compress.quantised import Recipe, plan_of
    from negawatt.core.records import Format
    from negawatt.models.architecture import blueprint
    from negawatt.models.halves import reading_dtype
    from negawatt.models.mapped import Mapped, skeleton

    memory.frugal()
    warm([TorchRuntime()], None)
    skeleton(folder, torch.bfloat16)  # brings in the architecture's own code
    text = np.random.default_rng(0).integers(0, _VOCABULARY, (windows, _WINDOW))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    layers = blueprint(config).layers
    plan = plan_of(Recipe(Format.parse(_FORMAT), method), layers)
    bank = WeightBank(folder / "bank")
    floor = settle()
    start = time.perf_counter()
    fill_bank(Mapped(folder, reading_dtype()), layers, plan, text, bank, method=method)
    told = {
        "floor": floor,
        "rounding": memory.peak() - floor,
        "seconds": time.perf_counter() - start,
    }
    memory.release()
    memory.forget_peak()

    source: Any = SimpleNamespace(folder=folder, layers=layers)  # all that grading reads of one
    asked = work.Asked([[int(one) for one in text[0]]], folder)
    with work.session(source, bank.view(plan), asked) as session:
        for start_at in range(0, _WINDOW, 128):
            session.forward(text[:1, start_at : start_at + 128])
    told["grading"] = memory.peak() - floor
    told["threads"] = torch.get_num_threads()
    print(json.dumps(told))


# ----------------------------------------------------------------------------- around it


def measured(name: str, shape: tuple[int, ...], method: str, place: Path) -> dict[str, Any]:
    """Write a model, have it rounded, and take it away again."""
    folder = place / "model"
    try:
        written(shape, folder)
        size = (folder / "model.safetensors").stat().st_size
        done = subprocess.run(  # this very file
            [sys.executable, __file__, "--child", str(folder), method, str(shape[5])],
            check=True,
            stdout=subprocess.PIPE,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = json.loads(done.stdout.splitlines()[-1])
    said = stated(shape, _VOCABULARY, found["threads"])
    peak = max(found["rounding"], found["grading"])
    row = {
        "model": name,
        "shape": shape,
        "weights_bytes": size,
        "block_bytes": said.block,
        "states_bytes": said.states,
        "stated_bytes": said.total,
        "added_bytes": peak,
        **found,
    }
    print(
        f"{name}: {size / 1e6:,.0f} MB of weights, block {said.block / 1e6:,.0f} MB; added "
        f"{peak / 1e6:,.0f} MB, stated {said.total / 1e6:,.0f} MB; {found['seconds']:.0f} s",
        flush=True,
    )
    return row


def terms(shape: tuple[int, ...], vocabulary: int, threads: int) -> np.ndarray:
    """What a peak is fitted to: one, what is stated without hidden states, hidden states."""
    said = stated(shape, vocabulary, threads)
    return np.array([1.0, said.total - said.states, said.states])


def foretold(
    rows: list[dict[str, Any]], shape: tuple[int, ...], vocabulary: int
) -> tuple[float, float, float]:
    """Peak of another shape with its 95 % interval of prediction, by weighted least squares.

    Errors are taken to grow with the peak, so each row is divided by what was stated.
    """
    weights = np.array([1 / row["stated_bytes"] for row in rows])
    design = np.array([terms(row["shape"], _VOCABULARY, row["threads"]) for row in rows])
    wanted = np.array([row["added_bytes"] for row in rows]) * weights
    scaled = design * weights[:, None]
    factors, *_ = np.linalg.lstsq(scaled, wanted, rcond=None)
    free = len(rows) - scaled.shape[1]
    spread = float(((scaled @ factors - wanted) ** 2).sum() / free)
    asked = terms(shape, vocabulary, rows[0]["threads"])
    value = float(asked @ factors)
    size = float(stated(shape, vocabulary, rows[0]["threads"]).total)
    unsure = asked @ np.linalg.pinv(scaled.T @ scaled) @ asked + size**2
    half = float(stats.t.ppf(0.975, free) * np.sqrt(spread * unsure))
    return value, max(0.0, value - half), value + half


def main() -> None:
    """Measure, fit, carry on, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", nargs=3, metavar=("FOLDER", "METHOD", "WINDOWS"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--method", default="polished")
    parser.add_argument("--full", action="store_true", help="also a block as in Llama 7 B")
    asked = parser.parse_args()
    if asked.child:
        child(Path(asked.child[0]), asked.child[1], int(asked.child[2]))
        return
    found = kept(asked.out, asked.method)
    todo = {**SHAPES, **(LARGEST if asked.full else {})}
    for name, shape in todo.items():
        if name not in found["rows"]:
            with tempfile.TemporaryDirectory() as place:
                found["rows"][name] = measured(name, shape, asked.method, Path(place))
            write(asked.out, found)  # the largest takes long; what is measured is kept
    rows = list(found["rows"].values())
    smaller = [found["rows"][name] for name in SHAPES]
    for name in LARGEST.keys() & found["rows"].keys():
        value, low, high = foretold(smaller, LARGEST[name], _VOCABULARY)
        found["held_out"] = {"model": name, "value": value, "low": low, "high": high}
        print(f"{name}, foretold: {value / 1e9:.2f} GB ({low / 1e9:.2f} to {high / 1e9:.2f})")
    beyond = {}
    for name, (shape, vocabulary) in BEYOND.items():
        value, low, high = foretold(rows, shape, vocabulary)
        said = stated(shape, vocabulary, rows[0]["threads"])
        beyond[name] = {
            "block_bytes": said.block,
            "stated_bytes": said.total,
            "parts": {key: getattr(said, key) for key in said.__slots__},
            "value": value,
            "low": low,
            "high": high,
            "kind": "modelled",
        }
        print(
            f"{name}: stated {said.total / 1e9:.1f} GB, extrapolated {value / 1e9:.1f} GB "
            f"({low / 1e9:.1f} to {high / 1e9:.1f}), 95 %"
        )
    found["beyond"] = beyond
    write(asked.out, found)


def kept(out: Path | None, method: str) -> dict[str, Any]:
    """What an earlier run measured."""
    fresh = {"method": method, "format": _FORMAT, "vocabulary": _VOCABULARY, "rows": {}}
    if out is None or not out.exists():
        return fresh
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found if all(found.get(key) == fresh[key] for key in fresh if key != "rows") else fresh


def write(out: Path | None, found: dict[str, Any]) -> None:
    """Keep what was found."""
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
