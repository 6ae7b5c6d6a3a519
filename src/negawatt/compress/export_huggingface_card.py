"""The model card of an exported folder, in plain words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from negawatt.core.errors import ModelError
from negawatt.core.records import Format
from negawatt.models.origin import locate

# Labels of `card` that have a place of their own.
_PLACED = ("name", "source", "licence")

_WRITES = "tokenizer.decode(model.generate(**tokens, max_new_tokens=40)[0])"

_TEMPLATE = """\
---
library_name: transformers
pipeline_tag: {use}
{front}tags:
- compressed-tensors
- negawatt
---

# {name}

A language model whose weights were made smaller by negawatt, so that the same work takes fewer
joules. `negawatt.json` lists the format of every weight matrix, layer by layer.

- **Made from:** {source}
- **Licence:** {licence}
- **Size of the weights:** {after} here, {before} in the source

## Load it

Needs `transformers`, `torch` and `compressed-tensors` (written with version {version}).

```python
from transformers import AutoTokenizer, {loader}

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {loader}.from_pretrained(folder, dtype="auto")
tokens = tokenizer("Energy is", return_tensors="pt")
print({shown})
```

transformers unpacks the weights at the first step and then computes in {wide}: it gives this
model's words, not its savings. The savings come from an engine that multiplies packed weights.
Do not pass `dequantize=True`: transformers then reads every layer as if it had the format of the
first group, and gives wrong text without a word of warning.

## How it was made

Weights only: activations stay as they were. Layers not counted here kept the source's values.

| Layers | Stored as |
| --- | --- |
{formats}
{facts}
## What to know before using it

{notes}
"""


def model_card(
    card: Mapping[str, str],
    *,
    formats: Mapping[str, Format],
    notes: Sequence[str],
    sizes: tuple[int, int],
    compressed_tensors: str,
    family: str = "",
) -> str:
    """The text of `README.md`.

    Args:
        card: Label to text; see `export`.
        formats: Layer name to format on disk.
        notes: Departures and limits, one sentence each.
        sizes: Weights of the source and of this folder. [B]
        compressed_tensors: Version of the library that packed them.
        family: Class of an encoder, which loads it; empty for a decoder.
    """
    licence = card.get("licence", "").strip()
    facts = [(label, text) for label, text in card.items() if label not in _PLACED]
    return _TEMPLATE.format(
        front=front(card.get("source", ""), licence),
        use=_use(family),
        loader=family or "AutoModelForCausalLM",
        shown="model(**tokens)[0]" if family else _WRITES,
        wide="float32" if family else "16 bits",
        name=_line(card.get("name", "A smaller language model")),
        source=_line(origin_told(card.get("source", "not stated"))),
        licence=_line(licence) or "not stated by the source; ask its authors before passing it on",
        before=_megabytes(sizes[0]),
        after=_megabytes(sizes[1]),
        version=compressed_tensors,
        formats=format_rows({name: fmt.name for name, fmt in formats.items()}),
        facts=_table(facts),
        notes="\n".join(f"- {_line(note)}." for note in notes) or "- Nothing was left out.",
    )


def _use(family: str) -> str:
    """What model hubs call the use of a model of this class.

    >>> _use("BertForSequenceClassification"), _use("")
    ('text-classification', 'text-generation')
    """
    ends = {"ForSequenceClassification": "text-classification", "ForMaskedLM": "fill-mask"}
    known = (use for end, use in ends.items() if family.endswith(end))
    return next(known, "feature-extraction" if family else "text-generation")


def front(source: str, licence: str) -> str:
    """Lines of the front matter that say what the model was made from.

    >>> front("org/name@main", "mit")
    'license: mit\\nbase_model: org/name\\nbase_model_relation: quantized\\n'
    >>> front("./a-folder-that-is-none", "my own words")
    ''
    """
    told = f"license: {licence}\n" if _is_identifier(licence) else ""
    try:
        known = locate(source).kind == "hub"  # a hub takes its own names only
    except ModelError:
        known = False
    if known:
        told += f"base_model: {source.partition('@')[0]}\nbase_model_relation: quantized\n"
    return told


def origin_told(source: str) -> str:
    """The model's name as a card may tell it: where it lay on somebody's disk is nobody's business.

    >>> origin_told("org/name"), origin_told("a random Llama")
    ('org/name', 'a random Llama')
    """
    try:
        found = locate(source)
    except ModelError:
        return source
    local = found.path is not None and not source.startswith("package:")
    return f"{found.path.name} (a local model)" if local and found.path else source


def format_rows(formats: Mapping[str, str]) -> str:
    """Rows of a table: for every kind of layer the formats it got, and how often.

    >>> print(format_rows({"h.0.q": "int4-g32-sym", "h.1.q": "int8-row-sym", "head": "bf16"}))
    | `head` | `bf16` (1) |
    | `q` | `int4-g32-sym` (1), `int8-row-sym` (1) |
    """
    kinds: dict[str, Counter[str]] = {}
    for name, fmt in formats.items():
        kinds.setdefault(name.rsplit(".", 1)[-1], Counter())[fmt] += 1
    rows = [
        f"| `{kind}` | {', '.join(f'`{fmt}` ({count})' for fmt, count in found.most_common())} |"
        for kind, found in sorted(kinds.items())
    ]
    return "\n".join(rows) or "| nothing was quantised | |"


def _is_identifier(licence: str) -> bool:
    """True for the short lower-case names that model hubs list (`apache-2.0`)."""
    return re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence) is not None


def _table(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    rows = "\n".join(f"| {_cell(label)} | {_cell(text)} |" for label, text in facts)
    return f"\n| Fact | Value |\n| --- | --- |\n{rows}\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _megabytes(size: int) -> str:
    """Bytes as people read them.

    >>> _megabytes(269_060_000)
    '269.1 MB'
    """
    return f"{size / 1e6:.1f} MB"
