"""A made-up optimisation with the shape of a real one, for tests of what is shown.

Every number is drawn from a seeded generator and every source says "test data":
nothing here was measured. The parts fit together as they must in a real outcome:
layer energies sum to the parts, the parts to the total, and the front is a front.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace

from negawatt.core.estimate import Estimate, Kind
from negawatt.core.outcome import Check, Facts, LayerChoice, Outcome, Part, Point, Role, Step
from negawatt.core.records import Cost, Decision, Format, Layer, Quality, Variant, Workload

HIDDEN, FFN, KEYS, VOCABULARY = 576, 1536, 192, 49152
FORMATS = ("bf16", "int8-row-sym", "int4-g128-sym", "int4-g32-asym")
NOTE = (
    "The source weights lie on a quantisation grid (Q4_1, blocks of 32): they were taken off it by"
    " a channel permutation before anything was measured (test data)."
)
#: Relative cost of one weight, and expected KL of rounding one whole model this way.
COST = {"bf16": 2.1, "int8-row-sym": 1.0, "int4-g128-sym": 0.78, "int4-g32-asym": 0.86}
HARM = {"bf16": 0.0, "int8-row-sym": 0.002, "int4-g128-sym": 0.34, "int4-g32-asym": 0.19}
PART_OF = {
    "q_proj": "attention",
    "k_proj": "attention",
    "v_proj": "attention",
    "o_proj": "attention",
    "gate_proj": "ffn",
    "up_proj": "ffn",
    "down_proj": "ffn",
    "lm_head": "head",
    "embed_tokens": "embedding",
}


def sample_layers(blocks: int = 30) -> tuple[Layer, ...]:
    """The matrices of a small decoder with a tied head."""
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (KEYS, HIDDEN),
        "self_attn.v_proj": (KEYS, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (FFN, HIDDEN),
        "mlp.up_proj": (FFN, HIDDEN),
        "mlp.down_proj": (HIDDEN, FFN),
    }
    inside = [
        Layer(f"model.layers.{block}.{name}", "linear", *shape, block=block)
        for block in range(blocks)
        for name, shape in shapes.items()
    ]
    embedding = Layer("model.embed_tokens", "embedding", VOCABULARY, HIDDEN)
    head = Layer("lm_head", "head", VOCABULARY, HIDDEN, tied_to="model.embed_tokens")
    return (embedding, *inside, head)


def sample_outcome(seed: int = 7, blocks: int = 30) -> Outcome:
    """A whole outcome; the same seed gives the same one."""
    dice = random.Random(seed)  # noqa: S311 - a sample, not a secret
    layers = sample_layers(blocks)
    tables = {layer.name: _tables(layer, dice, blocks) for layer in layers}
    plans = {
        bits: _plan(layers, tables, share)
        for bits, share in (("frugal", 0.95), ("balanced", 0.72), ("careful", 0.33))
    }
    uniform8 = dict.fromkeys((layer.name for layer in layers), "int8-row-sym")
    uniform4 = {
        layer.name: "int4-g128-sym" if layer.kind == "linear" else "int8-row-sym"
        for layer in layers
    }
    build = _Builder(layers, tables, dice)
    points = (
        build.point("reference", "torch bf16", {}, loss=0.0, cpu=2.62, runtime="torch 2.13.0"),
        build.point("base", "openvino bf16", {}, loss=0.0003, cpu=1.52),
        build.point("uniform", "uniform int8", uniform8, loss=0.0021, cpu=1.0, front=True),
        build.point("uniform", "uniform int4", uniform4, loss=0.371, cpu=0.78, front=True),
        build.point("searched", "searched-1", plans["careful"], loss=0.0035, cpu=0.955, front=True),
        build.point(
            "searched", "searched-2", plans["balanced"], loss=0.0072, cpu=0.903, front=True
        ),
        build.point("searched", "searched-3", plans["frugal"], loss=0.0431, cpu=0.842, front=True),
    )
    return Outcome(
        facts=_facts(layers),
        points=points,
        decision=Decision(
            choice="searched-2",
            because="least energy of 4 variants whose perplexity loss stays within 1 %;"
            " searched-3 costs 7 % less but loses 4.3 %",
            alternatives=("uniform int8", "searched-1"),
            facts={"budget": 0.01},
        ),
        layers=tuple(_choice(layer, tables[layer.name], plans["balanced"]) for layer in layers),
        before=build.parts(uniform8, 1.0),
        after=build.parts(plans["balanced"], 0.903),
        checks=(
            Check(
                "numerics gate",
                passed=True,
                detail="logits of openvino against torch in float32: cosine 0.999998 (test data)",
            ),
            Check("same greedy tokens", passed=True, detail="64 of 64 (test data)"),
            Check(
                "export reloads", passed=True, detail="largest logit difference 0.0004 (test data)"
            ),
            Check(
                "frugal search converged",
                passed=False,
                detail="the last budget kept 3 % above its target (test data)",
            ),
        ),
        steps=(
            Step("prepare the model", 9.4, resumed=True),
            Step("measure the base", 61.0),
            Step("cost table", 88.5),
            Step("calibrate", 74.2),
            Step("search", 121.7),
            Step("verify the front", 141.3),
            Step("export", 22.8),
        ),
        sample_prompt="The river froze in November,",
        sample_text=" and by the first week of <December> the children were skating to school.",
        stated_memory_bytes=640_000_000,
        peak_memory_bytes=571_000_000,
        job_energy=Estimate(
            value=5200,
            low=2600,
            high=10400,
            unit="J",
            kind=Kind.MODELLED,
            source="no-counter band × os process clock (test data)",
            boundary="process",
            period_s=518.9,
        ),
        payback_tokens=240_000.0,
        artifacts={"openvino": "openvino", "huggingface": "huggingface"},
    )


def _facts(layers: tuple[Layer, ...]) -> Facts:
    return Facts(
        model="sample-135m (test data)",
        architecture="LlamaForCausalLM",
        parameters=sum(layer.weights for layer in layers if layer.tied_to is None),
        digest="0123456789abcdef" * 4,
        machine={"cpu": "An imagined 2-core CPU", "cores": "2", "memory": "24 GB", "os": "Linux"},
        versions={"negawatt": "0.1.0", "openvino": "2026.4.1", "torch": "2.13.0", "python": "3.11"},
        workload=Workload.parse("chat"),
        max_loss=0.01,
        texts={
            "calibration": "48 windows of 512 tokens (test data)",
            "selection": "8192 tokens (test data)",
            "test": "16384 tokens (test data)",
        },
        seed=7,
        notes=(NOTE,),
    )


Tables = tuple[dict[str, float], dict[str, float]]


def _tables(layer: Layer, dice: random.Random, blocks: int) -> Tables:
    """Sensitivity and energy of one layer, by format."""
    edge = 1.0
    if layer.block is not None:
        edge = 1 + 2.5 * math.exp(-layer.block / 2) + 1.5 * math.exp((layer.block - blocks) / 2)
    weight = {"v_proj": 3.0, "down_proj": 2.2, "o_proj": 1.6, "lm_head": 30.0}.get(
        layer.name.rsplit(".", 1)[-1], 1.0
    )
    harm = edge * weight * math.exp(dice.gauss(0, 0.5)) / (7 * blocks)
    sensitivity = {name: harm * HARM[name] for name in FORMATS}
    rows = 1 if layer.kind == "embedding" else layer.rows
    energy = {name: rows * layer.cols * COST[name] * 1.1e-9 for name in FORMATS}
    return sensitivity, energy


def _plan(layers: tuple[Layer, ...], tables: Mapping[str, Tables], share: float) -> dict[str, str]:
    """The most frugal format for the least sensitive `share` of layers, int8 for the rest."""

    def harm_per_joule(layer: Layer) -> float:
        sensitivity, energy = tables[layer.name]
        saved = energy["int8-row-sym"] - energy["int4-g128-sym"]
        return sensitivity["int4-g128-sym"] / saved

    order = sorted((layer for layer in layers if layer.kind == "linear"), key=harm_per_joule)
    frugal = {layer.name for layer in order[: int(share * len(order))]}
    half = {layer.name for layer in order[int(share * 0.8 * len(order)) : int(share * len(order))]}
    return {
        layer.name: "int4-g32-asym"
        if layer.name in half
        else "int4-g128-sym"
        if layer.name in frugal
        else "int8-row-sym"
        for layer in layers
    }


def _choice(layer: Layer, tables: Tables, plan: Mapping[str, str]) -> LayerChoice:
    sensitivity, energy = tables
    chosen = plan[layer.name]
    narrow = chosen.startswith("int4")
    because = (
        "one of the least sensitive layers for the joules it saves"
        if narrow
        else "rounding it further would cost more quality than the joules are worth"
    )
    return LayerChoice(
        layer=layer,
        chosen=chosen,
        sensitivity=sensitivity,
        energy=energy,
        next_best="int8-row-sym" if narrow else "int4-g32-asym",
        because=because,
    )


class _Builder:
    """Points and parts that agree with the layer tables."""

    def __init__(
        self, layers: tuple[Layer, ...], tables: Mapping[str, Tables], dice: random.Random
    ) -> None:
        self.layers, self.tables, self.dice = layers, tables, dice

    def energy(self, plan: Mapping[str, str]) -> float:
        return sum(
            self.tables[layer.name][1][plan.get(layer.name, "bf16")] for layer in self.layers
        )

    def point(
        self,
        role: Role,
        name: str,
        plan: Mapping[str, str],
        *,
        loss: float,
        cpu: float,
        front: bool = False,
        runtime: str = "openvino 2026.4.1",
    ) -> Point:
        anchor = self.energy(dict.fromkeys(self.tables, "int8-row-sym")) * 1.25
        measured = _joules(anchor * cpu)
        size = sum(
            Format.parse(plan.get(layer.name, "bf16")).bytes(layer.rows, layer.cols)
            for layer in self.layers
            if layer.tied_to is None
        )
        predicted = measured.value * (1 + self.dice.uniform(-0.05, 0.05))
        base = role in ("reference", "base")
        return Point(
            role=role,
            variant=Variant(
                name=name,
                plan={key: Format.parse(value) for key, value in plan.items()},
                quality=_quality(loss, self.dice),
                cost=_cost(cpu, measured, int(size), runtime),
            ),
            size_bytes=int(size),
            energy=measured,
            predicted_energy=None
            if role == "reference"
            else replace(
                _joules(predicted), source="energy model on this machine's cost table (test data)"
            ),
            cpu_vs_reference=None if role == "reference" else _ratio(cpu / 2.62),
            cpu_vs_int8=None if name == "uniform int8" else _ratio(cpu),
            selection_loss=None if base else _loss(loss * 1.08 + 0.0002),
            expected_loss=None if base else _loss(loss * 0.97 + 0.0001),
            on_front=front,
            meets_budget=loss <= 0.01,
        )

    def parts(self, plan: Mapping[str, str], cpu: float) -> tuple[Part, ...]:
        total = self.energy(dict.fromkeys(self.tables, "int8-row-sym")) * 1.25 * cpu
        sums = dict.fromkeys(("attention", "ffn", "head", "embedding"), 0.0)
        for layer in self.layers:
            sums[PART_OF[layer.name.rsplit(".", 1)[-1]]] += self.tables[layer.name][1][
                plan[layer.name]
            ]
        sums["rest"] = total - sum(sums.values())
        return tuple(Part(name, _joules(value)) for name, value in sums.items())


def _joules(value: float) -> Estimate:
    return Estimate(
        value=value,
        low=value * 0.55,
        high=value * 1.9,
        unit="J/token",
        kind=Kind.MODELLED,
        boundary="package",
        source="CPU-seconds × no-counter power band (test data)",
    )


def _ratio(value: float) -> Estimate:
    return Estimate(
        value=value,
        low=value * 0.984,
        high=value * 1.017,
        unit="1",
        kind=Kind.MEASURED,
        boundary="process",
        source="os process clock, 12 interleaved rounds (test data)",
    )


def _loss(value: float) -> Estimate:
    spread = 0.0011 + abs(value) * 0.12
    return Estimate(
        value=value,
        low=value - spread,
        high=value + spread,
        unit="1",
        kind=Kind.MEASURED,
        boundary="model",
        source="paired token log-likelihoods (test data)",
    )


def _share(value: float, spread: float, source: str) -> Estimate:
    return Estimate(
        value=value,
        low=max(value - spread, 0.0),
        high=min(value + spread, 1.0),
        unit="1",
        kind=Kind.MEASURED,
        source=source,
        boundary="model",
    )


def _quality(loss: float, dice: random.Random) -> Quality:
    perplexity = 29.22 * (1 + loss)
    kl = 0.9 * loss
    return Quality(
        perplexity=Estimate(
            value=perplexity,
            low=perplexity * 0.96,
            high=perplexity * 1.04,
            unit="1",
            kind=Kind.MEASURED,
            boundary="model",
            source="token log-likelihoods (test data)",
        ),
        loss=_loss(loss),
        kl=Estimate(
            value=kl,
            low=kl * 0.93,
            high=kl * 1.07,
            unit="nat/token",
            kind=Kind.MEASURED,
            boundary="model",
            source="full distributions on the test text (test data)",
        ),
        top1=_share(1 - 0.5 * math.sqrt(loss), 0.004, "arg-max on the test text (test data)"),
        cloze=_share(
            0.35 - 0.2 * loss + dice.uniform(-0.005, 0.005), 0.03, "200 cloze items (test data)"
        ),
        tokens=16384,
        text="test text (test data)",
    )


def _cost(cpu: float, energy: Estimate, memory: int, runtime: str) -> Cost:
    def seconds(value: float, source: str) -> Estimate:
        return Estimate(
            value=value,
            low=value * 0.97,
            high=value * 1.03,
            unit="s/token",
            kind=Kind.MEASURED,
            boundary="process",
            source=source,
        )

    wall = replace(seconds(0.13 * cpu, "wall clock (test data)"), unit="s")
    return Cost(
        prefill_cpu=seconds(0.00094 * cpu, "os process clock (test data)"),
        decode_cpu=seconds(0.0113 * cpu, "os process clock (test data)"),
        prefill_energy=energy.scaled(0.15),
        decode_energy=energy.scaled(1.85),
        prefill_latency=wall,
        decode_latency=seconds(0.0116 * cpu, "wall clock (test data)"),
        memory_bytes=memory,
        threads=1,
        runtime=runtime,
    )
