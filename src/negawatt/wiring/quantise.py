"""From what was asked of `negawatt quantise` to what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from negawatt import wiring
from negawatt.wiring.asked import settings_of, tools_for

if TYPE_CHECKING:
    from negawatt.actions.optimize.order import Progress
    from negawatt.compress.quantised import Activations, Quantised


def quantise(  # noqa: PLR0913  # as many choices as the command has
    model: str,
    *,
    format: str = "int4-g128-asym",  # noqa: A002  # the word of the command and of the records
    method: str = "polished",
    transforms: Sequence[str] = (),
    activations: Activations = "float",
    max_distance: float | None = None,
    head: str = "int8-row-sym",
    targets: Sequence[str] | None = None,
    out: Path | None = None,
    text: str | None = None,
    task: Path | str | None = None,
    progress: Progress = lambda stage, share: None,
    flags: Mapping[str, object] | None = None,
) -> Quantised:
    """Round `model` by one method in one format, and tell what that loses.

    Args:
        model: A Hugging Face folder or hub id, a .gguf file, or `package:NAME`.
        format: Of the linear layers, by name; see `negawatt.core.records.Format`.
        method: Name of a quantiser, such as "rtn", "gptq", "signround" or "polished".
        transforms: Names of transforms that go before, in order: "awq", "smooth", "rotate".
        activations: What enters the layers of an encoder: "float", codes of 8 bits, "int8", or
            "mixed", where a search finds for which layers that is worth it.
        max_distance: With "mixed": how far answers may be from the original's at most, as
            1 - cosine or KL on text to choose by, 90 % sure.
        head: Format of head and embedding; "bf16" leaves them as they are.
        targets: What to write: "huggingface" or names of engines; nothing when empty. For a
            decoder "huggingface" when None, for an encoder "openvino".
        task: Labelled examples for an encoder: a .csv file of sentence, sentence, score, or lines
            of `label text`; STS-B where it is at hand when None.
        out: Folder for what is written and kept; made from the model's name when None.
        text: Calibration and evaluation text; what `optimize` takes when None.
        progress: Told the stage and the share of it that is done.
        flags: Settings by name, such as `{"run.seed": "1"}`.

    Raises:
        NegawattError: what was given cannot be used; the message says how to mend it.
    """
    settings = settings_of(flags)
    from negawatt.actions.quantise.job import quantise as run
    from negawatt.actions.quantise.request import HUGGINGFACE, Request
    from negawatt.compress.quantised import Recipe
    from negawatt.core import registry
    from negawatt.core.records import Format
    from negawatt.models.encoder import find_encoder
    from negawatt.reports import cards

    # An unknown name is refused before any work is done.
    registry.load(registry.QUANTISERS, method)
    for name in transforms:
        registry.load(registry.TRANSFORMS, name)
    if targets is None:
        targets = (HUGGINGFACE,) if find_encoder(model) is None else ("openvino",)
    request = Request(
        model=model,
        recipe=Recipe(
            Format.parse(format),
            method,
            tuple(transforms),
            Format.parse(head),
            activations,
            max_distance,
        ),
        targets=tuple(dict.fromkeys(targets)),
        out=out or wiring.default_out(model),
        text=text,
        seed=settings.run.seed,
        task=None if task is None else Path(task),
    )
    engines = {name: wiring.runtime(name) for name in request.targets if name != HUGGINGFACE}
    tools = tools_for(model, settings, progress)
    found = run(request, tools, engines)
    facts = cards.of_quantised(found, settings.carbon.intensity)
    cards.write(facts, request.out, found.artifacts)
    return found
