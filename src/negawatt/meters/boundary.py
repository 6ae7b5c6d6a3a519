"""Which domains add and which contain another, so that nothing is counted twice.

    wall ⊃ system ⊃ psys ⊃ package:N ⊃ package:N/die:M, core:N, uncore:N
                         ⊃ dram:N
    wall ⊃ system ⊃ gpu:N

`system` is the whole machine as it tells itself: a battery that discharges, a board's own input
sensor, a management controller. What is lost before it (a charger, a shared power supply) is in
`wall` alone. `psys` is the platform rail of a laptop or server board. Whether it includes a discrete GPU is up
to the board; here it does not, so a GPU is never lost.
A boundary of a kind not named here is reported on its own and never enters a sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_INSIDE = {
    "wall": frozenset({"system", "psys", "package", "core", "uncore", "dram", "gpu"}),
    "system": frozenset({"psys", "package", "core", "uncore", "dram", "gpu"}),
    "psys": frozenset({"package", "core", "uncore", "dram"}),
}
_SUMMED = frozenset({"wall", "system", "psys", "package", "core", "uncore", "dram", "gpu"})
_CPU = frozenset({"wall", "system", "psys", "package"})


def kind_of(boundary: str) -> str:
    """The part before the first colon.

    >>> kind_of("package:0/die:1")
    'package'
    """
    return re.split(r"[:/]", boundary, maxsplit=1)[0]


def contains(outer: str, inner: str) -> bool:
    """True when whatever flows through `inner` also flows through `outer`.

    >>> contains("psys", "dram:0"), contains("package:0", "core:0"), contains("package:0", "dram:0")
    (True, True, False)
    """
    if outer == inner:
        return False
    outer_kind, inner_kind = kind_of(outer), kind_of(inner)
    if inner_kind in _INSIDE.get(outer_kind, ()):
        return True
    if inner.startswith(f"{outer}/"):
        return True
    socket = outer.removeprefix("package:")
    return outer_kind == "package" and inner in {f"core:{socket}", f"uncore:{socket}"}


def outermost(boundaries: Iterable[str]) -> tuple[str, ...]:
    """The boundaries that may be added: of known kind, none inside another.

    >>> outermost(["core:0", "package:0", "dram:0", "rack:7"])
    ('package:0', 'dram:0')
    """
    known = tuple(dict.fromkeys(b for b in boundaries if kind_of(b) in _SUMMED))
    return tuple(b for b in known if not any(contains(other, b) for other in known))


def covers_cpu(boundaries: Iterable[str]) -> bool:
    """True when the CPU's own energy is inside at least one of them."""
    return any(kind_of(boundary) in _CPU for boundary in boundaries)
