"""The door to trackers, callbacks and notebooks: each is found by its name when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from negawatt.core import registry
from negawatt.core.protocols import PowerMeter
from negawatt.meters import inventory
from negawatt.meters.ranks import local_rank
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

    Of several ranks on one node, only the first reads the counters, which see the whole
    node. Where they cover the CPU the other ranks write nothing; where they do not, each
    of those writes what was modelled for its own CPU time.

    Args:
        name: "huggingface", "lightning", "keras", or one that another package brings.
        then: Called with the window of every phase when it closes, such as the `record` of
            a tracker.
        meters: Counters to read, on every rank; when None, every one found on this machine,
            on the first rank of a node alone.
        options: What that callback takes.

    Returns:
        An object of the class that the library asks for.

    Raises:
        UsageError: nobody brings a callback of that name, or it takes other options.
        RuntimeUnavailable: its library is not installed; the message says how to get it.
    """
    windows = partial(measure, meters=meters) if meters is not None else once_a_node
    return registry.build(registry.CALLBACKS, name, partial(windows, then=then), **options)


def once_a_node(name: str, *, then: Callable[[Window], object] | None = None) -> Window | None:
    """A window that counts nothing which another rank of this node counts; None for no window.

    Args:
        name: What to call the work.
        then: Called with the window when it closes.
    """
    if local_rank(os.environ) == 0:
        return measure(name, then=then)
    if inventory.here().measures_cpu:
        return None  # what this process does is in what the first rank reads
    return measure(name, then=then, meters=())


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook the magic `%%negawatt`; IPython calls this for `%load_ext negawatt`."""
    registry.build(registry.NOTEBOOKS, "jupyter", shell, measure)
