"""Model cards beside artifacts: what a folder is, what it loses, and what it cost to make.

The Hugging Face export writes a card of its own before the work is over; what is known at the end
(energy, carbon, how soon it is paid back) is put into it here. Other folders get a short card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from negawatt.compress.export_huggingface_card import format_rows, front, origin_told
from negawatt.core.estimate import Estimate
from negawatt.core.quantities import GramsPerKWh
from negawatt.ledger.footprint import operational_emissions, stated_intensity, world_intensity
from negawatt.models.licence import licence_of
from negawatt.models.likeness import Likeness
from negawatt.models.per_byte import PerByte
from negawatt.reports.figures import plain
from negawatt.reports.files import replace_all
from negawatt.reports.standards.wording import sentence, significant

if TYPE_CHECKING:
    from negawatt.compress.pruned import Pruned
    from negawatt.compress.quantised import Quantised
    from negawatt.core.outcome import Outcome
    from negawatt.core.records import Quality

_HEADING = "## Energy"
_BEFORE = "## What to know before using it"
_DIGITS = 4  # of the number a hub shows
_LOADED = MappingProxyType(
    {
        "openvino": "`openvino.Core().read_model('model.xml')`, or negawatt's runtime `openvino`",
        "llamacpp": "`llama_cpp.Llama('model.gguf')`, or any tool on llama.cpp",
        "onnxruntime": "negawatt's runtime `onnxruntime`, or ONNX Runtime on the .onnx file here",
        "model": "transformers, as any Hugging Face folder",
    }
)
_LIBRARIES = MappingProxyType({"llamacpp": "gguf", "onnxruntime": "onnx", "model": "transformers"})
_NOT_TIMED = "not measured: this command times no decoder; `negawatt optimize` does"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What goes into every card of one run; None is unknown, never zero.

    Args:
        model: As the user named it.
        method: How it was made, in words.
        quality: Label to figure, in words.
        formats: Layer to the name of its format.
        per_token: Joules of a token, in words, by what was raced.
        spent: Energy of compressing. [J]
        grid: Intensity of the electricity, as the user states it. [gCO2e/kWh]
        paid: After how much work the energy is saved again, in words.
        machine: The processor it was made on; empty when not told.
        notes: Sentences.
    """

    model: str
    method: str
    quality: Mapping[str, str]
    formats: Mapping[str, str]
    per_token: Mapping[str, str]
    spent: Estimate
    grid: GramsPerKWh | None
    paid: str
    machine: str = ""
    notes: tuple[str, ...] = ()


def write(facts: Facts, out: Path, artifacts: Mapping[str, str]) -> None:
    """Complete or write the card of every artifact.

    Args:
        facts: What is known at the end.
        out: The folder of the run.
        artifacts: Kind to folder below it.

    Raises:
        OutputError: a card cannot be written.
    """
    texts: dict[Path, str | bytes] = {}
    for kind, name in artifacts.items():
        place = out / name / "README.md"
        own = kind == "huggingface" and place.is_file()
        text = place.read_text(encoding="utf-8") if own else _short(facts, kind)
        texts[place] = completed(text, facts)
    replace_all(texts)


def of_outcome(outcome: Outcome, grid: GramsPerKWh | None) -> Facts:
    """What an optimisation knows of the variant it chose."""
    chosen = next(p for p in outcome.points if p.variant.name == outcome.decision.choice)
    facts, load = outcome.facts, outcome.facts.workload
    cost = chosen.variant.cost
    engine = f" in {cost.runtime}, {cost.threads} threads" if cost is not None else ""
    work = f"{load.prompt} tokens read and {load.generate} written{engine}"
    told = {f"Joules per token, {work}": sentence(chosen.energy)}
    if chosen.cpu_vs_int8 is not None:
        told["CPU time beside uniform int8, in turns"] = sentence(chosen.cpu_vs_int8)
    paid = outcome.payback_tokens
    return Facts(
        model=facts.model,
        method=outcome.decision.because,
        quality=_quality(chosen.variant.quality) if chosen.variant.quality else {},
        formats={one.layer.name: one.chosen for one in outcome.layers},
        per_token=told,
        spent=outcome.job_energy,
        grid=grid,
        paid="never: it draws no less than uniform int8"
        if paid is None
        else f"{paid:,.0f} tokens, beside uniform int8",
        machine=facts.machine.get("cpu", ""),
        notes=facts.notes,
    )


def of_quantised(found: Quantised, grid: GramsPerKWh | None) -> Facts:
    """What one method over a model knows."""
    recipe = found.recipe
    before = f" after {' and '.join(recipe.transforms)}" if recipe.transforms else ""
    told = {
        f"CPU time of a text of {one.tokens} tokens in {one.engine}": (
            f"{sentence(one.narrow)}; {sentence(one.ratio)} of 16-bit weights"
        )
        for one in found.speeds
    }
    paid = [_texts(found, i) for i in range(len(found.speeds))]
    return Facts(
        model=found.model,
        method=f"{recipe.method}{before}, {found.calibration_tokens:,} tokens of calibration text",
        quality=_quality(found.quality),
        formats=found.formats,
        per_token=told or {"Joules per token": _NOT_TIMED},
        spent=found.energy,
        grid=grid,
        paid="; ".join(paid)
        or f"unknown: CPU time per token was {_NOT_TIMED.split(':', maxsplit=1)[0]}",
        notes=found.notes,
    )


def of_pruned(found: Pruned, grid: GramsPerKWh | None) -> Facts:
    """What pruning knows."""
    shape, base = found.shape, found.base
    told = {
        f"CPU time of {one.phase} in {one.engine}, in turns": f"{sentence(one.ratio)} of the base"
        for one in found.paces
    }
    healed = "not healed" if found.healing is None else f"healed by {found.healing.how}"
    return Facts(
        model=found.model,
        method=f"channels by {found.cut.importance}, {shape.blocks} of {base.blocks} blocks and "
        f"{shape.width:,} of {base.width:,} inner channels stay, {healed}",
        quality=_quality(found.quality),
        formats={},
        per_token=told,
        spent=found.energy,
        grid=grid,
        paid="never, as far as was measured"
        if found.pays_back is None
        else f"{found.pays_back:,.0f} tokens read, by CPU time",
        notes=found.notes,
    )


def completed(text: str, facts: Facts) -> str:
    """A card with the section on energy, and with emissions in its front matter where known.

    The section is put before what there is to know, else at the end; an older one is replaced.
    """
    section = f"{_HEADING}\n\n{_energy(facts)}\n"
    text = re.sub(rf"(?ms)^{_HEADING}\n.*?(?=^## |\Z)", "", text)
    head, mark, tail = text.partition(f"{_BEFORE}\n")
    text = f"{head}{section}\n{mark}{tail}" if mark else f"{text.rstrip()}\n\n{section}"
    block = _emissions(facts)
    if block and text.startswith("---\n") and "\nco2_eq_emissions:" not in text:
        opening, rest = text.removeprefix("---\n").split("\n---\n", 1)
        text = f"---\n{opening}\n{block}---\n{rest}"
    return text


def _texts(found: Quantised, i: int) -> str:
    """After how many texts the CPU time of the method is saved again by one engine."""
    one = found.speeds[i]
    saved = one.wide.value - one.narrow.value
    if saved <= 0 or one.ratio.high >= 1:
        return f"never in {one.engine}, as far as was measured"
    texts = found.cpu_seconds.value / saved
    return f"{texts:,.0f} texts of {one.tokens} tokens in {one.engine}, by CPU time"


def _quality(quality: Quality | Likeness | PerByte) -> dict[str, str]:
    """Figures of quality with their intervals, and on what."""
    if isinstance(quality, PerByte):
        told = {
            "Bits for a byte of text": f"{quality.value:.4f}, was {quality.base:.4f}; "
            + _percent(quality.change, sign="+"),
            "As perplexity for a token of the original": _percent(quality.loss, sign="+"),
            "Tokens for the same text": f"{quality.longer:+.2%}",
        }
    elif isinstance(quality, Likeness):
        told = {
            f"{quality.measure} to the original": sentence(quality.distance),
            "Same answer": _percent(quality.same),
        }
        if quality.task is not None:
            task = quality.task
            told[task.name] = f"{task.value:.4f}, was {task.base:.4f}; {sentence(task.change)}"
    else:
        told = {
            "Perplexity beside the 16-bit model": _percent(quality.loss, sign="+"),
            "KL from the 16-bit model": sentence(quality.kl),
            "Same first choice": _percent(quality.top1),
        }
    return told | {"Measured on": f"{quality.tokens:,} tokens: {quality.text}"}


def _percent(one: Estimate, sign: str = "") -> str:
    low, value, high = (f"{x:{sign}.2%}" for x in (one.low, one.value, one.high))
    return f"{value} ({low} to {high}, {one.kind})"


def _energy(facts: Facts) -> str:
    """The table on energy."""
    grams = _grams(facts)
    if grams is None or facts.grid is None:
        anywhere = operational_emissions(facts.spent, world_intensity())
        carbon = (
            "unknown, as the grid is; somewhere between "
            f"{anywhere.low:.2g} and {anywhere.high:.2g} g CO2e"
        )
    else:
        carbon = f"{sentence(grams)}, at a stated {plain(facts.grid.value)} g CO2e/kWh"
    rows = {
        **facts.per_token,
        "Energy of compressing": f"{sentence(facts.spent)}; {facts.spent.boundary or 'all of it'}",
        "Carbon of compressing": f"{carbon}; use of the machine alone, without its making",
        "Paid back after": facts.paid,
    }
    return _table(rows)


def _grams(facts: Facts) -> Estimate | None:
    if facts.grid is None:
        return None
    return operational_emissions(facts.spent, stated_intensity(facts.grid))


def _emissions(facts: Facts) -> str:
    """The hub's own field, in grams; nothing where the grid is unknown."""
    grams = _grams(facts)
    if grams is None:
        return ""
    source = f"negawatt: compressing alone, {sentence(grams)}".replace('"', "'")
    lines = ["co2_eq_emissions:", f"  emissions: {significant(grams.value, _DIGITS)}"]
    lines.append(f'  source: "{source}"')
    if facts.machine:
        lines.append(f'  hardware_used: "{facts.machine}"')
    return "\n".join(lines) + "\n"


def _short(facts: Facts, kind: str) -> str:
    """A card for a folder that has none."""
    licence = licence_of(facts.model)
    library = f"library_name: {_LIBRARIES[kind]}\n" if kind in _LIBRARIES else ""
    made = [
        f"**Made from:** {origin_told(facts.model)}",
        f"**Licence:** {licence or 'not stated by the source; ask its authors'}",
        f"**Loaded by:** {_LOADED.get(kind, f'the runtime {kind} of negawatt')}",
    ]
    parts = [
        f"---\n{library}{front(facts.model, licence)}tags:\n- negawatt\n- {kind}\n---\n",
        f"# {Path(facts.model).name.removeprefix('package:')}, compressed for {kind}\n",
        _listed(made),
        f"## How it was made\n\n{_line(facts.method)}\n",
    ]
    if facts.formats:
        rows = format_rows(facts.formats)
        parts.append(f"| Layers | Format |\n| --- | --- |\n{rows}\n")
    parts += [f"## Quality\n\n{_table(facts.quality)}\n", f"{_BEFORE}\n", _listed(facts.notes)]
    return "\n".join(parts)


def _table(rows: Mapping[str, str]) -> str:
    lines = [f"| {_cell(label)} | {_cell(text)} |" for label, text in rows.items()]
    return "\n".join(["| Fact | Value |", "| --- | --- |", *lines])


def _listed(notes: Sequence[str]) -> str:
    return "\n".join(f"- {_line(note)}" for note in notes or ("Nothing was left out.",)) + "\n"


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(text.split())
