"""`negawatt explain`: read a configuration, split the joules of requests on a device."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from negawatt.actions.design import read_anatomy
from negawatt.energy.catalogue import Catalogue
from negawatt.energy.explain import Explanation
from negawatt.energy.explain import explain as split
from negawatt.energy.foretold import Asked, fewest, room
from negawatt.energy.precisions import kept_bytes, stored_bytes, weight_bits
from negawatt.energy.serving import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One `negawatt explain`, as the user asked it.

    Args:
        model: A folder, hub id, .gguf file, `package:NAME`, or the path of a `config.json`.
        device: By name.
        precision: Of the weights.
        asked: Requests to answer.
    """

    model: str
    device: str
    precision: str = "bf16"
    asked: Asked = field(default_factory=Asked)


def explain(question: Question, known: Catalogue) -> Explanation:
    """Where the joules of requests go.

    Raises:
        ModelError: what was given is no configuration of a known family.
        UsageError: a device or a precision is not known, or a number is absurd.
    """
    profile, anatomy = known.find(question.device), read_anatomy(question.model)
    asked, bits = question.asked, weight_bits(anatomy, question.precision)
    text = asked.batch * kept_bytes(anatomy, asked.prompt + asked.written, asked.context_bits)
    run = Run(
        batch=asked.batch,
        prompt=asked.prompt,
        written=asked.written,
        devices=asked.devices or fewest(stored_bytes(anatomy, bits) + text, room(profile)),
        weight_bits=bits,
        context_bits=asked.context_bits,
    )
    return split(replace(anatomy, name=question.model), run, profile)
