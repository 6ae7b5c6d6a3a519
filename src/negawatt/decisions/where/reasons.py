"""Why a job runs where it runs, and what would make it another place."""

from __future__ import annotations

from negawatt.decisions.where.records import Ranked, Siting

_GIGA = 1e9


def because(found: Siting) -> str:
    """The choice, in the figures of its two parts: place, and time."""
    best, home = found.chosen, found.at(found.home)
    if home is None:
        why = dict(found.impossible)[found.home]
        return f"{found.home} cannot run it ({why}); {best.place} emits least of those that can"
    told = (
        f"{best.place} emits {_g(best.grams.value)}, {home.place} at once would"
        f" {_g(home.now.value)}"
    )
    if best.place == home.place:
        others = [one for one in found.ranking if one is not best and not one.excluded]
        if not others:
            return f"{told}: no other place may run it"
        near = min(others, key=lambda one: one.objective)
        moved = f", {_g(near.transfer.value)} of it for moving data" if near.transfer.value else ""
        return (
            f"{told}; the best place to move to, {near.place}, would {_g(near.grams.value)}{moved}"
        )
    place, time = best.place_part or 0.0, best.time_part
    stays = home.now.value - home.grams.value
    sent = f" ({_g(best.transfer.value)} for moving data taken off)" if found.data else ""
    beside = f"waiting at {home.place} alone would save {_g(stays)}"
    if place > stays:
        beside += ", less than moving alone"
    return f"{told}: the place saves {_g(place)}{sent}, waiting there {_g(time)} on top; {beside}"


def would_change(found: Siting) -> tuple[str, ...]:
    """How much data, how dirty a grid, or which latency would make it another place."""
    told = []
    best, home = found.chosen, found.at(found.home)
    allowed = [one for one in found.ranking if not one.excluded]
    if found.data is not None and home is not None and not home.excluded:
        told += _by_data(found, best, home, allowed)
    if len(allowed) > 1:
        second = allowed[1]
        run = best.schedule.grams.value
        if run > 0:
            factor = (second.objective - best.objective) / run
            told.append(
                f"if the grid of {best.place} were {factor:.0%} dirtier all along,"
                f" {second.place} would do as well"
            )
    told += [
        f"{one.place}: {one.schedule.fallback}" for one in found.ranking if one.schedule.fallback
    ]
    for one in found.ranking:
        if one.excluded and one.objective < best.objective:
            told.append(f"{one.place} would emit {_g(one.grams.value)}, but {one.excluded}")
    return tuple(told)


def _by_data(found: Siting, best: Ranked, home: Ranked, allowed: list[Ranked]) -> list[str]:
    """The size of data at which staying and moving are alike."""
    size = found.data.total if found.data else 0.0
    if best.place != home.place:
        each = best.transfer.value / size if size > 0 else 0.0
        if each <= 0:
            return []
        most = size + (home.objective - best.objective) / each
        return [f"with more than {_bytes(most)} to move it would stay at {home.place}"]
    ways = []
    for one in allowed:
        gain = home.objective - (one.objective - one.transfer.value)
        if one is not home and one.transfer.value > 0 and gain > 0:
            ways.append((gain * size / one.transfer.value, one.place))
    if not ways:
        return []
    least, place = max(ways)
    return [f"with less than {_bytes(least)} to move it would go to {place}"]


def _g(grams: float) -> str:
    """Grams or kilograms, as people write them.

    >>> _g(5123.0), _g(94.12), _g(-0.5)
    ('5.12 kg', '94.1 g', '-0.5 g')
    """
    return f"{_three(grams / 1e3)} kg" if abs(grams) >= 1e3 else f"{_three(grams)} g"


def _bytes(size: float) -> str:
    return f"{_three(size / _GIGA)} GB"


def _three(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.12g}".replace(",", " ")
