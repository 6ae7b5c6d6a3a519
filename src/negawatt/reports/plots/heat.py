"""Which layer got which format: blocks across, matrices down, colour for bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from negawatt.core.outcome import LayerChoice, Outcome
from negawatt.core.records import Format, Layer
from negawatt.reports.figures import amount, listing
from negawatt.reports.plots.plot import Plot, Trace, axis, layout, safe, wrapped

#: Short names that readers of transformer papers know, in their usual order.
_ORDER = ("q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down")
#: From so many bits per weight, scales counted, the page's colour ramp takes this step.
_SHADES = ((12.0, 0), (7.0, 1), (5.5, 2), (4.4, 3), (3.7, 4), (2.7, 5), (0.0, 6))


def plot(outcome: Outcome) -> Plot | None:
    """The map of chosen bits; None when the outcome tells of no layers."""
    blocks = sorted({c.layer.block for c in outcome.layers if c.layer.block is not None})
    if not blocks:
        return None
    names = _row_names(outcome.layers)
    outside = [choice for choice in outcome.layers if choice.layer.block is None]
    formats = ordered(choice.chosen for choice in outcome.layers)
    split = len(blocks) / (len(blocks) + 3.0) if outside else 1.0
    traces = [_map(outcome.layers, blocks, names, formats)]
    if outside:
        traces.append(_column(outside, formats))
    traces += [_key(name) for name in formats]
    return Plot(
        name="layers",
        title="Which layer got how many bits",
        caption="One cell is one weight matrix; embedding and head stand at the right. Hover shows"
        " what each format would have cost and harmed, the next-best format and the reason.",
        alt=_alt(outcome.layers),
        traces=traces,
        layout=layout(
            xaxis=axis("block", domain=[0, split - 0.02 if outside else 1], showgrid=False,
                       tickangle=0, nticks=24),
            yaxis=axis("", autorange="reversed", showgrid=False, ticksuffix="  "),
            xaxis2=axis("", domain=[split + 0.04, min(1.0, split + 0.04 + 1.6 * split / len(blocks))], showgrid=False, showticklabels=False,
                        showline=False, ticks=""),
            # As many rows as beside it, so that a cell is as high here as there.
            yaxis2=axis("", anchor="x2", range=[len(set(names.values())) - 0.5, -0.5],
                        showgrid=False, side="right", showline=False, ticks=""),
            margin={"l": 56, "r": 24, "t": 36, "b": 48},
        ),
        height=120 + 34 * len(set(names.values())),
    )  # fmt: skip


def short(layer: Layer) -> str:
    """The matrix's short name: `q`, `down`, `embed_tokens`.

    >>> short(Layer("model.layers.3.self_attn.q_proj", "linear", 4, 4, block=3))
    'q'
    """
    return layer.name.rsplit(".", 1)[-1].removesuffix("_proj")


def inside(layer: Layer) -> str:
    """The matrix's path inside its block, when its short name is not enough.

    >>> inside(Layer("model.layers.3.mlp.experts.0.up_proj", "linear", 4, 4, block=3))
    'mlp.experts.0.up'
    """
    _, _, path = layer.name.partition(f".{layer.block}.")
    return (path or layer.name).removesuffix("_proj")


def _row_names(choices: Sequence[LayerChoice]) -> dict[str, str]:
    """Layer name -> row, the short name wherever a block has it once."""
    members = [choice.layer for choice in choices if choice.layer.block is not None]
    counts = Counter((layer.block, short(layer)) for layer in members)
    repeated = {name for (_, name), count in counts.items() if count > 1}
    rows = {
        layer.name: inside(layer) if short(layer) in repeated else short(layer)
        for layer in members
    }  # fmt: skip
    found = list(dict.fromkeys(rows.values()))
    order = [name for name in _ORDER if name in found]
    order += [name for name in found if name not in _ORDER]
    return {name: row for row in order for name, r in rows.items() if r == row}


def _map(
    choices: Sequence[LayerChoice],
    blocks: Sequence[int],
    names: dict[str, str],
    formats: list[str],
) -> Trace:
    rows = list(dict.fromkeys(names.values()))
    by_cell = {(names[c.layer.name], c.layer.block): c for c in choices if c.layer.name in names}
    cells = [[by_cell.get((row, block)) for block in blocks] for row in rows]
    return _cells(cells, formats, x=list(blocks), y=rows)


def _column(choices: Sequence[LayerChoice], formats: list[str]) -> Trace:
    names = [{"embed_tokens": "embed", "lm_head": "head"}.get(short(c.layer), short(c.layer))
             for c in choices]  # fmt: skip
    cells = _cells([[choice] for choice in choices], formats, x=[""], y=names)
    return {**cells, "xaxis": "x2", "yaxis": "y2"}


def _cells(
    cells: list[list[LayerChoice | None]], formats: list[str], *, x: list[Any], y: list[str]
) -> Trace:
    return {
        "type": "heatmap", "x": x, "y": y, "xgap": 2, "ygap": 2, "showscale": False,
        "z": [[None if c is None else formats.index(c.chosen) for c in row] for row in cells],
        "zmin": -0.5, "zmax": len(formats) - 0.5, "colorscale": _scale(formats),
        "text": [["" if c is None else f"{Format.parse(c.chosen).bits}" for c in row]
                 for row in cells],
        "texttemplate": "%{text}", "textfont": {"size": 11}, "hoverongaps": False,
        "customdata": [["" if c is None else _story(c) for c in row] for row in cells],
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip


def ordered(names: Iterable[str]) -> list[str]:
    """Format names, each once, from the widest to the narrowest.

    >>> ordered(["int4-g128-sym", "int8-row-sym", "int4-g32-asym", "int8-row-sym"])
    ['int8-row-sym', 'int4-g32-asym', 'int4-g128-sym']
    """
    return sorted(set(names), key=lambda name: (-_width(name), name))


def colour(name: str) -> str:
    """The page's colour for a format."""
    width = _width(name)
    return f"var(--bits-{next(shade for least, shade in _SHADES if width >= least)})"


def _width(name: str) -> float:
    """Bits per weight, scales counted, of a matrix of usual size."""
    return Format.parse(name).bits_per_weight(4096)


def _scale(formats: list[str]) -> list[list[Any]]:
    """One flat step per format, so that colours do not blend."""
    count = len(formats)
    return [
        [edge / count, colour(name)]
        for index, name in enumerate(formats)
        for edge in (index, index + 1)
    ]


def _key(name: str) -> Trace:
    """An entry of the legend; a heat map has none of its own for single steps."""
    return {
        "type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": safe(name),
        "marker": {"symbol": "square", "size": 13, "color": colour(name)}, "showlegend": True,
        "hoverinfo": "skip",
    }  # fmt: skip


def _story(choice: LayerChoice) -> str:
    layer = choice.layer
    lines = [
        f"<b>{safe(layer.name)}</b>  {layer.rows} × {layer.cols}",
        f"chosen: <b>{safe(choice.chosen)}</b>, next best: {safe(choice.next_best)}",
        safe(wrapped(choice.because)),
        "<br>format: energy (modelled), expected KL if this layer alone changed",
    ]
    for name in ordered(choice.energy):
        harm = choice.sensitivity.get(name)
        told = "unknown" if harm is None else f"{1000 * harm:.3g} mnat/token"
        mark = "▸ " if name == choice.chosen else "   "
        lines.append(f"{mark}{safe(name)}: {amount(choice.energy[name], 'J/token')}, {told}")
    return "<br>".join(lines)


def _alt(choices: Sequence[LayerChoice]) -> str:
    counts = Counter(choice.chosen for choice in choices)
    words = listing(f"{count} layers in {name}" for name, count in counts.most_common())
    return f"Heat map of the chosen bits by block and matrix: {words}. The table below lists all."
