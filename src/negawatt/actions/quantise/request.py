"""What `negawatt quantise` is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from negawatt.compress.quantised import Recipe

HUGGINGFACE = "huggingface"


@dataclass(frozen=True, slots=True)
class Request:
    """One `negawatt quantise`, as the user asked for it."""

    model: str
    recipe: Recipe
    targets: tuple[str, ...]  # what to write: `huggingface` or names of engines
    out: Path
    text: str | None = None
    seed: int = 0
    task: Path | None = None  # labelled examples for an encoder
