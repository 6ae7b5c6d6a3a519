"""Which rank of a node reads its counters."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from negawatt.adapters.trackers.phases import Phases
from negawatt.core import registry
from negawatt.core.quantities import Joules
from negawatt.meters import Window, inventory, tracking
from negawatt.meters.ranks import VARIABLES, local_rank


class Counter:
    """A counter that goes up by ten joules a look."""

    def __init__(self, boundary: str) -> None:
        self.name = self.boundary = boundary
        self._joules = 0.0

    def energy(self) -> Joules:
        self._joules += 10.0
        return Joules(self._joules)


@pytest.mark.parametrize("name", VARIABLES)
def test_every_launcher_is_understood(name: str) -> None:
    assert local_rank({name: "2"}) == 2


@pytest.mark.parametrize("environ", [{}, {"LOCAL_RANK": ""}, {"LOCAL_RANK": "-1"}, {"RANK": "3"}])
def test_a_process_that_nobody_numbered_is_the_first(environ: Mapping[str, str]) -> None:
    assert local_rank(environ) == 0


@pytest.mark.parametrize(
    ("rank", "boundaries", "given", "sees"),
    [
        ("0", ("package:0", "gpu:0"), False, {"package:0", "gpu:0"}),
        ("1", ("package:0", "gpu:0"), False, None),  # it is in what the first sees
        ("1", ("gpu:0",), False, set()),  # its own CPU time is not
        ("1", (), False, set()),
        ("1", ("package:0",), True, {"package:0"}),  # asked for by name
    ],
)
def test_the_first_rank_reads_and_the_others_add_what_it_cannot_see(
    rank: str, boundaries: tuple[str, ...], given: bool, sees: set[str] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    meters = tuple(Counter(boundary) for boundary in boundaries)
    monkeypatch.setenv("LOCAL_RANK", rank)
    monkeypatch.setattr(inventory, "here", lambda: inventory.Inventory(meters=meters))
    monkeypatch.setattr("negawatt.meters.window.local", lambda: _instruments(meters))
    monkeypatch.setattr(registry, "build", lambda group, name, windows: Phases(windows))
    seen: list[Window] = []
    phases = tracking.callback("any", then=seen.append, meters=meters if given else None)
    phases.begin("train")
    phases.end("train")
    logged = phases.take("train")
    if sees is None:
        assert (seen, logged) == ([], {})
        return
    assert [set(window.energies) for window in seen] == [sees]
    assert logged["train_energy_J"] > 0


def _instruments(meters: tuple[Counter, ...]) -> object:
    from negawatt.meters.instruments import Instruments

    return Instruments(meters=meters)
