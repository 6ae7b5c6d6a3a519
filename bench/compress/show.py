"""The rows as a table, a picture, and sentences about the bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plotly.subplots import make_subplots

Row = Mapping[str, Any]

_HEAD = (
    "",
    "MB",
    "KL",
    "perplexity",
    "top-1",
    "CPU",
    "read",
    "write",
    "passes",
    "made in s",
    "peak MB",
    "paid back",
)
_NOISY = 0.1


def _value(row: Row, part: str, what: str) -> float:
    return float(row[part][what]["value"])


def line(row: Row) -> list[str]:
    """One row in words."""
    cells = [f"{row['who']} {row['name']}", f"{row['bytes'] / 1e6:.1f}"]
    if "quality" in row:
        loss = row["quality"]["loss"]
        cells += [
            f"{_value(row, 'quality', 'kl'):.4f}",
            f"{loss['value']:+.2%} ({100 * loss['low']:+.1f} to {100 * loss['high']:+.1f})",
            f"{_value(row, 'quality', 'top1'):.3f}",
        ]
    else:
        cells += [""] * 3
    if "cpu" in row:
        passes = row["cpu"]["passes"]
        cells += [f"{_value(row, 'cpu', what):.3f}" for what in ("workload", "read", "write")]
        loud = "*" if max(row["cpu"]["others_busy"]) > _NOISY else ""
        cells.append(f"{min(passes):.3f}-{max(passes):.3f}{loud}")
    else:
        cells += [""] * 4
    spent = row.get("spent", {})
    cells.append(f"{spent['cpu_seconds']:.0f}" if "cpu_seconds" in spent else "")
    cells.append(f"{spent['peak_bytes'] / 1e6:.0f}" if "peak_bytes" in spent else "")
    after = row.get("payback_tokens", {}).get("Q8_0")
    cells.append("" if after is None else f"{after:.2g}")
    for name, task in sorted(row.get("tasks", {}).items()):
        accuracy, change = task["accuracy"], task["change"]
        reach = change[2] - change[0]
        cells.append(f"{name} {accuracy[0]:.3f} ({change[0]:+.3f} ± {reach:.3f})")
    return cells


def table(rows: Sequence[Row]) -> str:
    """All rows in columns; a star says that other processes were busy."""
    lines = [list(_HEAD), *(line(row) for row in rows)]
    width = max(map(len, lines))
    lines = [one + [""] * (width - len(one)) for one in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(wide) for cell, wide in zip(one, widths, strict=True)).rstrip()
        for one in lines
    )


def sentence(bar: str, found: Mapping[str, Any]) -> str:
    """A bar, whether it is met, and by how much."""
    state = {True: "met", False: "MISSED", None: "not judged"}[found["met"]]
    if "because" in found:
        detail = found["because"]
    elif "levels" in found:
        detail = "; ".join(
            f"at {one['loss']:.0%} {one['ratio']:.3f} ({one['ours']} beside {one['peer']})"
            for one in found["levels"]
            if one["ratio"] is not None
        )
        detail = detail or "at no loss do both sides have a point"
    elif "points" in found:
        detail = _front(found)
    else:
        detail = f"ratio {found['ratio']:.3f} by {found.get('ours') or found.get('peer')}"
        if found.get("cpu_seconds_ratio"):
            detail += f", in {found['cpu_seconds_ratio']:.2f} times the CPU seconds"
    return f"{state:10} {bar}: {detail}"


def _front(found: Mapping[str, Any]) -> str:
    above = found["above"]
    told = f"{found['of'] - len(above)} of {found['of']} points of peers on or above ours"
    if found["worst_reached"] is not None:
        told += f", largest ratio {found['worst_reached']:.3f}"
    ratios = {one["peer"]: one["ratio"] for one in found["points"]}
    named = [
        f"{one} {'unreached' if ratios[one] is None else f'{ratios[one]:.3f}'}" for one in above
    ]
    return told + (f"; below ours: {', '.join(named)}" if named else "")


def picture(rows: Sequence[Row], yardstick: str, file: Path) -> None:
    """KL against CPU time and against bytes, side by side."""
    figure = make_subplots(1, 2, shared_yaxes=True)
    whole = [row for row in rows if "quality" in row and "cpu" in row]
    colours = (
        "#0072b2",
        "#d55e00",
        "#009e73",
        "#cc79a7",
        "#e69f00",
        "#56b4e9",
        "#999999",
        "#000000",
    )
    for number, who in enumerate(dict.fromkeys(row["who"] for row in whole)):
        of = [row for row in whole if row["who"] == who]
        for column, xs in enumerate(
            ([_value(row, "cpu", "workload") for row in of], [row["bytes"] / 1e6 for row in of]), 1
        ):
            kl = [row["quality"]["kl"] for row in of]
            figure.add_scatter(
                x=xs,
                y=[one["value"] for one in kl],
                error_y={
                    "array": [one["high"] - one["value"] for one in kl],
                    "arrayminus": [one["value"] - one["low"] for one in kl],
                },
                text=[row["name"] for row in of],
                mode="markers+text",
                textposition="top center",
                marker={"color": colours[number % len(colours)]},
                name=who,
                legendgroup=who,
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(title=f"CPU time of the workload, over {yardstick}", row=1, col=1)
    figure.update_xaxes(title="bytes, MB", row=1, col=2)
    figure.update_yaxes(type="log")
    figure.update_yaxes(title="KL from the 16-bit model, nat/token", row=1, col=1)
    figure.write_html(file)
