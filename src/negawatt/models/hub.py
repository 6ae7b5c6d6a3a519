"""Fetch a model from a Hugging Face hub into its usual cache."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from negawatt.core.errors import NegawattError, NotAModel, OutputError

#: What a model folder needs; onnx, flax, images and training leftovers stay behind.
_SMALL = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "chat_template*",
)
_SAFE = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")

_PATIENCE = 20.0  # for the first answer [s]


def fetch(model: str, *, endpoint: str | None = None, cache: Path | None = None) -> Path:
    """Download `org/name` or `org/name@revision` and return its folder.

    Files already in the cache are not fetched again; with `HF_HUB_OFFLINE=1`
    the cache alone is used.

    Args:
        model: The hub id.
        endpoint: Another hub's address; `HF_ENDPOINT` or the public hub when None.
        cache: Where to keep it; the hub library's own cache when None.

    Raises:
        NotAModel: no such model or revision, no access, or no network.
        OutputError: the cache cannot be written.
    """
    with _told(model):
        for weights in _weights(model, endpoint):
            folder = _snapshot(model, weights, endpoint, cache)
            if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
                return folder
    raise NotAModel(
        f"{model} holds no safetensors and no pytorch_model.bin",
        fix="give another model, or download one of its .gguf files and give that file",
    )


def fetch_config(model: str, *, endpoint: str | None = None, cache: Path | None = None) -> Path:
    """Download `config.json` of `org/name` or `org/name@revision`, and nothing else.

    Args:
        model: The hub id.
        endpoint: As for `fetch`.
        cache: As for `fetch`.

    Returns:
        The file.

    Raises:
        NotAModel: as for `fetch`, or the model has no such file.
        OutputError: the cache cannot be written.
    """
    from huggingface_hub import hf_hub_download

    repo, _, revision = model.partition("@")
    with _told(model):
        file = hf_hub_download(
            repo, "config.json", revision=revision or None, endpoint=endpoint, cache_dir=cache
        )
    return Path(file)


@contextmanager
def _told(model: str) -> Iterator[None]:
    """Turn what the hub library raises into errors of our own."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise _unreachable(model) from error
    except HfHubHTTPError as error:
        raise _refused(model, error) from error
    except PermissionError as error:
        raise OutputError(
            f"the hub cache may not be written: {error}", fix="set HF_HOME to a folder of yours"
        ) from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise OutputError(
                "the disk of the hub cache is full",
                fix="free some space, or set HF_HOME to a larger disk",
            ) from error
        raise _unreachable(model) from error
    except Exception as error:  # the network library is the hub library's own choice
        raise _unreachable(model) from error


def _snapshot(model: str, weights: Sequence[str], endpoint: str | None, cache: Path | None) -> Path:
    from huggingface_hub import snapshot_download

    repo, _, revision = model.partition("@")
    folder = snapshot_download(
        repo,
        revision=revision or None,
        allow_patterns=[*_SMALL, *weights],
        endpoint=endpoint,
        cache_dir=cache,
    )
    return Path(folder)


def _weights(model: str, endpoint: str | None) -> tuple[tuple[str, ...], ...]:
    """Weight files to ask for, in turn: safetensors, and pickles only where there are none."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    repo, _, revision = model.partition("@")
    try:
        info = HfApi(endpoint=endpoint).model_info(
            repo, revision=revision or None, timeout=_PATIENCE
        )
    except HfHubHTTPError:
        raise
    except Exception:  # noqa: BLE001 - offline by setting, by cable or by proxy: classes differ
        return _SAFE, _PICKLED  # the cache holds whichever was taken then
    names = [file.rfilename for file in info.siblings or ()]
    return (_SAFE if any(name.endswith(".safetensors") for name in names) else _PICKLED,)


def _refused(model: str, error: Exception) -> NegawattError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return NotAModel(
            f"{model} asks for its terms to be accepted",
            fix="accept them on the model's page, then: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotAModel(f"{model} has no such revision", fix="name a branch, tag or commit it has")
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotAModel(
            f"the hub knows no model {model}",
            fix="check the spelling; for a private model: hf auth login",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return NotAModel(
            f"{model} has no config.json",
            fix="give another model, or download one of its .gguf files and give that file",
        )
    return NotAModel(f"the hub refused {model}: {error}", fix="try again later")


def _unreachable(model: str) -> NotAModel:
    return NotAModel(
        f"{model} is not in the local cache and the hub cannot be reached",
        fix="connect once without HF_HUB_OFFLINE, or give a folder, a .gguf file or package:NAME",
    )
