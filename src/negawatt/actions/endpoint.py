"""How a served model compares with its base: token by token, over the wire."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.order import Order, Tools, fingerprint
from negawatt.core.errors import UsageError
from negawatt.core.estimate import Estimate, Kind
from negawatt.core.protocols import Endpoint, RunOptions
from negawatt.models.corpus import split
from negawatt.models.interval import BLOCK, block_mean, wilson
from negawatt.models.load import load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.quality import Exam, Reference, reference
from negawatt.models.source import ModelSource

_WINDOW = 256  # tokens scored at once, at most
_LEAST = 64  # tokens of a window
_METHOD = f"95 % Student t over blocks of {BLOCK} tokens"
_MOST = 700.0  # nat; the exponential of more is no float


@dataclass(frozen=True, slots=True)
class Served:
    """What was found behind a door. Energy there is not known from here."""

    server: str  # its kind and version
    model: str
    base: str  # what it was compared with
    perplexity: Estimate  # [1]
    base_perplexity: Estimate  # [1]
    loss: Estimate  # paired with the base [1]
    top1: Estimate  # share of tokens where both would say the same [1]
    tokens: int  # scored
    text: str  # which
    first_token: Estimate  # wall time until it came, by this clock [s]
    next_token: Estimate  # wall time of each after it [s]
    sample: str  # what it says to the prompt
    max_loss: float  # allowed [1]

    @property
    def within(self) -> bool:
        """True when the loss, as measured, is allowed."""
        return self.loss.value <= self.max_loss


def compare_served(
    order: Order, tools: Tools, work: Path, source: ModelSource, served: tuple[Endpoint, int]
) -> Served:
    """Score one text with the base in the reference engine and with a server, token by token.

    Args:
        order: Whose text, seed, workload and loss count.
        tools: With the reference engine.
        work: Where the base's own answers are kept.
        source: The prepared base, whose tokenizer is used for both.
        served: The server, and how many tokens to score.

    Raises:
        UsageError: the server does not take texts of 64 tokens.
        TextError: the text is too short.
    """
    endpoint, tokens = served
    window = min(_WINDOW, tokens, endpoint.context or _WINDOW)
    if endpoint.context is not None and window == endpoint.context:
        window -= 1  # a server insists on writing one more
    if window < _LEAST:
        raise UsageError(
            f"{endpoint.model} takes {window} tokens at once, too few to score a text",
            fix=f"serve it with a context of more than {_LEAST} tokens",
        )
    base = _base(order, tools, work, source, (window, tokens))
    windows = base.exam.windows
    nll, same = np.empty_like(base.nll, dtype=np.float64), 0
    for i, row in enumerate(windows):
        found = endpoint.likelihoods(row.tolist())
        nll[i] = -np.asarray(found.log_probs)
        same += int((np.asarray(found.tops) == base.tops[i]).sum())
        tools.progress("serve", (i + 1) / len(windows))
    tokenizer = load_tokenizer(source.folder)
    first, later, said = _paced(tools, endpoint, tokenizer(stages.PROMPT)["input_ids"], order)
    change = (math.expm1(min(x, _MOST)) for x in block_mean(nll - base.nll))
    return Served(
        server=f"{endpoint.name} {endpoint.version}".strip(),
        model=endpoint.model,
        base=f"{order.model} in {tools.reference.name}, {_read_in()}",
        perplexity=_estimate((math.exp(min(x, _MOST)) for x in block_mean(nll)), "1", _METHOD),
        base_perplexity=base.quality().perplexity,
        loss=_estimate(change, "1", f"paired with the base, {_METHOD}"),
        top1=_estimate(wilson(same, nll.size), "1", "95 % Wilson"),
        tokens=nll.size,
        text=base.exam.text,
        first_token=first,
        next_token=later,
        sample=str(tokenizer.decode(said)),
        max_loss=order.max_loss,
    )


def _read_in() -> str:
    """What the base's answers were computed in."""
    from negawatt.models.halves import quick_halves

    return "bf16" if quick_halves() else "bf16 weights multiplied in float32"


def _base(
    order: Order, tools: Tools, work: Path, source: ModelSource, size: tuple[int, int]
) -> Reference:
    """What the base says about the text, in the reference engine; kept."""
    key = fingerprint(source.digest, source.off_grid, order.seed)
    place = place_of(work, tools.reference, key)
    if not place.exists():
        stages.convert(tools, tools.reference, source, place)
    window, tokens = size
    corpus = split(
        load_text(order.text, tools.data),
        load_tokenizer(source.folder),
        window=window,
        calibration_tokens=_LEAST,
        selection_tokens=_LEAST,
        test_tokens=tokens,
        seed=order.seed,
    )
    with tools.reference.open(place, RunOptions(threads=tools.cores, steps="read")) as session:
        return reference(
            session,
            Exam(corpus.test, corpus.texts["test"]),
            work / "reference-served",
            1,  # a server tells no distributions, so none is kept
            key=f"{key} {tools.reference.version}",
            progress=lambda _, share: tools.progress("reference", share),
        )


def _paced(
    tools: Tools, endpoint: Endpoint, prompt: Sequence[int], order: Order
) -> tuple[Estimate, Estimate, list[int]]:
    """Wall time to the first token and of each later one, and the tokens."""
    count = max(2, min(order.workload.generate, 64))
    if endpoint.context is not None:
        count = max(2, min(count, endpoint.context - len(prompt)))
    times = [tools.clock.monotonic()]
    said = []
    for token in endpoint.stream(prompt, max_new=count):
        times.append(tools.clock.monotonic())
        said.append(token)
    gaps = np.diff(times)
    later = sorted(float(gap) for gap in gaps[1:]) or [0.0]
    source = "this machine's clock, over the network"
    first = float(gaps[0]) if len(gaps) else 0.0
    return (
        _estimate((first, first, first), "s", f"{source}, once"),
        _estimate((statistics.median(later), later[0], later[-1]), "s", f"{source}, range"),
        said,
    )


def _estimate(numbers: Iterable[float], unit: str, source: str) -> Estimate:
    value, low, high = numbers
    return Estimate(
        value=value,
        low=low,
        high=high,
        unit=unit,
        kind=Kind.MEASURED,
        source=source,
        boundary="model",
    )
