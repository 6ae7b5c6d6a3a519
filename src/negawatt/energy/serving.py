"""A batch of requests on a device: what reading the prompts and writing the replies take.

    reading   one pass over the prompts of the batch
    writing   one pass for each token of a reply, at the context in the middle of it

A server with continuous batching reads prompts along with what others write, so that reading adds its
operations to the steps of writing and hides behind their memory; with static batching one follows the
other. The joules of both legs are all there is, part by part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from negawatt.core.errors import UsageError
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.roofline import USUAL, Constants, Joules, Point, Times, joules_of, time_of
from negawatt.energy.workload import Load, Real, Split, Step, Work, work_of

#: How a server puts requests together.
Batching = Literal["continuous", "static"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a server is asked for, and how it is set.

    Args:
        batch: Requests at once.
        prompt: Tokens read of each.
        written: Tokens written for each.
        devices: That share a model.
        split: How they share it.
        weight_bits: One number, or one per matrix. [bit]
        context_bits: Of what is kept of the text. [bit]
        keep: Share of each matrix that was not pruned away. [1]
        keep_heads: Share of each layer's attention that was kept. [1]
        point: Where the devices are run.
    """

    batch: Real = 1.0
    prompt: Real = 300.0
    written: Real = 300.0
    devices: int = 1
    split: Split = "tensor"
    weight_bits: Real = 16.0
    context_bits: Real = 16.0
    keep: Real = 1.0
    keep_heads: Real = 1.0
    point: Point = USUAL

    def __post_init__(self) -> None:
        for name in ("batch", "prompt", "written"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not 0 < value < 1e12:
                raise UsageError(f"{name} is {value!r}", fix=f"give a {name} above nought")

    @property
    def reading(self) -> Step:
        """Of the prompts of the whole batch."""
        return self._step(phase="prefill", new=self.prompt)

    @property
    def writing(self) -> Step:
        """Of the token in the middle of the replies."""
        return self._step(context=self.prompt + self.written / 2)

    def _step(self, **more: Any) -> Step:
        return Step(
            batch=self.batch,
            devices=self.devices,
            split=self.split,
            weight_bits=self.weight_bits,
            context_bits=self.context_bits,
            keep=self.keep,
            keep_heads=self.keep_heads,
            **more,
        )


@dataclass(frozen=True, slots=True)
class Leg:
    """Reading or writing of a whole batch.

    Args:
        work: Of one step.
        steps: How often it is done.
        joules: Of all of them.
        seconds: That all of them add to the time of the batch. [s]
        times: Of one step, term by term; reading behind writing has those of reading alone.
    """

    work: Work
    steps: Real
    joules: Joules
    seconds: Real
    times: Times


@dataclass(frozen=True, slots=True)
class Served:
    """A batch of requests from the first token read to the last one written.

    Args:
        run: What was asked for.
        reading: Of prompts.
        writing: Of replies.
        first_s: From the arrival of one request to its first token, nobody waiting before it. [s]
        load: Of one step of writing with the reading that falls on it; what the law of time saw.
    """

    run: Run
    reading: Leg
    writing: Leg
    first_s: Real
    load: Load

    @property
    def joules(self) -> Real:
        """Of the batch. [J]"""
        return self.reading.joules.total + self.writing.joules.total

    @property
    def seconds(self) -> Real:
        """That the batch takes. [s]"""
        return self.reading.seconds + self.writing.seconds

    @property
    def joules_per_token(self) -> Real:
        """Of everything, over the tokens written. [J/token]"""
        return self.joules / (self.run.batch * self.run.written)

    @property
    def tokens_per_s(self) -> Real:
        """Written, by all requests together. [1/s]"""
        return self.run.batch * self.run.written / self.seconds

    @property
    def power_w(self) -> Real:
        """Mean, of all devices. [W]"""
        return self.joules / self.seconds


def serve(
    anatomy: Anatomy,
    run: Run,
    device: Constants,
    *,
    batching: Batching = "continuous",
    wait_s: Real = 0.0,
    xp: Any = np,
) -> Served:
    """What a batch of requests takes.

    Args:
        anatomy: Of the model.
        run: What is asked for.
        device: What the device takes.
        batching: How the server puts requests together.
        wait_s: That the server adds to each step of writing. [s]
        xp: The library of arrays: NumPy, or torch where gradients are wanted.

    Raises:
        UsageError: an encoder is asked to write.

    >>> from negawatt.energy.published import Totals, anatomy_from
    >>> sizes = Totals(parameters=8e9, active=8e9, layers=32, hidden=4096, heads=4096, kept=65536)
    >>> from negawatt.energy.devices import Datasheet
    >>> gpu = Datasheet(
    ...     name="a GPU",
    ...     bandwidth=2e12,
    ...     rate=3e14,
    ...     power_w=400,
    ...     idle_w=60,
    ...     memory_bytes=8e10,
    ...     source="made up",
    ... )
    >>> alone, many = (serve(anatomy_from("8B", sizes), Run(batch=b), gpu.usual) for b in (1, 64))
    >>> bool(many.joules_per_token < alone.joules_per_token / 10)
    True
    """
    reading, writing = work_of(anatomy, run.reading, xp), work_of(anatomy, run.writing, xp)
    plain = time_of(writing.load, device, run.point)
    read = time_of(reading.load, device, run.point)
    first = time_of(_single(anatomy, run, xp).load, device, run.point).total
    if batching == "continuous":
        together = _merged(reading, writing, run.prompt, run.written)
        step_s = time_of(together, device, run.point).total
        hidden = _behind(reading, writing, run.prompt)
        more_s = (step_s - plain.total) * run.written
        first = first + step_s
    else:
        together, hidden, more_s = writing.load, reading, read.total
    write_s = (plain.total + wait_s) * run.written
    return Served(
        run=run,
        reading=Leg(reading, 1.0, joules_of(hidden, device, run.point, more_s), more_s, read),
        writing=Leg(
            writing,
            run.written,
            _times(joules_of(writing, device, run.point, write_s / run.written), run.written),
            write_s,
            plain,
        ),
        first_s=first + wait_s,
        load=together,
    )


def serving_load(anatomy: Anatomy, step: Step, prompt: float, written: float) -> Load:
    """A step of a server that reads a prompt for every reply that ends.

    Args:
        anatomy: Of the model.
        step: Of writing; its batch is the sequences at once.
        prompt: Tokens of a prompt.
        written: Tokens of a reply.
    """
    reading = work_of(anatomy, Step(phase="prefill", batch=step.batch, new=prompt))
    return _merged(reading, work_of(anatomy, step), prompt, written)


def _merged(reading: Work, writing: Work, prompt: Real, written: Real) -> Load:
    """A step of writing with its share of the reading of prompts."""
    plain, more = writing.load, reading.load
    share = 1.0 / written  # prompts of one sequence that fall on one step
    return Load(
        operations=plain.operations + share * more.operations,
        weight_bytes=plain.weight_bytes,  # prompts are read along with what is written
        context_bytes=plain.context_bytes + share * more.context_bytes,
        link_bytes=plain.link_bytes * (1.0 + share * prompt),
        layers=plain.layers,
        expert_layers=plain.expert_layers,
        sequences=plain.sequences,
        devices=plain.devices,
    )


def _behind(reading: Work, writing: Work, prompt: Real) -> Work:
    """Reading that moves no weights of its own, as they pass by for writing anyway."""
    return Work(
        anatomy=reading.anatomy,
        step=reading.step,
        operations=reading.operations,
        weight_bytes=0.0 * reading.weight_bytes,
        looked=reading.looked,
        context_bytes=reading.context_bytes,
        link_bytes=writing.link_bytes * prompt,
    )


def _single(anatomy: Anatomy, run: Run, xp: Any) -> Work:
    """The prompt of one request, read with nobody else."""
    return work_of(anatomy, replace(run, batch=1.0).reading, xp)


def _times(joules: Joules, count: Real) -> Joules:
    return Joules(
        static=joules.static * count,
        weights=joules.weights * count,
        operations=joules.operations * count,
        context=joules.context * count,
        looked=joules.looked * count,
        links=joules.links * count,
    )
