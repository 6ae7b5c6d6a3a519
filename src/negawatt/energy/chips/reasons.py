"""Why one design is the best compromise, and what holds it back, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from negawatt.energy.chips.explore import Candidate

#: What parts of the joules are called together.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("memory beside the dies", ("memory", "standby")),
    ("memory on the dies", ("local memory", "shared memory")),
    ("multipliers", ("arithmetic",)),
    ("leakage and clocks", ("leakage", "clocks")),
    ("ways between dies", ("links",)),
)
_SIZES = (
    ("bandwidth", "bandwidth"),
    ("frequency", "clock"),
    ("shared_mb", "shared memory"),
    ("local_mb", "memory beside the arrays"),
)


def because_of(
    front: Sequence[Candidate], knee: int, slopes: Mapping[str, Mapping[str, float]]
) -> tuple[str, ...]:
    """Sentences on the choice.

    Args:
        front: Designs that nothing beats.
        knee: Place of the choice.
        slopes: What one per cent more of a size does, in per cent.
    """
    one = front[knee]
    return (
        _won(front, one),
        _spent(one),
        _limited(one, slopes),
    )


def limit_of(one: Candidate) -> str:
    """What a design is limited by, in a word: memory, compute or leakage.

    What takes most time, unless circuits that stand by take more joules than all that is done.
    """
    standing = one.parts["leakage"] + one.parts["clocks"]
    if standing > 0.5 * one.joules:
        return "leakage"
    return "memory" if one.memory_share > 0.5 else "compute"


def _won(front: Sequence[Candidate], one: Candidate) -> str:
    start = "It has the least product of joules, area and time"
    ends = (
        ("the design with the fewest joules", min(front, key=lambda c: c.joules)),
        ("the smallest", min(front, key=lambda c: c.area)),
        ("the fastest", min(front, key=lambda c: c.seconds)),
    )
    told = [f"{name} {_against(end, one)}" for name, end in ends if end is not one]
    if not told:
        return f"{start}: nothing on the front is better in anything."
    return f"{start}: {'; '.join(told)}."


def _against(other: Candidate, one: Candidate) -> str:
    ratios = (
        (other.joules / one.joules, "the joules"),
        (other.area / one.area, "the area"),
        (other.seconds / one.seconds, "the time"),
    )
    words = [f"{_times(ratio)} {name}" for ratio, name in ratios]
    return f"takes {words[0]}, {words[1]} and {words[2]}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"


def _spent(one: Candidate) -> str:
    shares = [(sum(one.parts[p] for p in parts) / one.joules, name) for name, parts in _GROUPS]
    shown = sorted((pair for pair in shares if pair[0] >= 0.01), reverse=True)
    words = [f"{name} {share:.0%}" for share, name in shown]
    return f"Of a token's joules: {', '.join(words)}."


def _limited(one: Candidate, slopes: Mapping[str, Mapping[str, float]]) -> str:
    limit = limit_of(one)
    told = {
        "memory": f"It waits for memory: {one.memory_share:.0%} of the time that memory and "
        "arithmetic take is memory's",
        "compute": f"It waits for arithmetic: {1 - one.memory_share:.0%} of the time that memory and "
        f"arithmetic take is arithmetic's, with {one.busy:.0%} of the multipliers' cycles useful",
        "leakage": "Standing power is most of its joules: it leaks and clocks more than it works",
    }[limit]
    most = min(_SIZES, key=lambda size: slopes[size[0]]["seconds"])
    effect = slopes[most[0]]
    return (
        f"{told}. Of all sizes the {most[1]} shortens the time most: 10 % more changes it by "
        f"{10 * effect['seconds']:+.1f} %, joules by {10 * effect['joules']:+.1f} % and area by "
        f"{10 * effect['area']:+.1f} %."
    )
