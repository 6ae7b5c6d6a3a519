"""The end of the job: artifacts, last checks, a sample, and the outcome."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from negawatt.actions.optimize import conclude
from negawatt.actions.optimize.conclude import Evidence
from negawatt.actions.optimize.job import OptimizeJob
from negawatt.actions.optimize.order import Tools
from negawatt.actions.optimize.plans import divergence
from negawatt.actions.optimize.stages import PROMPT
from negawatt.actions.optimize.trials import Track, Trial
from negawatt.core.errors import RuntimeUnavailable
from negawatt.core.estimate import Estimate
from negawatt.core.outcome import Check, Facts, Outcome
from negawatt.core.protocols import RunOptions
from negawatt.core.records import Decision, Format
from negawatt.core.serving import Serving
from negawatt.energy.model import EnergyModel
from negawatt.models.licence import licence_of
from negawatt.models.load import load_tokenizer

_SAMPLE_TOKENS = 48
_SAME_KL = 1e-3  # nat/token between two carriers of the same weights
_SAME_TOKENS = 64
_COMPANY = ("tokenizer", "special_tokens", "vocab", "merges", "generation_config", "chat_template")


def export(
    job: OptimizeJob,
    decision: Decision,
    evidence: Evidence,
    out: Path,
    serving: Serving | None = None,
) -> tuple[dict[str, str], str]:
    """Write the chosen variant for OpenVINO and for Hugging Face; both are reloaded and checked.

    Args:
        job: That has run.
        decision: Its choice.
        evidence: What it was chosen from.
        out: Where to.
        serving: What the served artifact wants of its sessions; the engine's own ways when None.

    Returns:
        Kind of artifact to folder, relative to `out`; and what the served one says to the prompt.
    """
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    tools, source = job.tools, job.source
    runtime, shop = tools.runtime, tools.workshop
    served, foreign = out / runtime.name, out / "huggingface"
    tokens = job.track.test.exam.windows[:1, :_SAME_TOKENS]
    job.load(runtime)
    shop.call(write_served, tools, job.track, trial, source.folder, served)
    if serving is not None:
        serving.write(served)
    served_logits = shop.call(logits, tools, served, tokens)
    said = shop.call(reply, tools, served, job.track.threads, job.texts.prompt, job.texts.stop)
    tools.progress("export", 0.3)
    job.load(tools.reference)
    card = _card(job, decision, evidence)
    shop.call(write_huggingface, tools, job.track, trial, source.folder, foreign, card)
    text = shop.call(spoken, tools, source.folder, said)
    tools.progress("export", 0.6)
    job.load(tools.reference)  # afresh: the exact weights are twice as large as the 16-bit ones
    wanted = shop.call(searched_logits, tools, job.track, job.reference_folder, trial, tokens)
    job.held = shop.held  # what follows is not the job's own work, but anybody's
    job.load(tools.reference)
    found = {
        f"{runtime.name} artifact, reloaded": served_logits,
        "Hugging Face folder, reloaded by transformers": shop.call(
            reloaded, tools, foreign, tokens
        ),
    }
    for name, values in found.items():
        kl = divergence(wanted, values)
        told = f"KL {kl:.2e} nat/token on {_SAME_TOKENS} tokens, limit {_SAME_KL}"
        job.checks.append(Check(f"{name}, equals the searched model", kl < _SAME_KL, told))
    return {runtime.name: served.name, "huggingface": foreign.name}, text


def outcome(
    job: OptimizeJob,
    found: tuple[Evidence, Decision, EnergyModel, Mapping[tuple[str, Format], float]],
    artifacts: Mapping[str, str],
    said: str,
    facts: Facts,
    *,
    spent: Estimate,
    stated: int,
) -> Outcome:
    """Gather everything into the record that reports are made from."""
    evidence, decision, model, alone = found
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    points = conclude.points(evidence)
    chosen = next(p for p in points if p.variant.name == decision.choice)
    int8 = next(p for p in points if p.variant.name == evidence.int8.name)
    saved = int8.energy.value - chosen.energy.value
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
        sample_text=said,
        stated_memory_bytes=stated,
        peak_memory_bytes=job.held.total,
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


# ------------------------------------------------------------- what workers do


def write_served(tools: Tools, track: Track, trial: Trial, source: Path, out: Path) -> None:
    """The chosen variant for the serving engine, with tokenizer and configuration."""

    def write(place: Path) -> None:
        weights = track.bank.view(trial.plan)
        tools.runtime.compress(track.converted, weights, place, joint=trial.joint)
        add_company(source, place)

    replace(out, write)


def write_huggingface(
    tools: Tools, track: Track, trial: Trial, source: Path, out: Path, card: Mapping[str, str]
) -> None:
    """The chosen variant as safetensors with a quantisation config."""
    from negawatt.compress import export_huggingface

    del tools
    export_huggingface.export(source, track.bank.view(trial.plan), out, card=card)


def logits(tools: Tools, served: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """What the artifact computes, in float32."""
    exact = RunOptions(threads=tools.cores, precision="exact", steps="read")
    with tools.runtime.open(served, exact) as session:
        return np.asarray(session.forward(tokens))


def searched_logits(
    tools: Tools,
    track: Track,
    base: Path,
    trial: Trial,
    tokens: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Logits of the reference engine with the chosen weights decoded into it."""
    place = track.folder / "searched-in-reference"
    shutil.rmtree(place, ignore_errors=True)
    tools.reference.compress(base, track.bank.view(trial.plan), place)
    exact = RunOptions(threads=tools.cores, precision="exact")
    with tools.reference.open(place, exact) as session:
        found = np.asarray(session.forward(tokens))
    shutil.rmtree(place, ignore_errors=True)
    return found


def reloaded(tools: Tools, folder: Path, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits of a plain transformers load, as anybody would do it."""
    from negawatt.compress import export_huggingface

    del tools
    try:
        found: NDArray[np.float32] = export_huggingface.reload_check(folder, tokens, lean=True)
    except Exception as error:  # of any library on the way
        raise RuntimeUnavailable(
            f"{folder} was written, but a plain transformers load of it failed: {error}",
            fix="see `negawatt doctor` for the versions that are installed here",
        ) from error
    return found


def reply(
    tools: Tools, served: Path, threads: int, prompt: Sequence[int], stop: Sequence[int]
) -> list[int]:
    """What the artifact says to the prompt."""
    with tools.runtime.open(served, RunOptions(threads=threads)) as session:
        return list(session.stream(prompt, max_new=_SAMPLE_TOKENS, stop=stop))


def spoken(tools: Tools, source: Path, tokens: Sequence[int]) -> str:
    """Tokens as text."""
    del tools
    return str(load_tokenizer(source).decode(tokens))


# ------------------------------------------------------------------ small parts


def _card(job: OptimizeJob, decision: Decision, evidence: Evidence) -> dict[str, str]:
    trial = next(t for t in evidence.trials if t.name == decision.choice)
    loss = trial.test.loss
    ratio = conclude.relative_energy(trial, evidence)
    return {
        "name": f"{Path(job.order.model).name.removeprefix('package:')}, compressed by negawatt",
        "source": job.order.model,
        "licence": licence_of(job.order.model),
        "Quality": f"perplexity {loss.value:+.2%} ({loss.low:+.2%} to {loss.high:+.2%}) "
        f"against the 16-bit model on {trial.test.tokens:,} tokens of held-out text",
        "Cost": f"{ratio:.3f} of the CPU time of uniform int8 in {evidence.runtime}, measured "
        "in turns",
        "Method": decision.because,
    }


def add_company(source: Path, place: Path) -> None:
    """Configuration and tokenizer, where the engine has not put them there itself."""
    for file in source.iterdir():
        wanted = file.name == "config.json" or file.name.startswith(_COMPANY)
        if wanted and not (place / file.name).exists():
            shutil.copy2(file, place / file.name)


def replace(place: Path, write: Callable[[Path], None]) -> None:
    """Put a new folder where an older result may be, without a moment of half of each."""
    fresh = place.with_name(f"{place.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    write(fresh)
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)
