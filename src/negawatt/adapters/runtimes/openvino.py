"""OpenVINO on the CPU: 4- and 8-bit weights multiplied as they are stored."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from negawatt.adapters.runtimes.artifact import Manifest, Place, seal, unseal, writing
from negawatt.adapters.runtimes.openvino_compress import replace_weights
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_kernel import OpenVinoKernel
from negawatt.adapters.runtimes.openvino_probe import attempt, is_risky
from negawatt.adapters.runtimes.openvino_session import OpenVinoSession
from negawatt.core import errors
from negawatt.core.errors import NegawattError, OutputError, RuntimeUnavailable
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, QuantisedWeight

_GRAPH = "model.xml"
_WEIGHTS = "model.bin"  # the engine names it after the graph
_WIDE = Format(16).name
_NAME = "openvino"
_CHILD = """
import json, sys
from pathlib import Path
from negawatt.adapters.runtimes import openvino
from negawatt.core.errors import NegawattError
try:
    openvino._convert(Path(sys.argv[1]), Path(sys.argv[2]))
except NegawattError as error:
    print(json.dumps([type(error).__name__, error.what, error.fix]), file=sys.stderr)
    sys.exit(1)
"""
_LARGE = 64 * 2**20  # bytes of weights from which conversion runs in a process of its own


class OpenVinoRuntime:
    """The embedded engine; see `negawatt.core.protocols.Runtime`.

    An artifact is a folder with the graph, its weights and a manifest. Weights
    are mapped from the file; the engine packs them for its products at the
    first forward pass, so from then on they are in memory twice, once as pages
    of the file that the system may drop.
    """

    def __init__(self) -> None:
        self._survived: set[tuple[str, ...]] = set()

    @property
    def name(self) -> str:
        """`openvino`."""
        return _NAME

    @property
    def version(self) -> str:
        """The engine's version and build."""
        return str(ov.__version__)

    @property
    def formats(self) -> Sequence[Format]:
        """What the CPU engine multiplies without unpacking the weights first.

        Each was seen in the compiled graph as a product with weights of that
        width, with logits equal to the decoded weights' in float32.
        """
        both = (True, False)
        return (
            Format(16),
            *(Format(8, 0, symmetric=s) for s in both),
            *(Format(4, g, symmetric=s) for g in (32, 64, 128) for s in both),
            *(Format(4, 0, symmetric=s) for s in both),
        )

    def convert(self, model: Path, out: Path) -> None:
        """Write `model` as an OpenVINO graph with 16-bit weights into the new folder `out`.

        Peaks at about 1.6 times the weights, the mapped source file included.

        Raises:
            NotAModel: `model` is no Hugging Face folder.
            BrokenWeights: its weights are damaged.
            UnsupportedArchitecture: its graph has matrices in unknown places.
            OutputError: `out` is in use or cannot be written.
        """
        if sum(file.stat().st_size for file in model.glob("*.safetensors")) < _LARGE:
            _convert(model, out)
            return
        # Tracing leaves the weights mapped for the life of the process, so it gets its own.
        _convert_apart(model, out)

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        """Write a variant of `converted` with the layers in `weights` replaced.

        Layers named together in `joint` become one product whose output is split.

        Raises:
            NotAModel: `converted` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            UsageError: a layer is unknown, or its codes do not fit it or the engine.
            OutputError: `out` is in use or cannot be written.
        """
        base = unseal(converted, self.name)
        with writing(out) as folder:
            graph = ov.Core().read_model(converted / _GRAPH)
            places = replace_weights(graph, base.layers, weights, joint)
            _finish(graph, places, folder)

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Compile an artifact for this CPU.

        Raises:
            NotAModel: `artifact` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            RuntimeUnavailable: the engine cannot run it here.
        """
        manifest = unseal(artifact, self.name)
        graph = artifact / _GRAPH
        if any(map(_multiplied_wide, manifest.layers.values())):
            self._try_first(["session", str(graph)], manifest.digest, options)
        return OpenVinoSession(ov.Core(), graph, options, manifest.files[_WEIGHTS])

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct products of `rows` x `cols` in `fmt`.

        Raises:
            UsageError: the format does not fit, or is not one of `formats`.
            RuntimeUnavailable: the engine cannot run it here.
        """
        if fmt.name == _WIDE:
            task = ["kernel", str(rows), str(cols), fmt.name]
            self._try_first(task, "", options)
        return OpenVinoKernel(ov.Core(), rows, cols, fmt, copies=copies, options=options)

    def _try_first(self, task: list[str], digest: str, options: RunOptions) -> None:
        key = (*task, digest, options.precision, options.steps)
        if is_risky(options) and key not in self._survived:
            attempt(task, options)
            self._survived.add(key)


def _convert(model: Path, out: Path) -> None:
    from negawatt.adapters.runtimes.openvino_convert import build

    with writing(out) as folder:
        graph, places = build(model)
        _finish(graph, places, folder)


def _convert_apart(model: Path, out: Path) -> None:
    """Convert in a child process; what it raises on purpose is raised here again."""
    # Not multiprocessing, whose child would run the user's own script again.
    command = [sys.executable, "-c", _CHILD, str(model), str(out)]
    child = subprocess.run(  # a fixed program, no shell
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if child.returncode == 0:
        return
    last = (child.stderr.strip().splitlines() or [f"status {child.returncode}"])[-1]
    try:
        kind, what, fix = json.loads(last)
    except ValueError:
        raise RuntimeUnavailable(
            f"OpenVINO did not survive the conversion of {model}: {last}",
            fix="free some memory and run again, or try another version of the engine",
        ) from None
    raised: NegawattError = getattr(errors, kind)(what, fix=fix)
    raise raised


def _finish(graph: ov.Model, places: Mapping[str, Place], folder: Path) -> None:
    try:
        ov.save_model(graph, folder / _GRAPH, compress_to_fp16=False)
    except RuntimeError as error:  # the engine's only word for a disk that fails
        free = shutil.disk_usage(folder).free
        raise OutputError(
            f"{folder.parent} could not be written: {error}; {free} bytes are free there",
            fix="free some space, or name a folder on another disk",
        ) from error
    seal(folder, Manifest(_NAME, f"openvino {ov.__version__}", places))


def _multiplied_wide(place: Place) -> bool:
    """True for 16-bit weights that enter a product; a gather has its table at port 0."""
    return place.format == _WIDE and place.port == 1
