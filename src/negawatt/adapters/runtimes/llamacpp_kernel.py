"""Matrix products on their own, computed by ggml as it computes them inside a model."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from negawatt.adapters.runtimes.large_pages import on_large_pages
from negawatt.adapters.runtimes.llamacpp_blocks import blocks
from negawatt.adapters.runtimes.llamacpp_engine import library
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, QuantisedWeight

_P, _Size, _Long = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
_CPU = 0  # kind of device
_F32, _BF16 = 0, 30
_HEAD_BYTES = 4096  # of a graph beside its tensors

#: Library, result and arguments of every function used.
_FUNCTIONS: dict[str, tuple[str, Any, list[Any]]] = {
    "ggml_init": ("ggml-base", _P, []),  # its argument is set below
    "ggml_free": ("ggml-base", None, [_P]),
    "ggml_tensor_overhead": ("ggml-base", _Size, []),
    "ggml_graph_overhead_custom": ("ggml-base", _Size, [_Size, ctypes.c_bool]),
    "ggml_new_tensor_2d": ("ggml-base", _P, [_P, ctypes.c_int, _Long, _Long]),
    "ggml_mul_mat": ("ggml-base", _P, [_P, _P, _P]),
    "ggml_new_graph_custom": ("ggml-base", _P, [_P, _Size, ctypes.c_bool]),
    "ggml_build_forward_expand": ("ggml-base", None, [_P, _P]),
    "ggml_backend_alloc_ctx_tensors_from_buft": ("ggml-base", _P, [_P, _P]),
    "ggml_backend_tensor_set": ("ggml-base", None, [_P, _P, _Size, _Size]),
    "ggml_backend_tensor_get": ("ggml-base", None, [_P, _P, _Size, _Size]),
    "ggml_backend_graph_compute": ("ggml-base", ctypes.c_int, [_P, _P]),
    "ggml_backend_reg_get_proc_address": ("ggml-base", _P, [_P, ctypes.c_char_p]),
    "ggml_backend_buft_alloc_buffer": ("ggml-base", _P, [_P, _Size]),
    "ggml_backend_buffer_free": ("ggml-base", None, [_P]),
    "ggml_backend_dev_backend_reg": ("ggml-base", _P, [_P]),
    "ggml_backend_dev_buffer_type": ("ggml-base", _P, [_P]),
    "ggml_backend_dev_supports_op": ("ggml-base", ctypes.c_bool, [_P, _P]),
    "ggml_backend_free": ("ggml-base", None, [_P]),
    "ggml_backend_cpu_init": ("ggml-cpu", _P, []),
    "ggml_backend_cpu_set_n_threads": ("ggml-cpu", None, [_P, ctypes.c_int]),
    "ggml_backend_dev_by_type": ("ggml", _P, [ctypes.c_int]),
}


class _Init(ctypes.Structure):
    """How a set of tensors is begun."""

    _fields_ = (("mem_size", _Size), ("mem_buffer", _P), ("no_alloc", ctypes.c_bool))


class _TensorHead(ctypes.Structure):
    """The first two fields of a tensor: its type, and the buffer it lies in."""

    _fields_ = (("type", ctypes.c_int), ("buffer", _P))


@cache
def _ggml() -> dict[str, Any]:
    """The functions of ggml by name, with the types of their arguments.

    Raises:
        RuntimeUnavailable: this build lacks one of them.
    """
    found = {}
    try:
        for name, (part, result, arguments) in _FUNCTIONS.items():
            function = getattr(library(part), name)
            function.restype = result
            function.argtypes = [_Init] if name == "ggml_init" else arguments
            found[name] = function
    except (OSError, AttributeError) as error:
        raise RuntimeUnavailable(
            f"this build of llama.cpp cannot be timed product by product: {error}",
            fix="install the pinned version of llama-cpp-python",
        ) from error
    return found


class LlamaKernel:
    """`copies` distinct products in one graph; see `negawatt.core.protocols.Kernel`.

    Weights lie where the engine would put those of a model: in its packed form
    where it has one for their type and shape, else as in the file.

    Args:
        rows: Outputs of each product.
        cols: Inputs of each product.
        fmt: Format of the weights.
        copies: How many distinct matrices.
        options: Threads and precision, as for a session.
        extra: Whether packed forms may be used.
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        fmt: Format,
        *,
        copies: int,
        options: RunOptions,
        extra: bool = True,
    ) -> None:
        if not fmt.fits(cols) or copies < 1:
            raise UsageError(
                f"{copies} products of {rows} x {cols} in {fmt} cannot be built",
                fix="choose a format whose group divides the columns, and at least one copy",
            )
        self._g = _ggml()
        self._rows, self._cols, self._copies = rows, cols, copies
        self._backend = self._g["ggml_backend_cpu_init"]()
        self._g["ggml_backend_cpu_set_n_threads"](self._backend, options.threads)
        self._weights: list[Any] = []
        self._held: list[tuple[Any, Any]] = []  # sets of tensors, and the buffers they lie in
        self._graphs: dict[int, tuple[Any, Any, npt.NDArray[np.float32]]] = {}
        exact = options.precision == "exact"
        random = np.random.default_rng(0)
        first = _matrix(random, rows, cols, fmt, exact=exact)
        context = self._begin(copies)
        new = self._g["ggml_new_tensor_2d"]
        self._weights = [new(context, first[0], cols, rows) for _ in range(copies)]
        device = self._g["ggml_backend_dev_by_type"](_CPU)
        place = self._place(device, self._weights[0], extra=extra)
        with on_large_pages():  # as a session's
            self._settle(context, place)
            for i, weight in enumerate(self._weights):
                data = first[1] if i == 0 else _matrix(random, rows, cols, fmt, exact=exact)[1]
                self._fill(weight, data)

    @property
    def copies(self) -> int:
        """How many distinct matrices one `run` multiplies."""
        return self._copies

    def run(self, rows_in: int) -> None:
        """Multiply every copy once with an activation of `rows_in` rows."""
        if rows_in not in self._graphs:
            self._graphs[rows_in] = self._graph(rows_in)
        status = self._g["ggml_backend_graph_compute"](self._backend, self._graphs[rows_in][0])
        if status:
            raise RuntimeUnavailable(
                f"ggml could not compute a product (status {status})", fix="free some memory"
            )

    def result(self, rows_in: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The first product, float32 [rows_in, rows], and its activation [rows_in, cols]."""
        self.run(rows_in)
        _, product, given = self._graphs[rows_in]
        found = np.empty((rows_in, self._rows), np.float32)
        self._g["ggml_backend_tensor_get"](product, found.ctypes.data, 0, found.nbytes)
        return found, given

    def __del__(self) -> None:
        """Free what the library holds."""
        for context, buffer in reversed(getattr(self, "_held", [])):
            self._g["ggml_backend_buffer_free"](buffer)
            self._g["ggml_free"](context)
        if getattr(self, "_backend", None):
            self._g["ggml_backend_free"](self._backend)

    def _begin(self, tensors: int, graph: int = 0) -> Any:
        """A set of at most `tensors` tensors whose values lie elsewhere."""
        size = tensors * self._g["ggml_tensor_overhead"]() + _HEAD_BYTES
        if graph:
            size += self._g["ggml_graph_overhead_custom"](graph, False)  # noqa: FBT003  # C
        return self._g["ggml_init"](_Init(size, None, no_alloc=True))

    def _settle(self, context: Any, place: Any) -> None:
        """Give all tensors of a set memory of one kind."""
        buffer = self._g["ggml_backend_alloc_ctx_tensors_from_buft"](context, place)
        if not buffer:
            raise RuntimeUnavailable("ggml found no memory for a product", fix="free some memory")
        self._held.append((context, buffer))

    def _fill(self, tensor: Any, data: npt.NDArray[np.uint8]) -> None:
        raw = np.ascontiguousarray(data)
        self._g["ggml_backend_tensor_set"](tensor, raw.ctypes.data, 0, raw.nbytes)

    def _graph(self, rows_in: int) -> tuple[Any, Any, npt.NDArray[np.float32]]:
        """All products of one activation; the first of them, and the activation."""
        g, count = self._g, self._copies
        context = self._begin(2 * count + 1, graph=2 * count)
        given = g["ggml_new_tensor_2d"](context, _F32, self._cols, rows_in)
        graph = g["ggml_new_graph_custom"](context, 2 * count, False)  # noqa: FBT003  # C
        products = [g["ggml_mul_mat"](context, weight, given) for weight in self._weights]
        for product in products:
            g["ggml_build_forward_expand"](graph, product)
        device = g["ggml_backend_dev_by_type"](_CPU)
        self._settle(context, g["ggml_backend_dev_buffer_type"](device))
        values = np.random.default_rng(1).standard_normal((rows_in, self._cols), np.float32)
        self._fill(given, values.view(np.uint8))
        return graph, products[0], values

    def _place(self, device: Any, weight: Any, *, extra: bool) -> Any:
        """The first kind of memory in which the engine can multiply this weight."""
        g = self._g
        plain = g["ggml_backend_dev_buffer_type"](device)
        find = g["ggml_backend_reg_get_proc_address"](
            g["ggml_backend_dev_backend_reg"](device), b"ggml_backend_dev_get_extra_bufts"
        )
        if not extra or not find:
            return plain
        listed = ctypes.CFUNCTYPE(ctypes.POINTER(_P), _P)(find)(device)
        context = self._begin(2)
        try:
            given = g["ggml_new_tensor_2d"](context, _F32, self._cols, 512)
            product = g["ggml_mul_mat"](context, weight, given)
            head = ctypes.cast(weight, ctypes.POINTER(_TensorHead)).contents
            i = 0
            while listed and listed[i]:
                empty = g["ggml_backend_buft_alloc_buffer"](listed[i], 0)
                head.buffer = empty
                fits = g["ggml_backend_dev_supports_op"](device, product)
                head.buffer = None
                g["ggml_backend_buffer_free"](empty)
                if fits:
                    return listed[i]
                i += 1
        finally:
            g["ggml_free"](context)
        return plain


def _matrix(
    random: np.random.Generator, rows: int, cols: int, fmt: Format, *, exact: bool
) -> tuple[int, npt.NDArray[np.uint8]]:
    """Random weights and their storage type."""
    if exact:
        values = random.standard_normal((rows, cols), np.float32)
        return _F32, values.view(np.uint8)
    if fmt.bits == 16:
        # Sign and fraction are random, the exponent is that of 0.5 .. 2.
        noise = random.integers(0, 1 << 16, (rows, cols), dtype=np.uint16)
        bits = (noise & np.uint16(0x80FF)) | np.uint16(0x3F00)
        return _BF16, bits.view(np.uint8)
    groups = cols // (fmt.group or cols)
    codes = random.integers(0, 1 << fmt.bits, (rows, cols), dtype=np.uint8)
    # Multiples of one number, so that nested scales can be stored too.
    scale = (random.integers(16, 32, (rows, groups)) / 32).astype(np.float16)
    zero = np.full((rows, groups), fmt.middle, np.uint8)
    if fmt.has_minimum:
        zero = zero.astype(np.float16)
    stored = blocks(QuantisedWeight(fmt, codes, scale, zero), "a product")
    return int(stored.kind), stored.data
