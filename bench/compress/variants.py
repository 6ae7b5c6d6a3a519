"""Makes the files that are judged: llama.cpp's types, our plans, and what other tools make."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from held import ON_GRID, Held, served
from llamacpp_types import TYPES
from rivals import Answer
from safetensors.torch import load_file, save_file
from work import Work

from negawatt.actions.optimize.plans import haven, uniform_plan
from negawatt.actions.optimize.stages import products
from negawatt.compress.bank import candidates
from negawatt.compress.calibrate import fill_bank
from negawatt.compress.rounded import Rounded
from negawatt.core.records import Format, QuantisedWeight
from negawatt.models.load import load_reference

LLAMA, OURS, ABLATION = "llama.cpp", "negawatt", "ablation"
EIGHT, FOUR = Format(8, 32), Format(4, 32)
_MODEL = "model.gguf"


@dataclass(frozen=True, slots=True)
class Variant:
    """One file to be judged.

    Args:
        who: Whose it is.
        name: Which.
        path: The GGUF file that is run, and whose bytes count.
        spent: What making it took.
        judged: The file whose answers are scored; `path` but where that cannot hold the values.
        told: What a reader must know of it.
        more_bytes: What the engine would store besides `path`. [B]
        tasked: Whether it does the tasks too.
    """

    who: str
    name: str
    path: Path
    spent: Mapping[str, float]
    judged: Path
    told: Mapping[str, Any] = field(default_factory=dict)
    more_bytes: int = 0
    tasked: bool = True

    @property
    def key(self) -> str:
        """Its name among rows."""
        return f"{self.who} {self.name}"


def llamacpp_types(work: Work, folder: Path, kinds: Collection[str] = TYPES) -> Iterator[Variant]:
    """The model in types of llama.cpp, each made by a process of its own."""
    script = Path(__file__).resolve().parent / "llamacpp_types.py"
    matrix, job = folder / "importance.npz", work.job
    asked: list[str | Path] = [sys.executable, script, "gather", job.source.folder]
    gathered = _told([*asked, work.calibration, matrix], folder / "importance.json")
    for kind in (one for one in TYPES if one in kinds):
        path = folder / f"{kind}.gguf"
        one: list[str | Path] = [sys.executable, script, "quantise", work.base / _MODEL, path]
        spent = _told([*one, kind, matrix, str(job.tools.cores)], path.with_suffix(".json"))
        both = {what: gathered[what] + spent[what] for what in ("seconds", "cpu_seconds")}
        both["peak_bytes"] = max(gathered["peak_bytes"], spent["peak_bytes"])
        yield Variant(LLAMA, kind, path, both, path)


def _told(command: list[str | Path], kept: Path) -> dict[str, float]:
    """What a command says of itself in its last line; one that was run before is not run again."""
    if not kept.exists():
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        kept.write_text(done.stdout.strip().splitlines()[-1], encoding="utf-8")
    found: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def built(work: Work, name: str, weights: Mapping[str, QuantisedWeight], folder: Path) -> Path:
    """A plan's file, made anew from its codes."""
    place = folder / name.replace(" ", "-").replace(",", "")
    shutil.rmtree(place, ignore_errors=True)
    work.job.tools.runtime.compress(work.base, weights, place)
    return place / _MODEL


def ours(work: Work, folder: Path) -> Iterator[Variant]:
    """Every plan that the search has tried, the 16-bit model, and 4 bits as other tools lay them."""
    bank = work.job.groundwork()[1]
    spent = {"cpu_seconds": work.search_cpu_s, "peak_bytes": float(work.found.peak_memory_bytes)}
    spent["seconds"] = sum(step.seconds for step in work.found.steps)
    for point in work.found.points:
        if point.role in {"searched", "uniform"}:
            name = point.variant.name
            path = built(work, name, bank.view(point.variant.plan), folder)
            yield Variant(OURS, name, path, spent, path)
    yield Variant(OURS, "16 bit", work.base / _MODEL, {}, work.base / _MODEL)
    path = built(work, "cheapest", bank.view(_cheapest(work)), folder)
    yield Variant(OURS, "cheapest", path, spent, path)
    path = built(work, "4 bit, head 8", careful(work, _usual(work)), folder)
    yield Variant(OURS, "4 bit, head 8", path, spent, path)


def careful(work: Work, plan: Mapping[str, Format]) -> Mapping[str, QuantisedWeight]:
    """A plan with our codes; formats that the search had no use for are made now."""
    bank, job = work.job.groundwork()[1], work.job
    windows = job.texts.corpus.calibration[: job.order.effort.hessian_windows]
    wanted = {one.name: plan.get(one.name, Format(16)) for one in job.source.layers}
    missing = {n: f for n, f in wanted.items() if f.bits < 16 and not bank.has(n, f)}
    if missing:
        layers = [one for one in job.source.layers if one.name in missing]
        fill_bank(load_reference(job.source.folder), layers, missing, windows, bank)
    return bank.view(plan)


def _cheapest(work: Work) -> dict[str, Format]:
    """Every layer in the candidate of least energy: where the front ends."""
    formats, _, model = work.job.groundwork()
    layers = work.job.source.layers
    plan = uniform_plan(layers, haven(formats), haven(formats))
    for layer in products(layers):
        options = candidates(layer, formats)
        energy = model.option_energy([(layer.name, fmt) for fmt in options]).tolist()
        plan[layer.name] = options[energy.index(min(energy))]
    return plan


def _usual(work: Work) -> dict[str, Format]:
    """Four bits in the blocks, eight in head and embedding."""
    return {one.name: FOUR if one.kind == "linear" else EIGHT for one in work.job.source.layers}


def of_rival(work: Work, name: tuple[str, str], answer: Answer, folder: Path) -> Variant:
    """What another tool has made, in the engine that runs all variants.

    Codes that the engine has a type for are held exactly. Where it has none (zero points), the
    scored file holds the values in 16 bits, the timed one has codes of the same width, and the
    bytes of the zero points are added. Of a plan without values, the codes are ours.
    """
    plan = {layer: served(fmt) for layer, fmt in answer.plan.items()}
    rest = {one.name: EIGHT for one in work.job.source.layers if one.name not in plan}
    layers, source = work.job.source.layers, work.job.source.folder
    slug = "-".join(name)
    if answer.values is None:
        path = built(work, slug, careful(work, plan | rest), folder)
        return Variant(*name, path, answer.spent, path, {"codes": "ours, by its plan"})
    held = Held(answer.values, plan, Rounded(source, layers, rest))
    path = built(work, slug, held, folder)
    told = {"held_error": held.lost}
    if held.lost < ON_GRID:
        return Variant(*name, path, answer.spent, path, told)
    wide = _in_16_bits(work, answer.values, folder / f"{slug}-wide")
    groups = sum(one.rows * one.cols // 32 for one in layers if one.name in plan)
    said = {"codes": "scored in 16 bits: the engine has no type for its zero points"}
    return Variant(*name, path, answer.spent, wide, said, more_bytes=2 * groups)


def _in_16_bits(work: Work, values: Path, place: Path) -> Path:
    """The model with the values of a tool instead of its own, head and embedding at 8 bits."""
    source = work.job.source.folder
    given, model = load_file(values), load_file(source / "model.safetensors")
    taken = {name: value.to(model[name].dtype) for name, value in given.items()}
    scratch, wide = place.with_name(f"{place.name}.hf"), place.with_name(f"{place.name}.16")
    for old in (scratch, wide, place):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(source, scratch, ignore=shutil.ignore_patterns("model.safetensors"))
    save_file(model | taken, scratch / "model.safetensors", {"format": "pt"})
    runtime, layers = work.job.tools.runtime, work.job.source.layers
    runtime.convert(scratch, wide)
    rest = {one.name: EIGHT for one in layers if f"{one.name}.weight" not in taken}
    runtime.compress(wide, Rounded(source, layers, rest), place)
    for old in (scratch, wide):
        shutil.rmtree(old)
    return place / _MODEL
