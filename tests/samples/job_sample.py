"""Everything one optimisation needs, small and on a clock that only its own work moves.

The engine computes with PyTorch and so gives real logits; what its work costs is
told by a price list, so that two runs agree to the last digit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from engine_sample import HandClock, PricedKernel, lawful

from negawatt.actions.optimize.order import Effort, Order, Progress, Tools
from negawatt.actions.optimize.workshop import Here
from negawatt.core import registry
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Kernel, RunOptions, Runtime, Session
from negawatt.core.records import Format, QuantisedWeight, Workload

#: Enough text and steps for every stage to happen, in a few seconds.
EFFORT = Effort(
    window=64,
    calibration_tokens=1536,
    selection_tokens=640,
    test_tokens=640,
    kl_tokens=128,
    hessian_windows=8,
    sensitivity_samples=16,
    sample_tokens=64,
    search_steps=2,
    budget_shares=(0.8, 0.3),
    refinements=2,
    formats=3,
    rounds=3,
    decode_tokens=2,
)


@dataclass(frozen=True, slots=True)
class Product:
    """What an engine multiplies at once: one layer, or several that read the same."""

    rows: int
    cols: int
    format: Format
    last_only: bool  # a head needs but the positions that are kept


def products(layers: Mapping[str, Any], joint: Sequence[Sequence[str]]) -> list[Product]:
    """The products of a pass. An embedding is looked up, which costs next to nothing."""
    alone = [(name,) for name in layers if not any(name in names for names in joint)]
    return [
        Product(
            rows=sum(layers[name].rows for name in names),
            cols=layers[names[0]].cols,
            format=Format.parse(layers[names[0]].format),
            last_only="head" in names[0],
        )
        for names in (*map(tuple, joint), *alone)
        if "embed" not in names[0]
    ]


class PacedSession:
    """A PyTorch session that moves the clock by the price of every product."""

    def __init__(self, inner: Session, clock: HandClock, todo: Sequence[Product]) -> None:
        self._inner, self._clock, self._todo = inner, clock, todo

    @property
    def memory_bytes(self) -> int:
        return int(sum(one.format.bytes(one.rows, one.cols) for one in self._todo))

    def reset(self) -> None:
        self._inner.reset()

    def forward(self, tokens: Any, *, keep: int | None = None) -> Any:
        batch, new = np.shape(tokens)
        for one in self._todo:
            rows_in = batch * ((keep or new) if one.last_only else new)
            self._clock.cpu_s += lawful(one.rows, one.cols, one.format, rows_in)
        return self._inner.forward(tokens, keep=keep)

    def stream(
        self, prompt: Sequence[int], *, max_new: int, stop: Sequence[int] = ()
    ) -> Iterator[int]:
        return self._inner.stream(prompt, max_new=max_new, stop=stop)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class PacedRuntime:
    """PyTorch's logits at listed prices; see `negawatt.core.protocols.Runtime`."""

    version = "1.0"
    formats = (Format(16), Format(8), Format(4, 32), Format(3, 32))
    joins = True
    second_look = None
    caches: Mapping[Any, Any] = {}  # no choice

    def __init__(self, clock: HandClock, name: str = "paced") -> None:
        self.clock, self.name = clock, name
        self._torch: Runtime = registry.load(registry.RUNTIMES, "torch")()

    def convert(self, model: Path, out: Path) -> None:
        self._torch.convert(model, out)

    def compress(
        self,
        converted: Path,
        weights: Mapping[str, QuantisedWeight],
        out: Path,
        *,
        joint: Sequence[Sequence[str]] = (),
    ) -> None:
        self._torch.compress(converted, weights, out, joint=joint)
        self._beside(out).write_text(json.dumps(joint))

    def open(self, artifact: Path, options: RunOptions) -> Session:
        from negawatt.adapters.runtimes.artifact import unseal

        layers, beside = unseal(artifact, "torch").layers, self._beside(artifact)
        joint = json.loads(beside.read_text()) if beside.exists() else ()
        return PacedSession(
            self._torch.open(artifact, options), self.clock, products(layers, joint)
        )

    def _beside(self, artifact: Path) -> Path:
        return artifact.with_name(f".{artifact.name}.joint")

    def kernel(
        self, rows: int, cols: int, fmt: Format, *, copies: int, options: RunOptions
    ) -> Kernel:
        return PricedKernel(self.clock, lambda tokens: lawful(rows, cols, fmt, tokens), copies)


def some_tools(cache: Path, progress: Progress = lambda stage, share: None) -> Tools:
    """A machine of one core whose clock stands still between products."""
    clock = HandClock()
    paced = PacedRuntime(clock)
    return Tools(
        runtime=paced,
        engines=(paced,),
        reference=PacedRuntime(clock, "reference"),
        joules_per_cpu_s=Estimate(
            value=10.0, low=5.0, high=20.0, unit="J/s", kind=Kind.ASSUMED, source="a band"
        ),
        machine={"cpu": "one of wood", "cores": "1"},
        machine_id="wood",
        versions={"negawatt": "test"},
        cores=1,
        cache=cache,
        data=None,
        clock=clock,
        progress=progress,
        workshop=Here(),
    )


def some_order(model: Path, text: Path, out: Path, **changes: Any) -> Order:
    """One core, a chat of a few words."""
    order = Order(
        model=str(model),
        max_loss=0.05,
        workload=Workload(16, 16),
        out=out,
        threads=1,
        text=str(text),
        effort=EFFORT,
    )
    return replace(order, **changes)


def main(model: str, text: str, out: str, max_loss: str = "0.05") -> None:
    """Run one job in a process of its own, and print what it chose."""
    import torch

    from negawatt.actions.optimize.run import optimize

    torch.set_num_threads(1)
    place = Path(out)

    def tell(stage: str, share: float) -> None:
        print(stage, share, file=sys.stderr, flush=True)  # noqa: T201

    order = some_order(Path(model), Path(text), place, max_loss=float(max_loss))
    found = optimize(order, some_tools(place.parent / "cache", tell))
    chosen = next(p for p in found.points if p.variant.name == found.decision.choice)
    plan = {name: fmt.name for name, fmt in chosen.variant.plan.items()}
    print(json.dumps([found.decision.choice, plan, [s.resumed for s in found.steps]]))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
