"""Records to JSON values and back, driven by their type hints."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: object) -> Any:
    """Turn records, mappings, sequences, paths and times into plain JSON values.

    >>> from negawatt.core.records import Format
    >>> encode({"q": Format(8)})
    {'q': {'bits': 8, 'group': 0, 'symmetric': True, 'levels': '', 'nested': 0}}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (Path, datetime)):
        return value.isoformat() if isinstance(value, datetime) else str(value)
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [encode(item) for item in value]
    return value


def decode(kind: type[T], value: Any) -> T:
    """Rebuild a record of type `kind` from what `encode` made of it.

    A missing field without a default raises `TypeError` naming it; a field
    this version does not know is ignored, so newer files still open.

    >>> from negawatt.core.records import Format
    >>> decode(Format, {"bits": 4, "group": 64, "symmetric": False}).name
    'int4-g64-asym'
    """
    return typing.cast("T", _decode(kind, value))


def _decode(kind: Any, value: Any) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or isinstance(kind, TypeVar) or origin is typing.Literal:
        return value
    if origin in (typing.Union, types.UnionType):
        return (
            None if value is None else _decode(next(a for a in args if a is not type(None)), value)
        )
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _decode(args[1], item) for key, item in value.items()}
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return tuple(_decode(args[0], item) for item in value)
    if origin is tuple:
        return tuple(_decode(arg, item) for arg, item in zip(args, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return [_decode(args[0], item) for item in value]
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {
            f.name: _decode(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value
        }
        return typing.cast("type", kind)(**known)
    if kind is datetime:
        return datetime.fromisoformat(value)
    if isinstance(kind, type) and issubclass(kind, (Enum, Path)):
        return kind(value)
    return value
