"""A folder that is either whole or refused: written beside its place, moved in at the end."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from negawatt.core.caches import Cache, CacheLayout
from negawatt.core.codec import decode, encode
from negawatt.core.errors import BrokenWeights, NotAModel, OutputError, UsageError
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Format, InputGrid, QuantisedWeight
from negawatt.core.serving import Serving

MANIFEST = "negawatt-artifact.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one layer's weights enter an engine's graph.

    Args:
        node: Name of the operation that reads the weights.
        port: Which of its inputs they are.
        rows: Outputs of the layer.
        cols: Inputs of the layer.
        format: Name of the `Format` the weights are stored in.
    """

    node: str
    port: int
    rows: int
    cols: int
    format: str = "bf16"

    def stored_as(self, fmt: Format) -> Place:
        """The same place, now holding weights in `fmt`."""
        return Place(self.node, self.port, self.rows, self.cols, fmt.name)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an artifact folder holds; the last file written into it.

    Args:
        runtime: Name of the adapter that wrote the folder.
        engine: Name and version of the engine.
        layers: Every weight matrix by `Layer.name`.
        files: Size of every other file, by name. [B]
        digest: SHA-256 over names and contents of `files`.
        source: The folder the artifact reads its weights from, when it keeps none itself.
        facts: What else the adapter wants to remember.
    """

    runtime: str
    engine: str
    layers: Mapping[str, Place] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""
    source: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


def checked_fit(
    places: Mapping[str, Place], weights: Mapping[str, QuantisedWeight]
) -> Iterator[tuple[str, Place, QuantisedWeight]]:
    """Read `weights` one at a time, each with the place it goes to.

    Raises:
        UsageError: a name is no layer of the model, or codes do not fit its shape.
    """
    unknown = sorted(set(weights) - set(places))
    if unknown:
        raise UsageError(
            f"the model has no layer called {', '.join(unknown[:3])}",
            fix=f"name layers as in {next(iter(places), 'an artifact that has some')}",
        )
    for name in weights:
        place, weight = places[name], weights[name]
        groups = place.cols // (weight.format.group or place.cols)
        want = ((place.rows, place.cols), (place.rows, groups), (place.rows, groups))
        found = tuple(weight.codes.shape), tuple(weight.scale.shape), tuple(weight.zero.shape)
        if not weight.format.fits(place.cols) or found != want:
            raise UsageError(
                f"{name} is {place.rows} x {place.cols}; codes, scales and zeros of shapes "
                f"{found} in {weight.format} do not fit it",
                fix="quantise this layer's own weights, in a format whose group divides its width",
            )
        yield name, place, weight


def check_inputs(
    places: Mapping[str, Place],
    weights: Mapping[str, QuantisedWeight],
    inputs: Mapping[str, InputGrid],
    formats: Sequence[Format],
) -> None:
    """Raise `UsageError` where inputs cannot be rounded before they meet these weights.

    Args:
        places: Of the model's matrices.
        weights: That take their place.
        inputs: Grids by layer name.
        formats: Of weights that the engine multiplies with codes; all of them when empty.
    """
    for name, grid in inputs.items():
        if name not in weights or (grid.factor and len(grid.factor) != places[name].cols):
            raise UsageError(
                f"the inputs of {name} cannot be rounded: it has no new weights, or another width",
                fix="round inputs and weights of the same layers of one model",
            )
        if formats and weights[name].format not in formats:
            can = ", ".join(fmt.name for fmt in formats)
            raise UsageError(
                f"{name} in {weights[name].format} is not multiplied with inputs of 8 bits",
                fix=f"choose {can}, or leave --activations out",
            )


@contextmanager
def writing(out: Path) -> Iterator[Path]:
    """Yield a scratch folder that becomes `out` when the block ends without an error.

    Raises:
        OutputError: `out` holds something already, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists and is not empty", fix="name another folder, or remove it")
    scratch = out.parent / f".{out.name}.partial"
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed run left
        scratch.mkdir(parents=True)
        yield scratch
        if out.is_dir():
            out.rmdir()  # empty; not every system moves a folder over another
        scratch.replace(out)
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _cannot_write(out: Path, error: OSError) -> OutputError:
    fixes = {
        errno.ENOSPC: "free some space, or name a folder on another disk",
        errno.EACCES: "name a folder you may write to",
        errno.EROFS: "name a folder on a disk that can be written",
    }
    return OutputError(
        f"{out} could not be written: {error.strerror or error}",
        fix=fixes.get(error.errno or 0, "check the path and the disk, then run again"),
    )


def as_meant(folder: Path, options: RunOptions, layouts: Mapping[Cache, CacheLayout]) -> RunOptions:
    """`options` with the cache that the artifact is meant to be served with, where none is asked.

    Args:
        folder: The artifact.
        options: What was asked for.
        layouts: Caches of the engine; one that it does not offer is not taken.
    """
    if options.cache != "own" or options.precision == "exact":
        return options
    meant = Serving.read(folder).cache
    return replace(options, cache=meant) if meant in layouts else options


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Add sizes and digest of the files in `folder` to `manifest` and write it there, last."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0")
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    sealed = Manifest(
        runtime=manifest.runtime,
        engine=manifest.engine,
        layers=manifest.layers,
        files={name: (folder / name).stat().st_size for name in names},
        digest=digest.hexdigest(),
        source=manifest.source,
        facts=manifest.facts,
    )
    path = folder / MANIFEST
    with path.open("w", encoding="utf-8") as file:
        json.dump(encode(sealed), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    return sealed


def unseal(folder: Path, runtime: str) -> Manifest:
    """Read the manifest of an artifact and check that every file it names is whole.

    Raises:
        NotAModel: nothing that `runtime` wrote is at `folder`.
        BrokenWeights: a file is missing or has another size than when it was written.
    """
    fix = "write the artifact again; a folder that was cut short cannot be repaired"
    path = folder / MANIFEST
    if not path.is_file():
        state = "was not finished, or is no artifact" if folder.is_dir() else "does not exist"
        raise NotAModel(f"{folder} {state}: it has no {MANIFEST}", fix=fix)
    try:
        manifest = decode(Manifest, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError) as error:
        raise BrokenWeights(f"{path} cannot be read: {error}", fix=fix) from error
    if manifest.runtime != runtime:
        raise NotAModel(
            f"{folder} was written for {manifest.runtime}, not for {runtime}",
            fix=f"open it with {manifest.runtime}, or convert the model again",
        )
    for name, size in manifest.files.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise BrokenWeights(f"{file} {state}", fix=fix)
    return manifest
