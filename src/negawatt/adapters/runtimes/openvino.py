"""OpenVINO on the CPU: 4- and 8-bit weights multiplied as they are stored."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import ClassVar

from negawatt.adapters.runtimes.artifact import (
    Manifest,
    Place,
    as_meant,
    check_inputs,
    seal,
    unseal,
    writing,
)
from negawatt.adapters.runtimes.openvino_compress import replace_weights
from negawatt.adapters.runtimes.openvino_encoder import OpenVinoEncoder
from negawatt.adapters.runtimes.openvino_engine import openvino as ov
from negawatt.adapters.runtimes.openvino_graph import LAYOUTS, Single
from negawatt.adapters.runtimes.openvino_inputs import adds_up, round_inputs, rounds_inputs
from negawatt.adapters.runtimes.openvino_kernel import OpenVinoKernel
from negawatt.adapters.runtimes.openvino_probe import attempt, is_risky
from negawatt.adapters.runtimes.openvino_session import OpenVinoSession
from negawatt.core.appetite import Appetite
from negawatt.core.caches import Cache, CacheLayout, offered
from negawatt.core.errors import OutputError, RuntimeUnavailable
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, InputGrid, QuantisedWeight

_GRAPH = "model.xml"
_WEIGHTS = "model.bin"  # the engine names it after the graph
_WIDE = Format(16).name
_NAME = "openvino"


class OpenVinoRuntime:
    """The embedded engine; see `negawatt.core.protocols.Runtime`.

    An artifact is a folder with the graph, its weights and a manifest. Weights
    are mapped from the file; the engine packs them for its products at the
    first forward pass, so from then on they are in memory twice, once as pages
    of the file that the system may drop.
    """

    _dies: ClassVar[bool] = False  # of 16-bit products on one thread, in this process's trials

    def __init__(self) -> None:
        self._tried: set[tuple[str, ...]] = set()  # what survived a trial

    @property
    def name(self) -> str:
        """`openvino`."""
        return _NAME

    @property
    def version(self) -> str:
        """The engine's version and build."""
        return str(ov.__version__)

    @property
    def joins(self) -> bool:
        """True: one product and a split."""
        return True

    @property
    def second_look(self) -> None:
        """None: the graph has one product for the head."""
        return None

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

    @property
    def appetite(self) -> Appetite:
        """Memory it adds; the 16-bit form is mapped, and packed anew for its products."""
        return Appetite(convert=2.1, lean=1.8, wide=1.8, narrow=0.85)

    @property
    def caches(self) -> Mapping[Cache, CacheLayout]:
        """8 bits is its own choice; a head's scale and zero point are kept in float32."""
        return LAYOUTS

    def convert(self, model: Path, out: Path) -> None:
        """Write `model` as an OpenVINO graph with 16-bit weights into the new folder `out`.

        Peaks at about 1.6 times the weights, the mapped source file included, and
        leaves them mapped for the life of the process: large models are better
        converted in one of their own.

        Raises:
            NotAModel: `model` is no Hugging Face folder.
            BrokenWeights: its weights are damaged.
            UnsupportedArchitecture: its graph has matrices in unknown places.
            OutputError: `out` is in use or cannot be written.
        """
        from negawatt.adapters.runtimes.openvino_convert import build

        with writing(out) as folder:
            graph, places = build(model)
            _finish(graph, places, folder)

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
        base = unseal(converted, self.name)
        check_inputs(base.layers, weights, inputs, self.input_formats)
        with writing(out) as folder:
            graph = ov.Core().read_model(converted / _GRAPH)
            places = replace_weights(graph, base.layers, weights)
            round_inputs(graph, places, weights, inputs)
            _finish(graph, places, folder)

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Compile an artifact for this CPU.

        Raises:
            NotAModel: `artifact` is no finished folder of this engine.
            BrokenWeights: it was cut short.
            RuntimeUnavailable: the engine cannot run it here.
        """
        manifest = unseal(artifact, self.name)
        options = as_meant(artifact, options, self.caches)
        offered(options.cache, self.caches, self.name)
        graph = artifact / _GRAPH
        options = self._chosen(artifact, manifest, options)
        core, size = ov.Core(), manifest.files[_WEIGHTS]
        if any(port.get_any_name() == "beam_idx" for port in core.read_model(graph).inputs):
            return OpenVinoSession(core, graph, options, size)
        return OpenVinoEncoder(core, graph, options, size)

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
            options = self._survived(task, "", options)
        return OpenVinoKernel(ov.Core(), rows, cols, fmt, copies=copies, options=options)

    def otherwise(self, artifact: Path, options: RunOptions) -> str:
        """Products are in 32 bits where those in 16 end the process, and those in 8 are wrong.

        Raises:
            NotAModel, BrokenWeights, RuntimeUnavailable: as `open`.
        """
        manifest = unseal(artifact, self.name)
        if rounds_inputs(ov.Core().read_model(artifact / _GRAPH)) and not adds_up():
            return (
                "OpenVINO multiplied rounded inputs in 32 bits: its products of 8-bit codes do not "
                "add up on this processor, which has no instructions for them. Elsewhere they may "
                "take less time than here"
            )
        options = as_meant(artifact, options, self.caches)
        if not isinstance(self._chosen(artifact, manifest, options), Single):
            return ""
        return (
            "OpenVINO multiplied 16-bit weights in 32 bits: on one thread, products in 16 bits end "
            "the process on this processor. Elsewhere 16 bits may take less time than here"
        )

    def _chosen(self, artifact: Path, manifest: Manifest, options: RunOptions) -> RunOptions:
        """How a session with `options` is run here."""
        if not any(map(_multiplied_wide, manifest.layers.values())):
            return options
        return self._survived(["session", str(artifact / _GRAPH)], manifest.digest, options)

    def _survived(self, task: list[str], digest: str, options: RunOptions) -> RunOptions:
        """`options` where 16-bit weights survive them, else the same with products in 32 bits.

        Raises:
            RuntimeUnavailable: neither is survived.
        """
        if options.precision == "exact" or not is_risky(options):
            return options
        single = Single(**{one.name: getattr(options, one.name) for one in fields(options)})
        key = (*task, digest, options.steps, options.cache)
        if not self._dies and key not in self._tried:
            try:
                attempt(task, options)
            except RuntimeUnavailable:
                attempt(task, single)
                OpenVinoRuntime._dies = True  # it is the processor's way, not the model's
            else:
                self._tried.add(key)
        return single if self._dies else options


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
