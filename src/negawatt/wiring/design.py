"""From what was asked of `negawatt design` to what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from negawatt.core.errors import UsageError
from negawatt.wiring.asked import settings_of

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Progress
    from negawatt.energy.chips.exploration import Exploration


def design(
    models: Sequence[str],
    *,
    workloads: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
    limits: Mapping[str, float] | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Exploration:
    """Explore accelerators for some models, from their configurations alone.

    Args:
        models: Folders, hub ids, .gguf files, `package:NAME`, or paths of a `config.json`.
        workloads: `chat`, `batch` or `PROMPT:GEN:BATCH`; the one of the settings when empty.
        choices: What is tried instead of everything: "nodes", "memories", "precisions".
        limits: What is allowed at most: "area" [mm²], "power" [W], "seconds" [s].
        progress: Told the stage and the share of it that is done.
        flags: Settings by name; see `negawatt settings`.

    Returns:
        The designs that nothing beats, the best compromise and why.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = settings_of(flags)
    from negawatt.actions.design import Question
    from negawatt.actions.design import design as run
    from negawatt.core.records import Workload
    from negawatt.energy.chips.cost import Limits
    from negawatt.energy.chips.design import Space

    given: dict[str, Any] = {
        name: _whole(values) if name == "nodes" else tuple(values)
        for name, values in (choices or {}).items()
        if values
    }
    question = Question(
        models=tuple(models),
        workloads=tuple(Workload.parse(one) for one in workloads) or (settings.run.workload,),
        space=replace(Space(), **given),
        limits=Limits(**(limits or {})),
        seed=settings.run.seed,
    )
    return run(question, progress)


def picture(found: Exploration, file: Path) -> None:
    """Write the exploration as a page that needs nothing but itself.

    Raises:
        OutputError: it cannot be written.
    """
    from negawatt.reports.chips import page
    from negawatt.reports.files import replace_all

    replace_all({file: page(found)})


def _whole(values: Sequence[str]) -> tuple[int, ...]:
    try:
        return tuple(int(value) for value in values)
    except ValueError as error:
        raise UsageError(
            f"{','.join(values)} are no nodes", fix="write whole nanometres, such as 7 or 5,3"
        ) from error
