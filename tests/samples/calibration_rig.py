"""An engine whose device keeps the energy law exactly, on a clock and a counter of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from negawatt.actions.calibrate.plan import Shape, Task
from negawatt.actions.calibrate.rig import Exercise
from negawatt.actions.calibrate.rows import load_of
from negawatt.energy.roofline import Constants, time_of
from negawatt.energy.workload import Load

#: What the device truly takes.
TRUTH = Constants(
    bandwidth=2.5e12,
    rate=6e14,
    layer_s=5e-5,
    sequence_s=8e-5,
    link_s=1e-4,
    expert_s=1e-4,
    sharpness=2.0,
    static_w=200.0,
    weight_j=9e-11,
    context_j=1.5e-10,
    operation_j=6e-13,
    link_j=1e-10,
)
IDLE_W = 75.0
_NAMES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


@dataclass
class Hand:
    """Clocks that stand still until work moves them."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def monotonic(self) -> float:
        return self.wall_s

    def cpu(self) -> float:
        return self.cpu_s

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.wall_s)


@dataclass
class LawRig:
    """See `negawatt.actions.calibrate.rig.Rig`.

    Args:
        hand: Moved by work.
        spend: Told the joules of work.
    """

    hand: Hand
    spend: Callable[[float], None] = lambda joules: None
    device: str = "NVIDIA H100 80GB HBM3"
    engine: str = "sample 1.0"
    remark: str = ""
    accelerator: int | None = 0
    memory_bytes: float = 85e9
    dtypes: tuple[str, ...] = ("bfloat16", "float32")
    stop_after: int | None = None
    built: list[str] = field(default_factory=list)

    def rest(self, seconds: float) -> None:
        self.hand.wall_s += seconds
        self.spend(IDLE_W * seconds)

    def product(self, edge: int, dtype: str) -> Exercise:
        load = load_of(Task(what="product", name="", edge=edge))
        return self._work(f"product {dtype}", load, 8.0 if dtype == "float32" else 1.0)

    def copy(self, count: int) -> Exercise:
        return self._work("copy", load_of(Task(what="copy", name="", copied=count)))

    def decode(self, config: Mapping[str, Any], batch: int, context: int, stride: int) -> Exercise:
        task = Task(what="decode", name="", shape=_shape(config), batch=batch, tokens=context)
        return self._work(f"decode {config['hidden_size']}", load_of(task), steps=stride)

    def prefill(self, config: Mapping[str, Any], batch: int, tokens: int) -> Exercise:
        task = Task(what="prefill", name="", shape=_shape(config), batch=batch, tokens=tokens)
        return self._work(f"prefill {config['hidden_size']}", load_of(task))

    def _work(self, name: str, load: Load, slower: float = 1.0, steps: int = 1) -> Exercise:
        if self.stop_after is not None and len(self.built) >= self.stop_after:
            raise KeyboardInterrupt
        self.built.append(name)
        seconds = slower * float(time_of(load, TRUTH).total)
        joules = (
            TRUTH.static_w * seconds
            + TRUTH.weight_j * load.weight_bytes
            + TRUTH.context_j * load.context_bytes
            + TRUTH.operation_j * load.operations
        )

        def run(rounds: int) -> None:
            self.hand.wall_s += rounds * steps * seconds
            self.hand.cpu_s += rounds * steps * seconds
            self.spend(rounds * steps * joules)

        return run, steps


def _shape(config: Mapping[str, Any]) -> Shape:
    hidden, layers, heads, kv_heads = (config[name] for name in _NAMES)
    return Shape(
        name="a model",
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        ffn=config["intermediate_size"],
        vocabulary=config["vocab_size"],
    )
