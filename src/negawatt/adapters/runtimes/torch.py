"""PyTorch on the CPU: the reference that every other engine is compared with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from negawatt.adapters.runtimes.artifact import (
    Manifest,
    Place,
    check_inputs,
    checked_fit,
    seal,
    unseal,
    writing,
)
from negawatt.core.appetite import Appetite
from negawatt.core.caches import Cache, CacheLayout, offered
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.core.protocols import Kernel, RunOptions, Session
from negawatt.core.records import Format, InputGrid, QuantisedWeight

_CODES = "negawatt-codes.safetensors"
_INPUTS = "negawatt-inputs.json"
_KEPT = (".json", ".safetensors", ".jinja", ".model", ".txt")


class TorchRuntime:
    """The reference engine; see `negawatt.core.protocols.Runtime`.

    Its artifacts are Hugging Face folders whose files are linked, not copied,
    where the disk allows. `compress` keeps codes and decodes them into ordinary
    weights when opened: it saves nothing at run time and exists to check what a
    plan computes, which is why `formats` offers 16 bits alone. One form of the
    weights serves long inputs and single tokens, so `RunOptions.steps` changes
    nothing here.
    """

    def __init__(self) -> None:
        try:
            self._version = version("torch")  # asked of the package: the engine loads when used
            version("transformers")
        except PackageNotFoundError as error:
            raise RuntimeUnavailable(
                f"the runtime torch needs the package {error.name}, which is not installed",
                fix="pip install 'negawatt[optimize]'",
            ) from error

    @property
    def name(self) -> str:
        """`torch`."""
        return "torch"

    @property
    def version(self) -> str:
        """The library's version."""
        return self._version

    @property
    def joins(self) -> bool:
        """False: layers are kept apart."""
        return False

    @property
    def second_look(self) -> None:
        """None: codes are decoded, none are narrow when multiplied."""
        return None

    @property
    def formats(self) -> Sequence[Format]:
        """16 bits: everything else is only simulated."""
        return (Format(16),)

    @property
    def appetite(self) -> Appetite:
        """Memory it adds; weights are mapped and multiplied as they lie."""
        return Appetite(convert=0.1, lean=1.3, wide=1.5, narrow=1.0)

    @property
    def caches(self) -> Mapping[Cache, CacheLayout]:
        """None to choose from: the library's cache is as wide as its activations."""
        return {}

    def convert(self, model: Path, out: Path) -> None:
        """Link the Hugging Face folder `model` into the new folder `out`."""
        from negawatt.adapters.runtimes.huggingface import check_files, matrices

        shapes = matrices(model)
        check_files(model)
        with writing(out) as folder:
            for file in sorted(model.iterdir()):
                if file.is_file() and file.suffix in _KEPT:
                    _link(file, folder / file.name)
            layers = {name: Place(name, 0, *shape) for name, shape in shapes.items()}
            seal(folder, Manifest(self.name, f"torch {self.version}", layers))

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        """Write `converted` with the codes in `weights` beside it, to be decoded at opening.

        Values do not depend on `joint`, and this engine keeps layers apart.
        """
        del joint
        self.compress_with_inputs(converted, weights, {}, out)

    @property
    def input_formats(self) -> Sequence[Format]:
        """Empty: inputs of 8 bits are only simulated, with weights of any format."""
        return ()

    def compress_with_inputs(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        inputs: Mapping[str, InputGrid],
        out: Path,
    ) -> None:
        """As `compress`; what enters the layers in `inputs` is put on its levels, in floats."""
        from negawatt.adapters.runtimes.torch_inputs import save_inputs
        from negawatt.adapters.runtimes.torch_weights import save_codes

        base = unseal(converted, self.name)
        layers = dict(base.layers)

        def taken() -> Iterator[tuple[str, QuantisedWeight]]:
            for name, place, weight in checked_fit(base.layers, weights):
                layers[name] = place.stored_as(weight.format)
                yield name, weight

        check_inputs(base.layers, weights, inputs, self.input_formats)
        with writing(out) as folder:
            for file in base.files:
                if file not in {_CODES, _INPUTS}:
                    _link(converted / file, folder / file)
            save_codes(taken(), folder / _CODES)
            if inputs:
                save_inputs(inputs, folder / _INPUTS)
            seal(folder, Manifest(self.name, f"torch {self.version}", layers))

    def open(self, artifact: Path, options: RunOptions) -> Session:
        """Load an artifact: bfloat16 when "fast", float32 when "exact".

        Texts are read in float32 too where PyTorch has no quick products of 16 bits.
        """
        import torch

        from negawatt.adapters.runtimes.huggingface import is_encoder, load, stored_dtype
        from negawatt.adapters.runtimes.torch_inputs import read_inputs, round_inputs
        from negawatt.adapters.runtimes.torch_session import TorchEncoder, TorchSession, slow_halves
        from negawatt.adapters.runtimes.torch_weights import install, read_codes

        manifest = unseal(artifact, self.name)
        offered(options.cache, self.caches, self.name)
        exact = options.precision == "exact" or (options.steps == "read" and slow_halves())
        model = load(artifact, stored_dtype(artifact) if exact else torch.bfloat16)
        codes = artifact / _CODES
        coded = dict(read_codes(codes)) if _CODES in manifest.files else {}
        held = install(model, coded, exact=exact)
        if _INPUTS in manifest.files:
            round_inputs(model, read_inputs(artifact / _INPUTS))
        kind = TorchEncoder if is_encoder(artifact) else TorchSession
        return kind(model, options.threads, held)

    def otherwise(self, artifact: Path, options: RunOptions) -> str:
        """Products of 16-bit numbers are slow on processors that have no instructions for them."""
        from negawatt.adapters.runtimes.torch_session import slow_halves

        del artifact
        if options.precision == "exact" or not slow_halves():
            return ""
        if options.steps == "read":
            return (
                "PyTorch read texts in 32 bits: this processor has no instructions for products of "
                "16-bit numbers. Elsewhere reading may take less time than here"
            )
        return (
            "PyTorch has no quick products of 16-bit numbers on this processor, so reading took "
            "several times as long as it would in 32 bits, and what is saved beside it looks "
            "larger than elsewhere. Writing is not slower for it"
        )

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        """Build `copies` distinct 16-bit products (float32 ones when "exact")."""
        if fmt != Format(16) or copies < 1:
            raise UsageError(
                f"torch does not multiply weights in {fmt}, or {copies} copies is too few",
                fix="ask for bf16 and at least one copy",
            )
        from negawatt.adapters.runtimes.torch_session import TorchKernel

        exact = options.precision == "exact"
        return TorchKernel(rows, cols, copies, options.threads, exact=exact)


def _link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the disk has no such thing."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)
