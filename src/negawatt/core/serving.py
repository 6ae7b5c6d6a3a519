"""How an artifact is meant to be served, in a file beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from negawatt.core.caches import CACHES, Cache
from negawatt.core.codec import decode, encode
from negawatt.core.errors import BrokenWeights


@dataclass(frozen=True, slots=True)
class Serving:
    """What an artifact wants of a session that does not say otherwise.

    Args:
        cache: Bits of the key-value cache.
        because: Why, for people.
    """

    FILE: ClassVar[str] = "negawatt-serving.json"

    cache: Cache = "own"
    because: str = ""

    def write(self, folder: Path) -> None:
        """Put it into an artifact's folder."""
        text = json.dumps(encode(self), ensure_ascii=False, indent=1)
        (folder / self.FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Serving:
        """What a folder says; the engine's own ways where it says nothing.

        Raises:
            BrokenWeights: the file is there and makes no sense.
        """
        path = folder / cls.FILE
        if not path.is_file():
            return cls()
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            found = decode(cls, dict(told))
        except (OSError, ValueError, TypeError) as error:
            raise BrokenWeights(f"{path} cannot be read: {error}", fix=f"delete {path}") from error
        if not told or found.cache not in CACHES:
            raise BrokenWeights(
                f"{path} asks for no cache that is known: {told}",
                fix=f"let its cache be one of {', '.join(CACHES)}",
            )
        return found
