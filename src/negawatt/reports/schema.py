"""The published JSON Schema of `report.json`, derived from the records themselves."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any

from negawatt.core.outcome import Outcome
from negawatt.reports.jsonfile import VERSION

_Definitions = dict[str, dict[str, Any]]


def outcome_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of what `negawatt.reports.write` puts into `report.json`.

    Fields that this version does not know are allowed, so that a report of a
    later version with the same number still validates.

    >>> schema = outcome_schema()
    >>> schema["$ref"], schema["$defs"]["Estimate"]["properties"]["kind"]["enum"]
    ('#/$defs/Outcome', ['measured', 'modelled', 'assumed'])
    """
    definitions: _Definitions = {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:negawatt:outcome:{VERSION}",
        "title": "Result of negawatt optimize",
        **_schema(Outcome, definitions),
        "$defs": definitions,
    }


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of what `negawatt report --json` prints: "outcome", "ledger" or "comparison".

    >>> schema_of("comparison")["$id"]
    'urn:negawatt:comparison:1'
    """
    from negawatt.reports.book import Printed
    from negawatt.reports.compare import Comparison

    if kind == "outcome":
        return outcome_schema()
    record = {"ledger": Printed, "comparison": Comparison}[kind]
    definitions: _Definitions = {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:negawatt:{kind}:1",
        "title": f"What negawatt report --json prints of a {kind}",
        **_schema(record, definitions),
        "$defs": definitions,
    }


def text_of(kind: str) -> str:
    """The schema as the file that is published."""
    return json.dumps(schema_of(kind), indent=2) + "\n"


def published(kind: str) -> str:
    """The schema file in the package; `text_of` made it."""
    place = files("negawatt.reports") / "schemas" / f"{kind}.schema.json"
    return place.read_text(encoding="utf-8")


def _schema(kind: Any, definitions: _Definitions) -> dict[str, Any]:
    """The schema of one type, in the same cases as `negawatt.core.codec`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(arg, definitions) for arg in args]}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    if origin is tuple and args[-1:] != (Ellipsis,):
        items = [_schema(arg, definitions) for arg in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _schema(args[0], definitions)}
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}  # holds the place while its fields are described
            definitions[kind.__name__] = _record(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return _plain(kind)


def _record(kind: type[Any], definitions: _Definitions) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    members: tuple[Field[Any], ...] = fields(kind)
    needed = [
        member.name
        for member in members
        if member.default is MISSING and member.default_factory is MISSING
    ]
    return {
        "type": "object",
        "description": (kind.__doc__ or "").partition("\n")[0],
        "properties": {m.name: _schema(hints[m.name], definitions) for m in members},
        "required": needed,
    }


def _plain(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if kind is datetime:
        return {"type": "string", "format": "date-time"}
    names = {
        str: "string", Path: "string", bool: "boolean", int: "integer", float: "number",
        types.NoneType: "null",
    }  # fmt: skip
    return {"type": names[kind]} if kind in names else {}  # anything goes where the record says Any
