"""ONNX Runtime on the CPU: 4- and 8-bit weights multiplied as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from negawatt.adapters.runtimes.artifact import Manifest, Place, check_inputs, seal, unseal, writing
from negawatt.adapters.runtimes.onnx_engine import installed
from negawatt.adapters.runtimes.onnx_weights import FILE, FORMATS
from negawatt.core.appetite import Appetite
from negawatt.core.caches import Cache, CacheLayout, offered
from negawatt.core.errors import UsageError
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, InputGrid, QuantisedWeight

_NAME = "onnxruntime"
_READS, _WHOLE = "reads", "whole texts"  # a fact of encoders


class OnnxRuntime:
    """ONNX Runtime; see `negawatt.core.protocols.Runtime`.

    An artifact is a folder with the graph, a file of weights and a manifest. 16-bit
    weights are widened to float32 when they are loaded: this engine multiplies no
    16-bit numbers on a CPU.
    """

    def __init__(self) -> None:
        self._version = installed()  # the engine itself loads when used

    @property
    def name(self) -> str:
        """`onnxruntime`."""
        return _NAME

    @property
    def version(self) -> str:
        """The engine's version."""
        return self._version

    @property
    def joins(self) -> bool:
        """False: layers are kept apart."""
        return False

    @property
    def second_look(self) -> None:
        """None: the graph has one product for the head."""
        return None

    @property
    def formats(self) -> Sequence[Format]:
        """16 bits, and what `MatMulNBits` multiplies as codes."""
        return (Format(16), *FORMATS)

    @property
    def appetite(self) -> Appetite:
        """Memory it adds; a graph is loaded by widening its 16-bit weights."""
        return Appetite(
            convert=1.7,
            lean=2.2,
            wide=4.8,
            narrow=0.85,
            because="16-bit weights are widened to float32 and turned while they are loaded",
        )

    @property
    def caches(self) -> Mapping[Cache, CacheLayout]:
        """None to choose from: the graph hands keys and values on in float32."""
        return {}

    def convert(self, model: Path, out: Path) -> None:
        """Write `model` as an ONNX graph with 16-bit weights into the new folder `out`.

        Raises:
            NotAModel: `model` is no Hugging Face folder.
            BrokenWeights: its weights are damaged.
            UnsupportedArchitecture: its graph has matrices in unknown places.
            OutputError: `out` is in use or cannot be written.
        """
        from negawatt.adapters.runtimes.huggingface import is_encoder
        from negawatt.adapters.runtimes.onnx_graph import build

        facts = {_READS: _WHOLE} if is_encoder(model) else {}
        with writing(out) as folder:
            self._seal(folder, build(model, folder), facts)

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        """Write a variant of `converted` with the layers in `weights` replaced.

        Values do not depend on `joint`, and this engine keeps layers apart.

        Raises:
            NotAModel: `converted` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            UsageError: a layer is unknown, or its codes do not fit it or the engine.
            OutputError: `out` is in use or cannot be written.
        """
        del joint
        self.compress_with_inputs(converted, weights, {}, out)

    @property
    def input_formats(self) -> Sequence[Format]:
        """What the engine multiplies with inputs of 8 bits, as integers."""
        return (Format(8),)

    def compress_with_inputs(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        inputs: Mapping[str, InputGrid],
        out: Path,
    ) -> None:
        """As `compress`, and what enters the layers in `inputs` is rounded to 8 bits.

        Raises:
            UsageError: as `compress`, or a layer's weights are in a format that is not
                multiplied with codes.
        """
        from negawatt.adapters.runtimes.onnx_graph import rewrite

        base = unseal(converted, _NAME)
        check_inputs(base.layers, weights, inputs, self.input_formats)
        with writing(out) as folder:
            places = rewrite(converted, base.layers, weights, folder, inputs)
            self._seal(folder, places, base.facts)

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Load an artifact.

        Raises:
            NotAModel: `artifact` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            RuntimeUnavailable: the engine cannot run it here.
        """
        manifest = unseal(artifact, _NAME)
        offered(options.cache, self.caches, _NAME)
        from negawatt.adapters.runtimes.onnx_encoder import OnnxEncoder
        from negawatt.adapters.runtimes.onnx_session import OnnxSession

        kind = OnnxEncoder if manifest.facts.get(_READS) == _WHOLE else OnnxSession
        return kind(artifact, options, manifest.files[FILE])

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct products of `rows` x `cols` in `fmt`.

        Raises:
            UsageError: the format does not fit, or is not one of `formats`.
        """
        if fmt not in self.formats:
            raise UsageError(
                f"ONNX Runtime does not multiply weights in {fmt}",
                fix="choose among the formats it offers",
            )
        from negawatt.adapters.runtimes.onnx_kernel import OnnxKernel

        return OnnxKernel(rows, cols, fmt, copies=copies, options=options)

    def _seal(self, folder: Path, places: Mapping[str, Place], facts: Mapping[str, str]) -> None:
        seal(folder, Manifest(_NAME, f"onnxruntime {self._version}", places, facts=facts))
