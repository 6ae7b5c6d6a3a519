"""The end of the job: artifacts, last checks, a sample, and the outcome."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize import conclude, memory
from negawatt.actions.optimize.conclude import Evidence
from negawatt.actions.optimize.job import OptimizeJob, divergence
from negawatt.compress import export_huggingface
from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.estimate import Estimate
from negawatt.core.outcome import Check, Facts, Outcome
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Decision, Format
from negawatt.energy.model import EnergyModel
from negawatt.models.load import load_tokenizer

PROMPT = "The cheapest energy is the energy that is never used. For a computer, this means"
_SAMPLE_TOKENS = 48
_SAME_KL = 1e-3  # nat/token between two carriers of the same weights
_RELOAD = """
import sys
from pathlib import Path
import numpy as np
from negawatt.compress.export_huggingface import reload_check
folder, tokens, logits = map(Path, sys.argv[1:])
np.save(logits, reload_check(folder, np.load(tokens)))
"""
_COMPANY = ("tokenizer", "special_tokens", "vocab", "merges", "generation_config", "chat_template")


def export(job: OptimizeJob, decision: Decision, evidence: Evidence, out: Path) -> dict[str, str]:
    """Write the chosen variant for OpenVINO and for Hugging Face; both are reloaded and checked.

    Returns:
        Kind of artifact to folder, relative to `out`.
    """
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    runtime = job.tools.runtime
    weights = job.track.bank.view(trial.plan)
    served = out / runtime.name

    def write(place: Path) -> None:
        runtime.compress(job.track.converted, weights, place, joint=trial.joint)
        _add_company(job.source.folder, place)

    _replace(served, write)
    job.tools.progress("export", 0.3)
    card = _card(job, decision, evidence)
    folder = export_huggingface.export(job.source.folder, weights, out / "huggingface", card=card)
    job.tools.progress("export", 0.6)
    _check_carriers(job, served, folder, trial.plan)
    return {runtime.name: served.name, "huggingface": folder.name}


def outcome(
    job: OptimizeJob,
    found: tuple[Evidence, Decision, EnergyModel, Mapping[tuple[str, Format], float]],
    artifacts: Mapping[str, str],
    facts: Facts,
    *,
    spent: Estimate,
    stated: int,
    peak: int,
) -> Outcome:
    """Gather everything into the record that reports are made from."""
    evidence, decision, model, alone = found
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    points = conclude.points(evidence)
    chosen = next(p for p in points if p.variant.name == decision.choice)
    int8 = next(p for p in points if p.variant.name == evidence.int8.name)
    saved = int8.energy.value - chosen.energy.value
    sample = _sample(job, artifacts)
    return Outcome(
        facts=facts,
        points=points,
        decision=decision,
        layers=conclude.layer_choices(model, trial.plan, alone),
        before=conclude.parts(model, evidence.int8.plan),
        after=conclude.parts(model, trial.plan, trial.joint),
        checks=tuple(job.checks),
        steps=tuple(job.journal.steps),
        sample_prompt=PROMPT,
        sample_text=sample,
        stated_memory_bytes=stated,
        peak_memory_bytes=peak,
        job_energy=spent,
        payback_tokens=spent.value / saved if saved > 0 else None,
        artifacts=dict(artifacts),
    )


def check_unseen(job: OptimizeJob, decision: Decision, evidence: Evidence) -> None:
    """Does the choice keep its promise on text that had no part in choosing it?"""
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    loss = trial.test.loss
    job.checks.append(
        Check(
            "the loss budget holds on unseen text",
            loss.value <= evidence.max_loss,
            f"{loss.value:.2%} ({loss.low:.2%} to {loss.high:.2%}) against {evidence.max_loss:.2%}",
        )
    )
    int8 = evidence.int8
    beats = trial.name == int8.name or conclude.relative_energy(trial, evidence) <= 1.0
    job.checks.append(
        Check(
            "no dearer than uniform int8",
            beats,
            f"{conclude.relative_energy(trial, evidence):.3f} of its CPU time for the workload",
        )
    )


def _check_carriers(
    job: OptimizeJob, served: Path, folder: Path, plan: Mapping[str, Format]
) -> None:
    """The artifact, the searched weights and the Hugging Face folder must agree."""
    tokens = job.track.test.exam.windows[:1, :64]
    exact = RunOptions(threads=job.tools.cores, precision="exact")
    with job.tools.runtime.open(served, exact) as session:
        logits = session.forward(tokens)
    memory.release()
    wanted = _searched_logits(job, plan, tokens)
    memory.release()
    for name, found in (
        (f"{job.tools.runtime.name} artifact, reloaded", logits),
        ("Hugging Face folder, reloaded by transformers", _foreign_logits(folder, tokens)),
    ):
        kl = divergence(wanted, found)
        job.checks.append(
            Check(
                f"{name}, equals the searched model",
                kl < _SAME_KL,
                f"KL {kl:.2e} nat/token on 64 tokens, limit {_SAME_KL}",
            )
        )


def _searched_logits(
    job: OptimizeJob, plan: Mapping[str, Format], tokens: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits of the reference engine with the chosen weights decoded into it."""
    place = job.track.folder / "searched-in-reference"
    shutil.rmtree(place, ignore_errors=True)
    reference = job.tools.reference
    base = job.reference_folder
    reference.compress(base, job.track.bank.view(plan), place)
    exact = RunOptions(threads=job.tools.cores, precision="exact")
    with reference.open(place, exact) as session:
        logits: NDArray[np.float32] = session.forward(tokens)
    shutil.rmtree(place, ignore_errors=True)
    return logits


def _foreign_logits(folder: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits of a plain transformers load, in a process of its own.

    That library decodes the whole model in memory at once; its needs are not
    part of the job's and end with the child.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = Path(scratch) / "tokens.npy", Path(scratch) / "logits.npy"
        np.save(given, tokens)
        # Not multiprocessing, whose child would run the user's own script again.
        command = [sys.executable, "-c", _RELOAD, str(folder), str(given), str(answer)]
        child = subprocess.run(  # noqa: S603  # a fixed program, no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if child.returncode:
            reason = (child.stderr.strip().splitlines() or [f"status {child.returncode}"])[-1]
            raise RuntimeUnavailable(
                f"{folder} was written, but a plain transformers load of it failed: {reason}",
                fix="see `negawatt doctor` for the versions that are installed here",
            )
        logits: NDArray[np.float32] = np.load(answer)
    return logits


def _sample(job: OptimizeJob, artifacts: Mapping[str, str]) -> str:
    tokenizer = load_tokenizer(job.source.folder)
    prompt = tokenizer(PROMPT)["input_ids"]
    stop = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    runtime = job.tools.runtime
    place = job.order.out / artifacts[runtime.name]
    with runtime.open(place, RunOptions(threads=job.track.threads)) as session:
        tokens = list(session.stream(prompt, max_new=_SAMPLE_TOKENS, stop=stop))
    return str(tokenizer.decode(tokens))


def _card(job: OptimizeJob, decision: Decision, evidence: Evidence) -> dict[str, str]:
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    loss = trial.test.loss
    ratio = conclude.relative_energy(trial, evidence)
    return {
        "name": f"{Path(job.order.model).name.removeprefix('package:')}, compressed by negawatt",
        "source": job.order.model,
        "Quality": f"perplexity {loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%}) "
        f"against the 16-bit model on {trial.test.tokens:,} tokens of held-out text",
        "Cost": f"{ratio:.3f} of the CPU time of uniform int8 in {evidence.runtime}, measured "
        "in turns",
        "Method": decision.because,
    }


def _add_company(source: Path, place: Path) -> None:
    """Configuration and tokenizer, where the engine has not put them there itself."""
    for file in source.iterdir():
        wanted = file.name == "config.json" or file.name.startswith(_COMPANY)
        if wanted and not (place / file.name).exists():
            shutil.copy2(file, place / file.name)


def _replace(place: Path, write: Callable[[Path], None]) -> None:
    """Put a new folder where an older result may be, without a moment of half of each."""
    fresh = place.with_name(f"{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    write(fresh)
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)
