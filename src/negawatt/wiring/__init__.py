"""Settings to built objects. Nothing runs at import; no state is kept here."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import settings as configuration
from negawatt.core import registry
from negawatt.core.clock import SystemClock
from negawatt.core.codec import encode
from negawatt.core.errors import RuntimeUnavailable, UsageError
from negawatt.wiring.asked import settings_of, tools_for

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Effort, Order, Progress, Tools
    from negawatt.core.estimate import Estimate
    from negawatt.core.outcome import Outcome
    from negawatt.core.protocols import Runtime
    from negawatt.energy.predict import Prediction
    from negawatt.meters import Window
    from negawatt.settings import Settings

_WINDOW_S = 1.5  # of rest and of work, to tell what a CPU-second adds
_WIDE = 16  # bits
_EMBEDDED = "openvino"
_WORK_BYTES = 2**20  # hashed at a time

_PACKAGES = (
    "negawatt",
    "torch",
    "transformers",
    "openvino",
    "llama-cpp-python",
    "onnxruntime",
    "numpy",
    "scipy",
    "compressed-tensors",
)


def runtime(name: str) -> Runtime:
    """The inference engine registered as `name`.

    Raises:
        UsageError, RuntimeUnavailable: unknown, or not installed.
    """
    built: Runtime = registry.load(registry.RUNTIMES, name)()
    return built


def engines_named(name: str) -> tuple[Runtime, ...]:
    """The engine called `name`; for `auto` every installed one that executes compressed weights.

    Raises:
        UsageError, RuntimeUnavailable: unknown, or not installed; for `auto`, none is.
    """
    if name != configuration.AUTO:
        return (runtime(name),)
    found = []
    for one in registry.names(registry.RUNTIMES):
        try:
            found.append(runtime(one))
        except RuntimeUnavailable:  # `doctor` names it with the way to install it
            continue
    serving = [one for one in found if any(fmt.bits < _WIDE for fmt in one.formats)]
    serving.sort(key=lambda one: one.name != _EMBEDDED)  # where one must do, this one
    if not serving:
        raise RuntimeUnavailable(
            "no engine that executes compressed weights is installed",
            fix="pip install 'negawatt[openvino]'",
        )
    return tuple(serving)


def versions() -> dict[str, str]:
    """Versions of what decides results; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str]:
    """The machine in words, for reports."""
    from negawatt.meters.machine import here

    this = here()
    return {
        "cpu": str(this.cpu.name),
        "cores": str(cores()),
        "memory": f"{this.memory_usable / 1e9:.1f} GB",
        "system": this.system,
        "kind": this.share,
    }


def cores() -> int:
    """Hardware threads this process may run on."""
    from negawatt.meters.machine import here

    return max(1, int(here().threads_usable))


def tools(settings: Settings, progress: Progress, *, small: bool = True) -> Tools:
    """Everything `negawatt optimize` works with; large models are worked on in processes apart."""
    serving = engines_named(settings.run.runtime)
    return _tools(settings, progress, serving, small=small)


def reading_tools(settings: Settings, progress: Progress) -> Tools:
    """The same with the reference engine alone, for work that needs no other."""
    return _tools(settings, progress, (runtime("torch"),), small=True)


def _tools(
    settings: Settings, progress: Progress, serving: tuple[Runtime, ...], *, small: bool
) -> Tools:
    from negawatt.actions.optimize.order import Tools, fingerprint
    from negawatt.actions.optimize.workshop import Apart, Here

    told = machine()
    configuration.name_meters(settings)
    return Tools(
        runtime=serving[0],
        engines=serving,
        reference=runtime("torch"),
        joules_per_cpu_s=cpu_second(),
        machine=told,
        machine_id=fingerprint(told["cpu"], told["cores"], told["system"].split()[0])[:16],
        versions=versions(),
        cores=cores(),
        cache=settings.paths.cache,
        data=text_folder(settings.paths.data),
        clock=SystemClock(),
        progress=progress,
        workshop=Here() if small else Apart(),
    )


def cpu_second() -> Estimate:
    """What a CPU-second costs: measured where a counter covers the CPU, else a band. [J/s]"""
    from negawatt import meters

    if not meters.discover().measures_cpu:
        return meters.joules_per_cpu_second()
    with meters.measure("rest") as rest:
        time.sleep(_WINDOW_S)
    with meters.measure("work") as busy:
        until = time.monotonic() + _WINDOW_S
        while time.monotonic() < until:
            hashlib.sha256(bytes(_WORK_BYTES)).digest()
    return meters.marginal(rest.result, busy.result)


def text_folder(data: Path | None) -> Path | None:
    """Where corpora are, below the data folder or in it."""
    if data is None:
        return None
    for candidate in (data / "data" / "text", data / "text", data):
        if candidate.is_dir():
            return candidate
    return None


def optimize(  # noqa: PLR0913  # as many choices as the command has
    model: str,
    *,
    max_loss: float = 0.01,
    max_size: int | None = None,
    max_latency: float | None = None,
    out: Path | str | None = None,
    text: str | None = None,
    effort: Effort | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Outcome:
    """Find, export and explain the variant of `model` that spends the fewest joules per token.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        max_loss: Largest relative increase of perplexity allowed. [1]
        max_size: Largest size of the packed weights allowed; any when None. [B]
        max_latency: Longest time of a written token allowed; any when None. [s]
        out: Folder for artifacts and reports; `negawatt-out/<model>` when None.
        text: Calibration and evaluation text; corpora or Python's own manual when None.
        effort: How much text and how many steps.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.seed": 1}`; see `negawatt settings`.

    Returns:
        Everything found; `report.html` and `report.json` are beside the artifacts.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    from negawatt import reports

    settings = settings_of(flags)
    from negawatt.actions.optimize.order import Effort, Order
    from negawatt.actions.optimize.run import optimize as run
    from negawatt.reports import cards

    order = Order(
        model=model,
        max_loss=max_loss,
        max_size=max_size,
        max_latency=max_latency,
        workload=settings.run.workload,
        out=Path(out) if out is not None else default_out(model),
        seed=settings.run.seed,
        threads=settings.run.threads,
        text=text,
        effort=effort or Effort(),
        cache=settings.run.cache,
    )
    closed: list[Window] = []
    outcome = run(order, tools_for(model, settings, progress), then=closed.append)
    reports.write(outcome, order.out)
    cards.write(cards.of_outcome(outcome, settings.carbon.intensity), order.out, outcome.artifacts)
    record(settings, order, outcome, closed[0])
    return outcome


def default_out(model: str) -> Path:
    """Where results go when nobody says.

    >>> default_out("HuggingFaceTB/SmolLM2-135M@main").as_posix()
    'negawatt-out/SmolLM2-135M'
    """
    name = model.rstrip("/").rsplit("/", 1)[-1].split("@", 1)[0].rsplit(":", 1)[-1]
    if not name.strip("."):
        raise UsageError(f"{model!r} gives no name for a folder", fix="name one with --out")
    return Path("negawatt-out") / name.removesuffix(".gguf")


def record(settings: Settings, order: Order, outcome: Outcome, window: Window) -> None:
    """Write the outcome into the ledger, with what the window over the job saw."""
    from negawatt.ledger import open_ledger
    from negawatt.ledger.windows import body_of

    body = {
        **body_of(window.result, window.started_at),
        "name": f"optimize {order.model}",
        "outcome": encode(outcome),
    }
    with open_ledger(settings.paths.ledger) as ledger:
        ledger.append("optimize", body)


def predict(
    model: str,
    *,
    formats: Sequence[str] = (),
    measure: bool | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Prediction:
    """Tell the joules per token of `model` before running it.

    Only its configuration is read. Costs of matrix products come from the table kept
    for this machine and engine; what it lacks is measured first, in less than a minute.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, `package:NAME`, or a `config.json`.
        formats: Weight formats by name, such as "int8-row-sym"; the usual ones when empty.
        measure: True measures every product of the model, False none, None what is needed.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.workload": "batch"}`; see `negawatt settings`.

    Returns:
        One forecast per format; every figure is modelled and has its interval.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = settings_of(flags)
    from negawatt.actions.predict import Question
    from negawatt.actions.predict import predict as run
    from negawatt.core.records import Format

    question = Question(
        model=model,
        workload=settings.run.workload,
        formats=tuple(Format.parse(name) for name in formats),
        threads=settings.run.threads,
        measure=measure,
    )
    return run(question, tools(settings, progress))
