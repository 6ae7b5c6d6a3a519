"""`negawatt design`: read configurations, explore accelerators for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from negawatt.core.errors import NotAModel
from negawatt.core.records import Workload
from negawatt.energy.anatomy import Anatomy
from negawatt.energy.chips.cost import Limits
from negawatt.energy.chips.design import Space
from negawatt.energy.chips.exploration import Asked, Exploration, answer
from negawatt.energy.chips.explore import Progress
from negawatt.energy.chips.mix import served
from negawatt.energy.configs import anatomy_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One `negawatt design`, as the user asked it.

    Args:
        models: Folders, hub ids, .gguf files, `package:NAME`, or paths of a `config.json`.
        workloads: What each is run for.
        space: What is tried.
        limits: What is allowed.
        seed: Of the draws of constants.
    """

    models: tuple[str, ...]
    workloads: tuple[Workload, ...]
    space: Space = field(default_factory=Space)
    limits: Limits = field(default_factory=Limits)
    seed: int = 0


def design(question: Question, progress: Progress = lambda stage, share: None) -> Exploration:
    """The accelerators that nothing beats for some models.

    Raises:
        ModelError: what was given is no configuration of a known family.
        UsageError: a limit is absurd, or no design keeps all; the message names the nearest.
    """
    anatomies = [read_anatomy(model) for model in question.models]
    asked = Asked(
        models=question.models,
        workloads=tuple(workload.spec for workload in question.workloads),
        mix=served(anatomies, question.workloads),
        space=question.space,
        limits=question.limits,
        seed=question.seed,
    )
    return answer(asked, progress)


def read_anatomy(model: str) -> Anatomy:
    """What a model consists of, from its configuration alone.

    Args:
        model: A folder, hub id, .gguf file, `package:NAME`, or the path of a `config.json`.

    Raises:
        ModelError: there is no configuration, or it is of a family not known.
    """
    return anatomy_of(_config(model), model)


def _config(model: str) -> Mapping[str, Any]:
    from negawatt.models import hub
    from negawatt.models.opened import read_config
    from negawatt.models.origin import locate

    file = Path(model).expanduser()
    if file.suffix == ".json" and file.is_file():
        return read_config(file)
    origin = locate(model)
    if origin.kind == "hub":
        return read_config(hub.fetch_config(model))
    if origin.path is None:
        raise NotAModel(f"{model} has no place on this machine", fix="report this as a bug")
    if origin.kind == "gguf":
        from negawatt.models.gguf import open_gguf

        return open_gguf(origin.path).plan.config
    return read_config(origin.path / "config.json")
