"""What workers do for an encoder. Engines are imported where they are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize.order import Order, Tools
from negawatt.actions.quantise import work as tasks
from negawatt.compress.bank import BankView
from negawatt.compress.quantised import Speed
from negawatt.compress.race import centre, race_reading, ratio
from negawatt.core.protocols import RunOptions, Runtime
from negawatt.core.records import Workload
from negawatt.models.corpus import split
from negawatt.models.encoder import ending_of, pooling_of
from negawatt.models.likeness import Answers, Example, answers
from negawatt.models.load import load_tokenizer
from negawatt.models.prose import load_text
from negawatt.models.source import ModelSource

_WINDOW = 126  # tokens of text in a window, to which two marks are added
_ROUNDS = 8


def read_windows(
    tools: Tools, order: Order, source: ModelSource
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Windows to calibrate on and to hold out, int64 [windows, positions], and what they are."""
    tokenizer, effort = load_tokenizer(source.folder), order.effort
    corpus = split(
        load_text(order.text, tools.data),
        tokenizer,
        window=_WINDOW,
        calibration_tokens=effort.calibration_tokens,
        selection_tokens=_WINDOW,
        test_tokens=effort.test_tokens,
        seed=order.seed,
    )
    marks = tokenizer.cls_token_id, tokenizer.sep_token_id
    told = corpus.texts["test"]
    return _framed(corpus.calibration, *marks), _framed(corpus.test, *marks), told


def _framed(windows: NDArray[np.int64], first: int | None, last: int | None) -> NDArray[np.int64]:
    """Windows between the marks that the model expects around a text."""
    if first is not None and not (windows[:, 0] == first).all():
        windows = np.insert(windows, 0, first, axis=1)
    return windows if last is None else np.append(windows, np.full((len(windows), 1), last), 1)


def read_all(
    tools: Tools,
    source: ModelSource,
    place: Path,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    stage: str = "reference",
    engine: Runtime | None = None,
) -> Answers:
    """What a model says of everything: in the reference engine in float32, or as it is served."""
    ending = ending_of(source.architecture), pooling_of(source.folder)
    options = RunOptions(threads=tools.cores, precision="fast" if engine else "exact", steps="read")
    with (engine or tools.reference).open(place, options) as session:
        return answers(
            session,
            windows,
            examples,
            load_tokenizer(source.folder),
            ending,
            lambda share: tools.progress(stage, share),
        )


def read_plain(tools: Tools, place: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the base says of some tokens, as it says it."""
    options = RunOptions(threads=tools.cores, precision="exact", steps="read")
    with tools.reference.open(place, options) as session:
        return np.asarray(session.forward(tokens))


def grade_all(
    tools: Tools,
    source: ModelSource,
    weights: BankView,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    place: Path,
) -> Answers:
    """The same of the rounded model."""
    tasks.build(tools, source, weights, place)
    return read_all(tools, source, place, windows, examples, "grade")


def read_served(
    tools: Tools,
    engine: Runtime,
    source: ModelSource,
    windows: NDArray[np.int64],
    examples: Sequence[Example],
    place: Path,
) -> Answers:
    """What an artifact says in the very form in which an engine serves it."""
    return read_all(tools, source, place, windows, examples, "export", engine)


def raced(
    tools: Tools,
    engine: Runtime,
    source: ModelSource,
    places: tuple[Path, Path],
    tokens: int,
) -> Speed:
    """Read one text in turns, with the weights as they were and with the artifact, on one thread."""
    wide, out = places
    if not wide.exists():
        engine.convert(source.folder, wide)
    vocabulary = next(one.rows for one in source.layers if one.kind == "embedding")
    options = RunOptions(threads=1, steps="read")
    with (
        engine.open(wide, options) as base,
        engine.open(wide, replace(options, precision="exact")) as single,
        engine.open(out, options) as own,
    ):
        halves = race_reading(
            {"wide": base, "single": single, "own": own},
            Workload(tokens, 1),
            rounds=_ROUNDS,
            vocabulary=vocabulary,
            clock=tools.clock,
        )
    taken = {name: half.cpu for name, half in halves.items()}
    unit = "s/text"
    return Speed(
        engine=f"{engine.name} {engine.version}",
        tokens=tokens,
        wide=centre(taken["wide"], unit=unit).scaled(tokens),
        float32=centre(taken["single"], unit=unit).scaled(tokens),
        narrow=centre(taken["own"], unit=unit).scaled(tokens),
        ratio=ratio(taken["own"], taken["wide"]),
        float32_ratio=ratio(taken["own"], taken["single"]),
    )
