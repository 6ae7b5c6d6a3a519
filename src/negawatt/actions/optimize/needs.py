"""How much memory the job may take at most: told before it is taken."""

from __future__ import annotations

from collections.abc import Sequence

from negawatt.actions.optimize import memory, stages
from negawatt.actions.optimize.order import Tools
from negawatt.core.appetite import appetite_of
from negawatt.core.protocols import Runtime

# In 16-bit weights, as measured on SmolLM2-135M and rounded up:
_YARDSTICK = 0.6  # uniform 8 bits, open beside what is tried: half the weights, its cache, logits
_COMMON = 0.2  # keys, values and logits of whose turn it is


def of_race(engines: Sequence[Runtime], reference: Runtime) -> tuple[float, str]:
    """What comparing engines adds to the libraries, in 16-bit weights, and the stage that decides.

    Each engine converts the model, and opens the 16-bit form, in a worker of its own; then all
    are open at once with 8-bit weights, for they take turns.
    """
    every = (*engines, reference)
    takes = [(appetite_of(one).convert, f"{one.name} converting") for one in every]
    takes += [(appetite_of(one).lean, f"{one.name} with 16-bit weights") for one in every]
    together = sum(appetite_of(one).narrow for one in engines) + _COMMON
    takes.append((together, "all engines open at 8 bits"))
    return max(takes)


def of_job(runtime: Runtime) -> tuple[float, str]:
    """What the rest of the job adds with one serving engine, and why.

    The 16-bit form is timed beside uniform 8 bits; all other stages stay within the goal.
    """
    appetite = appetite_of(runtime)
    trial = appetite.wide + _YARDSTICK
    if trial <= memory.BOUND and appetite.convert <= memory.BOUND:
        return memory.BOUND, ""
    why = f"{runtime.name} timed at 16 bits" if trial > appetite.convert else "converting"
    return max(trial, appetite.convert), f"{why}: {appetite.because}" if appetite.because else why


def state(tools: Tools, factor: float, weights: int, why: str = "", more: str = "") -> int:
    """Tell the user the limit of what follows, before it begins; returns it. [B]

    Args:
        tools: With the workshop, whose workers say what libraries hold.
        factor: What the model adds, in 16-bit weights. [1]
        weights: Of 16 bits. [B]
        why: The stage that decides, where it is worth telling.
        more: What else is to be said.
    """
    shop = tools.workshop
    shop.call(stages.ready, tools)  # a worker that has loaded its libraries
    stated = memory.resident() + shop.held.libraries + int(factor * weights)
    tools.progress(told(stated, factor, weights, why) + more, 0.0)
    return stated


def told(stated: int, factor: float, weights: int, why: str = "") -> str:
    """The limit, for people.

    Args:
        stated: Of all processes of the job. [B]
        factor: What of it the model adds, in 16-bit weights. [1]
        weights: Of 16 bits. [B]
        why: The stage that decides, where it is worth telling.

    >>> told(1_000_000_000, 2.5, 200_000_000)
    'memory: at most 1,000 MB, of which libraries take 500 MB'
    >>> told(1_500_000_000, 5.0, 200_000_000, "engine timed")
    'memory: at most 1,500 MB, of which libraries take 500 MB (engine timed, 5.0 times the 16-bit weights)'
    """
    found = (
        f"memory: at most {stated / 1e6:,.0f} MB, of which libraries take "
        f"{(stated - factor * weights) / 1e6:,.0f} MB"
    )
    return f"{found} ({why}, {factor:.1f} times the 16-bit weights)" if why else found
