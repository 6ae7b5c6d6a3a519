"""What the rows say about the bars: whether each is met, and by how much. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Limits from the plan of this project.
LESS_DECODE = 0.85  # of the best peer's decode time at the same loss
SAME_ENERGY_LOSS = 0.01  # within which energy has to lie below Q8_0's [1]
NEAR_PERPLEXITY = 0.02  # of the best peer's, for rounding alone
WIDEST = 9.0  # bits a weight with all overheads; an 8-bit type has 8.5
LEVELS = (0.01, 0.02, 0.05, 0.1)  # losses at which the cheapest qualifying points are compared
_SECOND_ORDER = ("llmcompressor_gptq",)


@dataclass(frozen=True, slots=True)
class Point:
    """A variant as the bars see it; times are ratios to the yardstick."""

    who: str
    name: str
    kl: float  # nat/token
    loss: float  # of perplexity [1]
    cpu: float  # of the whole workload
    decode: float  # of writing
    size: int  # [B]

    @property
    def label(self) -> str:
        """Who and which."""
        return f"{self.who} {self.name}"


def point_of(row: Mapping[str, Any]) -> Point:
    """A row of the results."""
    quality, cpu = row["quality"], row["cpu"]
    return Point(
        row["who"],
        row["name"],
        kl=quality["kl"]["value"],
        loss=quality["loss"]["value"],
        cpu=cpu["workload"]["value"],
        decode=cpu["write"]["value"],
        size=row["bytes"],
    )


def beside(peer: Point, ours: Sequence[Point], harm: str, cost: str) -> tuple[float, str] | None:
    """Our least cost with no more harm than a peer's point, over its cost, and whose that is.

    Args:
        peer: What to lie on or below.
        ours: Our points.
        harm: `kl` or `loss`.
        cost: `cpu`, `decode` or `size`.

    Returns:
        None where all of ours do more harm.
    """
    fit = [one for one in ours if getattr(one, harm) <= getattr(peer, harm)]
    if not fit:
        return None
    best = min(fit, key=lambda one: float(getattr(one, cost)))
    return float(getattr(best, cost)) / float(getattr(peer, cost)), best.name


def front(peers: Sequence[Point], ours: Sequence[Point], harm: str, cost: str) -> dict[str, Any]:
    """Our front beside every peer's point: a bar is met where no ratio is above one."""
    if not peers or not ours:
        return {"met": None, "because": "there are no points of both sides in the range"}
    lines: list[dict[str, Any]] = []
    worst = 0.0
    for peer in peers:
        found = beside(peer, ours, harm, cost)
        lines.append(
            {
                "peer": peer.label,
                "ratio": found[0] if found else None,
                "ours": found[1] if found else None,
            }
        )
        worst = max(worst, found[0] if found else float("inf"))
    above = [line["peer"] for line in lines if line["ratio"] is None or line["ratio"] > 1]
    reached = [line["ratio"] for line in lines if line["ratio"] is not None]
    return {
        "met": not above,
        "worst_ratio": worst if worst < float("inf") else None,
        "worst_reached": max(reached, default=None),
        "of": len(lines),
        "above": above,
        "points": lines,
    }


def cheapest(points: Sequence[Point], level: float, cost: str) -> Point | None:
    """The cheapest point that loses no more than a level."""
    fit = [one for one in points if one.loss <= level]
    return min(fit, key=lambda one: float(getattr(one, cost)), default=None)


def decode_saving(peers: Sequence[Point], ours: Sequence[Point]) -> dict[str, Any]:
    """Our cheapest decoding beside the best peer's, at several losses."""
    lines: list[dict[str, Any]] = []
    for level in LEVELS:
        theirs, own = cheapest(peers, level, "decode"), cheapest(ours, level, "decode")
        ratio = own.decode / theirs.decode if theirs and own else None
        lines.append(
            {
                "loss": level,
                "peer": theirs.label if theirs else None,
                "ours": own.name if own else None,
                "ratio": ratio,
            }
        )
    ratios = [line["ratio"] for line in lines if line["ratio"] is not None]
    return {
        "met": max(ratios) <= LESS_DECODE if ratios else None,
        "met_at": [one["loss"] for one in lines if one["ratio"] and one["ratio"] <= LESS_DECODE],
        "levels": lines,
    }


def beside_q4_k_m(points: Sequence[Point], ours: Sequence[Point]) -> dict[str, Any]:
    """Our least KL at no more CPU time than Q4_K_M, over its KL."""
    return _beside_type(
        points, "Q4_K_M", ours, lambda one, other: one.cpu <= other.cpu, "kl", lambda x: x < 1
    )


def beside_q8_0(points: Sequence[Point], ours: Sequence[Point]) -> dict[str, Any]:
    """Our least CPU time within one percent of perplexity, over that of Q8_0."""
    return _beside_type(
        points, "Q8_0", ours, lambda one, _: one.loss <= SAME_ENERGY_LOSS, "cpu", lambda x: x < 1
    )


def _beside_type(  # each a part of one sentence
    points: Sequence[Point],
    name: str,
    ours: Sequence[Point],
    fits: Callable[[Point, Point], bool],
    what: str,
    good: Callable[[float], bool],
) -> dict[str, Any]:
    peer = next((one for one in points if one.name == name), None)
    if peer is None:
        return {"met": None, "because": f"there is no row of {name}"}
    fit = [one for one in ours if fits(one, peer)]
    if not fit:
        return {"met": False, "because": "none of ours qualifies"}
    best = min(fit, key=lambda one: float(getattr(one, what)))
    ratio = float(getattr(best, what)) / float(getattr(peer, what))
    return {"met": good(ratio), "ratio": ratio, "ours": best.name}


def rounding_alone(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Our second-order rounding beside the best peer's, both alone: perplexity and time.

    Args:
        rows: Of `alone.py`, by method; peers by the names of their scripts.
    """
    ours = rows.get("gptq")
    peers = {name: rows[name] for name in rows if name in {*_SECOND_ORDER, "autoround"}}
    if ours is None or not peers:
        return {"met": None, "because": "alone.py has no rows of both sides"}
    best = min(peers, key=lambda name: float(peers[name]["loss"][0]))
    ratio = (1 + ours["loss"][0]) / (1 + peers[best]["loss"][0])
    quick = [name for name in peers if name in _SECOND_ORDER]
    fastest = min(quick, key=lambda name: float(peers[name]["cpu_seconds"]), default=None)
    return {
        "met": ratio <= 1 + NEAR_PERPLEXITY,
        "ratio": ratio,
        "peer": best,
        "cpu_seconds_ratio": (
            ours["cpu_seconds"] / peers[fastest]["cpu_seconds"] if fastest else None
        ),
        "fastest_peer": fastest,
    }


def payback(compress_cpu_s: float, ratio: float, other: float, yardstick_s: float) -> float | None:
    """Tokens after which compressing has paid back against another form.

    Both are CPU time, so that what a CPU-second costs cancels.

    Args:
        compress_cpu_s: What compressing took. [s]
        ratio: CPU time of the variant over the yardstick's.
        other: That of the form it is used instead of.
        yardstick_s: CPU time of the yardstick. [s/token]

    Returns:
        None where nothing is saved.

    >>> payback(100.0, 0.5, 1.0, 0.01)
    20000.0
    """
    saved = (other - ratio) * yardstick_s
    return compress_cpu_s / saved if saved > 0 else None


def judged(
    rows: Sequence[Mapping[str, Any]], parameters: int, alone: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Every bar, from the rows of a model."""
    whole = [point_of(row) for row in rows if "quality" in row and "cpu" in row]
    ours = [one for one in whole if one.who == "negawatt" and one.name != "16 bit"]
    peers = [one for one in whole if one.who not in {"negawatt", "ablation"}]
    within = [one for one in peers if 8 * one.size / parameters <= WIDEST]
    found: dict[str, Any] = {
        f"front, {harm} against {cost}": front(within, ours, harm, cost)
        for harm in ("kl", "loss")
        for cost in ("cpu", "size")
    }
    found["15 % fewer decode joules at the same loss"] = decode_saving(within, ours)
    found["KL below Q4_K_M at no more energy"] = beside_q4_k_m(peers, ours)
    found["energy below Q8_0 within 1 % of perplexity"] = beside_q8_0(peers, ours)
    found["rounding alone within 2 % of the best peer"] = rounding_alone(alone)
    return found
