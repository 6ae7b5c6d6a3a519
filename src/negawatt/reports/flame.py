"""An explanation as a flame graph: one HTML file, or a file for speedscope.

Width is joules. From the top: phase, operation, layer, and the level of the machine that takes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from negawatt.energy.explain import Explanation
from negawatt.energy.explain.leaves import LEVELS, Leaf, Level, layer_name, total
from negawatt.reports.figures import Sources, amount, plain
from negawatt.reports.plots.plot import Plot, Trace, layout, safe
from negawatt.reports.webpage import render

_COLOURS = {level: f"var(--part-{index})" for index, level in enumerate(LEVELS)}
_DEEP = 4  # phase, operation, layer, level


def speedscope(found: Explanation) -> str:
    """The leaves as a sampled profile in the format of speedscope.app; weights are joules.

    The weights add up to the joules of the batch; the format has no unit for energy, so it says none.
    """
    frames: dict[str, int] = {}
    samples = [
        [frames.setdefault(name, len(frames)) for name in _path(leaf)] for leaf in found.leaves
    ]
    weights = [leaf.joules for leaf in found.leaves]
    profile = {
        "type": "sampled",
        "name": f"{found.model} on {found.device}, joules",
        "unit": "none",
        "startValue": 0,
        "endValue": total(found.leaves),
        "samples": samples,
        "weights": weights,
    }
    content = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": f"joules of {found.model} on {found.device}",
        "exporter": "negawatt explain",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": [profile],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def page(found: Explanation) -> str:
    """The explanation as HTML text that needs nothing but itself."""
    sources = Sources()
    drawn = {"flame": flame(found)}
    content = {
        "title": f"Where the joules of {found.model} go",
        "found": found,
        "work": work_in_words(found),
        "energy": sources.figure(found.per_token, "energy of a token", unit="J"),
        "tables": [
            ("By level of the machine", found.levels),
            ("By phase", found.phases),
            ("By operation", found.operations),
        ],
        "levers": [
            (lever, sources.figure(lever.per_token, f"energy of a token with {lever.name}"))
            for lever in found.levers
        ],
        "plots": drawn,
    }
    return render("explanation.html", content, drawn, sources)


def work_in_words(found: Explanation) -> str:
    """What was asked of which device."""
    devices = found.device if found.devices == 1 else f"{found.devices} × {found.device}"
    requests = "one request" if found.batch == 1 else f"{found.batch:g} requests at once"
    return f"{devices}: {requests}, {found.prompt:g} tokens read and {found.written:g} written for each"


def flame(found: Explanation) -> Plot:
    """Boxes in boxes; a click goes into one."""
    return Plot(
        name="flame",
        title="The flame graph",
        caption="From the top: everything, phase, operation, layer, level of the machine. Width is "
        "energy; click a box to go into it, and the top one to come back.",
        alt="Boxes in boxes. "
        + " ".join(f"{group.name}: {group.share:.0%}." for group in found.levels),
        traces=[_boxes(found.leaves)],
        layout=layout(margin={"l": 0, "r": 0, "t": 8, "b": 8}),
        height=560,
    )


def _path(leaf: Leaf) -> tuple[str, str, str, str]:
    return (leaf.phase, leaf.operation, layer_name(leaf.layer), LEVELS[leaf.level])


def _boxes(leaves: Sequence[Leaf]) -> Trace:
    """An icicle; a box holds exactly what stands in it."""
    inside: dict[tuple[str, ...], list[Leaf]] = {}
    for leaf in leaves:
        path = _path(leaf)
        for depth in range(_DEEP + 1):
            inside.setdefault(path[:depth], []).append(leaf)
    whole = total(leaves)
    paths = list(inside)
    values = [total(inside[path]) for path in paths]
    stories = [
        f"<b>{safe(' › '.join(path) or 'everything')}</b><br>{amount(value, 'J')}, "
        f"{plain(100 * value / whole)} %"
        for path, value in zip(paths, values, strict=True)
    ]
    return {
        "type": "icicle",
        "ids": ["/".join(("all", *path)) for path in paths],
        "parents": ["/".join(("all", *path[:-1])) if path else "" for path in paths],
        "labels": [safe(path[-1]) if path else "everything" for path in paths],
        "values": values,
        "branchvalues": "total",
        "leaf": {"opacity": 1},
        "tiling": {"orientation": "v"},
        "sort": False,
        "marker": {
            "colors": [_colour(path, inside[path]) for path in paths],
            "line": {"width": 1, "color": "var(--paper)"},
        },
        "customdata": stories,
        "hovertemplate": "%{customdata}<extra></extra>",
        "texttemplate": "%{label} %{percentRoot:.0%}",
        "pathbar": {"visible": False},
    }  # fmt: skip


def _colour(path: tuple[str, ...], leaves: Sequence[Leaf]) -> Any:
    """Of a level, or of the level that takes most of a box."""
    if not path:
        return "var(--part-4)"
    sums: dict[Level, float] = {}
    for leaf in leaves:
        sums[leaf.level] = sums.get(leaf.level, 0.0) + leaf.joules
    return _COLOURS[max(sums, key=sums.__getitem__)]
