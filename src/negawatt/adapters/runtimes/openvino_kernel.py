"""Matrix products on their own, in the very form a compressed model runs them."""

from __future__ import annotations

import numpy as np

from negawatt.adapters.runtimes.large_pages import Allocated
from negawatt.adapters.runtimes.openvino_compress import decompression
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_graph import config
from negawatt.core.errors import UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight


class OpenVinoKernel:
    """`copies` distinct products in one graph; see `negawatt.core.protocols.Kernel`.

    All read the same activation and each has an output of its own, so nothing
    is added, folded or shared: a run is the products and one call of the engine.

    Sizes are fixed, as in the graph that writes tokens. The graph that reads
    prompts leaves them free, which costs a product of 128 rows up to three percent
    more. A change of `rows_in` compiles anew and drops what was compiled before.

    Args:
        core: The engine.
        rows: Outputs of each product.
        cols: Inputs of each product.
        fmt: Format of the weights.
        copies: How many distinct matrices.
        options: Threads and precision, as for a session.
    """

    def __init__(
        self, core: ov.Core, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> None:
        if not fmt.fits(cols) or copies < 1:
            raise UsageError(
                f"{copies} products of {rows} x {cols} in {fmt} cannot be built",
                fix="choose a format whose group divides the columns, and at least one copy",
            )
        ops = ov.opset13
        given = ops.parameter([1, -1, cols], ov.Type.f32, name="activation")
        random = np.random.default_rng(0)
        products = [
            ops.matmul(
                given,
                _weight(random, rows, cols, fmt, f"copy{i}"),
                transpose_a=False,
                transpose_b=True,
            )
            for i in range(copies)
        ]
        # In a model the next operation takes the product as it comes; without this
        # the engine would add a widening to float32 at every output.
        narrow = width_inside(core, options)
        results = [ops.result(ops.convert(p, narrow) if narrow != "f32" else p) for p in products]
        # Compiled graphs share its constants, so keeping it holds no weight twice.
        self._graph = ov.Model(results, [given], "products")
        self._core, self._config = core, config(options)
        self._copies, self._cols = copies, cols
        self._rows_in = 0  # for which `_compiled` was made; 0 before the first run
        self._compiled: ov.CompiledModel | None = None
        self._request: ov.InferRequest | None = None

    @property
    def copies(self) -> int:
        """How many distinct matrices one `run` multiplies."""
        return self._copies

    def run(self, rows_in: int) -> None:
        """Multiply every copy once with an activation of `rows_in` rows."""
        request = self._request
        if request is None or rows_in != self._rows_in:
            request = self._compile(rows_in)
        # Unlike `infer`, this does not wrap every output for Python.
        request.start_async()
        request.wait()

    def _compile(self, rows_in: int) -> ov.InferRequest:
        self._request = self._compiled = None  # first, so that two are never held
        self._graph.reshape([1, rows_in, self._cols])
        packed = Allocated()
        self._compiled = self._core.compile_model(self._graph, "CPU", self._config)
        self._request = self._compiled.create_infer_request()
        random = np.random.default_rng(1)
        values = random.standard_normal((1, rows_in, self._cols), dtype=np.float32)
        self._request.set_input_tensor(ov.Tensor(values))
        self._request.infer()
        packed.move()  # as a session does after its first run
        self._rows_in = rows_in
        return self._request


def width_inside(core: ov.Core, options: RunOptions) -> str:
    """The number format in which the engine passes activations on."""
    asked = config(options).get("INFERENCE_PRECISION_HINT")
    return str(asked or core.get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name())


def _weight(random: np.random.Generator, rows: int, cols: int, fmt: Format, name: str) -> ov.Node:
    if fmt.bits == 16:
        # Sign and fraction are random, the exponent is that of 0.5 .. 2.
        noise = random.integers(0, 1 << 16, (rows, cols), dtype=np.uint16)
        bits = (noise & np.uint16(0x80FF)) | np.uint16(0x3F00)
        tensor = ov.Tensor(bits, [rows, cols], ov.Type.bf16)
        return ov.opset13.convert(ov.op.Constant(tensor, shared_memory=False), "f32")
    groups = cols // (fmt.group or cols)
    codes = random.integers(0, 1 << fmt.bits, (rows, cols), dtype=np.uint8)
    scale = random.uniform(0.5, 1.0, (rows, groups)).astype(np.float16)
    middle = 1 << (fmt.bits - 1)
    spread = 0 if fmt.symmetric else middle // 2
    zero = random.integers(middle - spread, middle + spread + 1, (rows, groups), dtype=np.uint8)
    return decompression(QuantisedWeight(fmt, codes, scale, zero), name)
