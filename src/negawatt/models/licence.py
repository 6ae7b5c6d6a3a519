"""The licence of a model's weights, where the model itself names one."""

from __future__ import annotations

import re
from pathlib import Path

from negawatt.core.errors import ModelError
from negawatt.models.origin import locate


def licence_of(model: str) -> str:
    """What MODEL says of its licence: its card's front matter, or a GGUF file's own field.

    A package's licence is that of its code, not of the weights in it, and is not asked.

    Args:
        model: A folder, a .gguf file, `package:NAME` or a hub id that was fetched before.

    Returns:
        A name such as `apache-2.0`; empty when none is named, which is not the same as free.
    """
    try:
        found = locate(model)
        path = _fetched(model) if found.kind == "hub" else found.path
        if path is None:
            return ""
        return licence_in(path) if path.is_dir() else _of_gguf(path)
    except (ModelError, OSError):
        return ""


def licence_in(folder: Path) -> str:
    """The licence in the front matter of a folder's card; empty when it names none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = "---\\nlicense: apache-2.0\\n---\\n# A model"
    ...     _ = (Path(folder) / "README.md").write_text(text)
    ...     licence_in(Path(folder))
    'apache-2.0'
    """
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    found = re.search(r"^license:\s*(\S.*?)\s*$", front[1], re.MULTILINE) if front else None
    return found[1].strip("'\"") if found else ""


def _of_gguf(file: Path) -> str:
    from negawatt.models.gguf import header

    return str(header(file, "general.license") or "").strip().lower()


def _fetched(model: str) -> Path | None:
    """Where a hub model lies on this machine; nothing is asked of the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, revision = model.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError):
        return None
