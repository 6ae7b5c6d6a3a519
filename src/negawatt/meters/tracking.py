"""The door to trackers, callbacks and notebooks: each is found by its name when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from negawatt.core import registry
from negawatt.core.protocols import PowerMeter
from negawatt.meters.window import Window, measure


def tracker(name: str, **options: Any) -> Any:
    """Somewhere to write the figures of windows: hand its `record` to `measure` as `then`.

        board = negawatt.tracker("tensorboard", folder="runs/today")
        with negawatt.measure("epoch", then=board.record):
            train()
        board.close()

    Args:
        name: "tensorboard", "wandb", "mlflow", "prometheus", "opentelemetry", or one that
            another package brings.
        options: What that tracker takes; the how-to pages show them.

    Returns:
        A `Tracker`, with whatever else that one offers.

    Raises:
        UsageError: nobody brings a tracker of that name, or it takes other options.
        RuntimeUnavailable: its library is not installed; the message says how to get it.
    """
    return registry.build(registry.TRACKERS, name, **options)


def callback(
    name: str,
    *,
    then: Callable[[Window], object] | None = None,
    meters: tuple[PowerMeter, ...] | None = None,
    **options: Any,
) -> Any:
    """A callback for a training library, which puts the energy of its phases into its logs.

        trainer = Trainer(model, args, callbacks=[negawatt.callback("huggingface")])

    Args:
        name: "huggingface", "lightning", "keras", or one that another package brings.
        then: Called with the window of every phase when it closes, such as the `record` of
            a tracker.
        meters: Counters to read; every one found on this machine when None.
        options: What that callback takes.

    Returns:
        An object of the class that the library asks for.

    Raises:
        UsageError: nobody brings a callback of that name, or it takes other options.
        RuntimeUnavailable: its library is not installed; the message says how to get it.
    """
    windows = partial(measure, then=then, meters=meters)
    return registry.build(registry.CALLBACKS, name, windows, **options)


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook the magic `%%negawatt`; IPython calls this for `%load_ext negawatt`."""
    registry.build(registry.NOTEBOOKS, "jupyter", shell, measure)
