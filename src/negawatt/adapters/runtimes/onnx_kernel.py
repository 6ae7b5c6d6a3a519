"""Matrix products on their own, in the very form a compressed model runs them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from negawatt.adapters.runtimes.onnx_engine import engine, onnx, settings
from negawatt.adapters.runtimes.onnx_graph import GRAPH, with_accuracy
from negawatt.adapters.runtimes.onnx_weights import CONTRIB, FILE, Blob, product
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight

_EXACT, _FAST = 1, 4
_WIDE = 16  # bits


class OnnxKernel:
    """`copies` distinct products in one graph; see `negawatt.core.protocols.Kernel`.

    All read the same activation and each has an output of its own. 16-bit weights are
    multiplied as float32, as in a model.
    """

    def __init__(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> None:
        if not fmt.fits(cols) or copies < 1:
            raise UsageError(
                f"{copies} products of {rows} x {cols} in {fmt} cannot be built",
                fix="choose a format whose group divides the columns, and at least one copy",
            )
        self._copies, self._cols = copies, cols
        self._given: dict[int, Any] = {}
        told = settings(options)
        with TemporaryDirectory(prefix="negawatt-") as scratch:
            folder = Path(scratch)
            _write(folder, (rows, cols), fmt, copies)
            told.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(folder)
            )
            graph = with_accuracy(folder, _EXACT if options.precision == "exact" else _FAST)
            self._session: Any = engine().InferenceSession(
                graph, told, providers=["CPUExecutionProvider"]
            )
        self._outputs = [one.name for one in self._session.get_outputs()]

    @property
    def copies(self) -> int:
        """How many distinct matrices one `run` multiplies."""
        return self._copies

    def run(self, rows_in: int) -> None:
        """Multiply every copy once with an activation of `rows_in` rows."""
        if rows_in not in self._given:
            random = np.random.default_rng(1)
            values = random.standard_normal((1, rows_in, self._cols), np.float32)
            self._given[rows_in] = engine().OrtValue.ortvalue_from_numpy(values)
        self._session.run_with_ort_values(self._outputs, {"x": self._given[rows_in]})


def _write(folder: Path, shape: tuple[int, int], fmt: Format, copies: int) -> None:
    helper, kinds = onnx().helper, onnx().TensorProto
    random = np.random.default_rng(0)
    rows, cols = shape
    nodes, tensors = [], []
    with (folder / FILE).open("wb") as file:
        blob = Blob(file)
        for i in range(copies):
            if fmt.bits == _WIDE:
                values = random.standard_normal((cols, rows), np.float32)
                tensors.append(blob.add(f"w{i}", kinds.FLOAT, (cols, rows), [values]))
                nodes.append(helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"]))
                continue
            made = product(_codes(random, rows, cols, fmt), f"w{i}", ("x", f"y{i}"), blob)
            tensors += made[:-1]
            nodes.append(made[-1])
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "products",
        [info("x", kinds.FLOAT, [1, "rows", cols])],
        [info(f"y{i}", kinds.FLOAT, [1, "rows", rows]) for i in range(copies)],
        tensors,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    onnx().save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / GRAPH)


def _codes(random: np.random.Generator, rows: int, cols: int, fmt: Format) -> QuantisedWeight:
    groups = cols // (fmt.group or cols)
    middle = 1 << (fmt.bits - 1)
    spread = 0 if fmt.symmetric else middle // 2
    return QuantisedWeight(
        fmt,
        random.integers(0, 1 << fmt.bits, (rows, cols), dtype=np.uint8),
        random.uniform(0.5, 1.0, (rows, groups)).astype(np.float16),
        random.integers(middle - spread, middle + spread + 1, (rows, groups), dtype=np.uint8),
    )
