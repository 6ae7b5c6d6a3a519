"""Published measurements as windows of the energy model.

A table of measurements names models by their sizes alone, so an `Anatomy` is made from totals: one
lumped matrix a role and layer. What a step asks for depends on these totals only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from negawatt.energy.anatomy import Anatomy, Cache, Matrix
from negawatt.energy.fitting import Windows
from negawatt.energy.serving import serving_load
from negawatt.energy.workload import Load, Split, Step

#: Bits of a weight by the name of its precision; "mxfp4" has a scale of 8 bits for every 32.
BITS: Mapping[str, float] = {"fp16": 16.0, "bf16": 16.0, "fp8": 8.0, "mxfp4": 4.25}

_USUAL_PROMPT = 300.0  # tokens of a question, where a source does not tell
#: Kinds of runs whose prompts are whole files. Where nobody tells their length they are left out, as the
#: prompt is what a prediction starts from.
_LONG = frozenset({"sourcegraph-fim"})
_VARIANT = re.compile(r"-(FP8|Instruct|Thinking|2507|it|0528|Coder)(?=-|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sizes of a model as tables tell them.

    Args:
        parameters: Stored.
        active: That a token passes.
        layers: How many.
        hidden: Width between layers.
        heads: Of attention, times the size of a head.
        kept: Values kept of a token over all layers.
        state: Values of states that do not grow with the text, over all layers.
        experts: Of a layer, 1 when it has none.
        experts_used: By a token.
    """

    parameters: float
    active: float
    layers: int
    hidden: int
    heads: float
    kept: float
    state: float = 0.0
    experts: int = 1
    experts_used: int = 1


def anatomy_from(name: str, totals: Totals) -> Anatomy:
    """An anatomy with one lumped matrix a role and layer.

    >>> whole = Totals(parameters=8e9, active=8e9, layers=4, hidden=64, heads=64, kept=512)
    >>> anatomy_from("a model", whole).parameters
    8000000000.0
    """
    layers, used = totals.layers, totals.experts_used / totals.experts
    apart = (totals.parameters - totals.active) / (1 - used) if totals.experts > 1 else 0.0
    shared = (totals.parameters - apart) / layers
    matrices = []
    for layer in range(layers):
        matrices.append(Matrix("shared", layer, "attention", shared, shared))
        if apart:
            experts = apart / layers
            matrices.append(Matrix("experts", layer, "expert", experts, experts * used))
    caches = tuple(
        Cache(
            layer,
            totals.kept / layers,
            state=totals.state / layers,
            scored=2.0 * totals.heads,
        )
        for layer in range(layers)
    )
    return Anatomy(
        name=name,
        architecture="totals",
        family="decoder",
        hidden=totals.hidden,
        layers=layers,
        vocabulary=0,
        matrices=tuple(matrices),
        caches=caches,
        experts=totals.experts,
        experts_used=totals.experts_used,
    )


def family_of(model: str) -> str:
    """What versions of one model share, so that none is predicted from its twin.

    >>> family_of("Qwen/Qwen3-30B-A3B-Thinking-2507"), family_of("a/Llama-3.3-70B-Instruct")
    ('Qwen3-30B-A3B', 'Llama-3.x-70B')
    """
    name = model.rsplit("/", maxsplit=1)[-1]
    while _VARIANT.search(name):
        name = _VARIANT.sub("", name)
    name = re.sub(r"^(Meta-)?Llama-3(\.\d)?-", "Llama-3.x-", name)
    return re.sub(r"^DeepSeek-(R1|V3)(\.\d)?", "DeepSeek-V3", name)


def totals_in(rows: Iterable[Mapping[str, str]]) -> dict[str, Totals]:
    """Sizes of a table with the columns of `models.csv`, by name; incomplete rows left out."""
    found = {}
    for row in rows:
        needed = ("params_total_b", "params_active_b", "layers", "d_model", "kv_elems_per_token")
        if not all(row.get(key) for key in needed):
            continue
        heads = float(row.get("n_heads") or 0) * float(row.get("head_dim") or 0)
        found[row["model"]] = Totals(
            parameters=float(row["params_total_b"]) * 1e9,
            active=float(row["params_active_b"]) * 1e9,
            layers=int(row["layers"]),
            hidden=int(row["d_model"]),
            heads=heads or float(row["d_model"]),
            kept=float(row["kv_elems_per_token"]),
            state=float(row.get("state_elems") or 0),
            experts=int(row.get("n_experts") or 1),
            experts_used=int(row.get("top_k") or 1),
        )
    return found


def windows_in(rows: Iterable[Mapping[str, str]], models: Mapping[str, Totals]) -> Windows:
    """Windows of a table with the columns of `measured_energy.csv`.

    Rows without a model, a batch, the length of prompts and replies, joules or a rate are left out.
    """
    anatomies = {name: anatomy_from(name, totals) for name, totals in models.items()}
    loads, joules, seconds, groups, kinds = [], [], [], [], []
    for row in rows:
        batch = _number(row, "avg_batch") or _number(row, "max_batch")
        written, each = _number(row, "out_tokens"), _number(row, "j_per_output_token")
        rate, bits = _number(row, "output_tok_per_s"), BITS.get(row.get("weight_precision", ""))
        anatomy = anatomies.get(row.get("model", ""))
        usual = None if row.get("task") in _LONG else _USUAL_PROMPT
        prompt = _number(row, "in_tokens") or usual
        if not (batch and prompt and written and each and rate and bits and anatomy):
            continue
        devices, spread = int(_number(row, "n_devices") or 1), (_number(row, "ep") or 1) > 1
        split: Split = "expert" if spread and (_number(row, "tp") or 1) == 1 else "tensor"
        step = Step(
            batch=batch,
            context=prompt + written / 2,
            devices=devices,
            split=split,
            weight_bits=_bits(anatomy, row["weight_precision"]),
        )
        loads.append(serving_load(anatomy, step, prompt, written))
        joules.append(each * batch)
        seconds.append(batch / rate)
        groups.append(family_of(row["model"]))
        kinds.append(row.get("task", ""))
    columns = {
        name: np.array([float(getattr(load, name)) for load in loads]) for name in Load.__slots__
    }
    return Windows(
        load=Load(**columns),
        joules=np.array(joules),
        seconds=np.array(seconds),
        groups=tuple(groups),
        kinds=tuple(kinds),
    )


def _bits(anatomy: Anatomy, precision: str) -> float | np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of every matrix: where 4 bits are named, experts alone have them."""
    if precision != "mxfp4":
        return BITS[precision]
    return np.array([BITS[precision] if m.role == "expert" else 16.0 for m in anatomy.matrices])


def _number(row: Mapping[str, str], key: str) -> float | None:
    text = row.get(key) or ""
    return float(text) if text else None
