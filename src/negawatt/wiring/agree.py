"""From what was asked of `negawatt agree` to what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import wiring
from negawatt.wiring.asked import settings_of, tools_for

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Progress
    from negawatt.models.agreement import Agreed


def agree(  # noqa: PLR0913  # as many choices as the command has
    base: str,
    variant: str,
    *,
    slices: Mapping[str, str] | None = None,
    tokens: int = 4096,
    decisions: int = 24,
    context: int = 24,
    out: Path | None = None,
    html: Path | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Agreed:
    """Tell whether `variant` decides as `base` does, and which slices of text lose most.

    Args:
        base: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        variant: Made of it: a folder that `quantise`, `optimize` or `prune` wrote, or any model
            that reads the same tokens.
        slices: Name of a language or domain to a file or folder of its text; what `optimize` is
            tested on when None.
        tokens: Of every slice that are scored.
        decisions: Whose attributions are compared.
        context: Tokens read before each.
        out: Folder for what is kept; made from the base's name when None.
        html: Also write a page with the tokens that decisions rest on.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.seed": "1"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = settings_of(flags)
    from negawatt.actions.agree.job import Wish
    from negawatt.actions.agree.job import agree as run

    wish = Wish(
        base=base,
        variant=variant,
        out=out or wiring.default_out(base),
        slices=dict(slices or {}),
        tokens=tokens,
        decisions=decisions,
        context=context,
        seed=settings.run.seed,
    )
    found = run(wish, tools_for(base, settings, progress))
    if html is not None:
        from negawatt.reports.agreed import page
        from negawatt.reports.files import replace_all

        replace_all({html: page(found)})
    return found
