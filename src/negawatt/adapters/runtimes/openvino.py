"""OpenVINO on the CPU: 4- and 8-bit weights multiplied as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from negawatt.adapters.runtimes.artifact import Manifest, seal, unseal, writing
from negawatt.adapters.runtimes.openvino_compress import replace_weights
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_kernel import OpenVinoKernel
from negawatt.adapters.runtimes.openvino_session import OpenVinoSession
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, QuantisedWeight

_GRAPH = "model.xml"


class OpenVinoRuntime:
    """The embedded engine; see `negawatt.core.protocols.Runtime`."""

    @property
    def name(self) -> str:
        """`openvino`."""
        return "openvino"

    @property
    def version(self) -> str:
        """The engine's version and build."""
        return str(ov.__version__)

    @property
    def formats(self) -> Sequence[Format]:
        """What the CPU engine multiplies without unpacking the weights first."""
        groups = (32, 64, 128)
        return (
            Format(16),
            Format(8, 0, symmetric=True),
            Format(8, 0, symmetric=False),
            *(Format(4, g, symmetric=s) for g in groups for s in (True, False)),
            Format(4, 0, symmetric=True),
            Format(4, 0, symmetric=False),
        )

    def convert(self, model: Path, out: Path) -> None:
        """Write `model` as an OpenVINO graph with 16-bit weights into the new folder `out`."""
        from negawatt.adapters.runtimes.openvino_convert import build

        with writing(out) as folder:
            graph, places = build(model)
            ov.save_model(graph, folder / _GRAPH, compress_to_fp16=False)
            seal(folder, Manifest(self.name, f"openvino {self.version}", places))

    def compress(self, converted: Path, weights: Mapping[str, QuantisedWeight], out: Path) -> None:
        """Write a variant of `converted` with the layers in `weights` replaced."""
        base = unseal(converted, self.name)
        with writing(out) as folder:
            graph = ov.Core().read_model(converted / _GRAPH)
            places = replace_weights(graph, base.layers, weights)
            ov.save_model(graph, folder / _GRAPH, compress_to_fp16=False)
            seal(folder, Manifest(self.name, f"openvino {self.version}", places))

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Compile an artifact for this CPU."""
        manifest = unseal(artifact, self.name)
        size = manifest.files["model.bin"]
        return OpenVinoSession(ov.Core(), artifact / _GRAPH, options, size)

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct products of `rows` x `cols` in `fmt`."""
        return OpenVinoKernel(ov.Core(), rows, cols, fmt, copies=copies, options=options)
