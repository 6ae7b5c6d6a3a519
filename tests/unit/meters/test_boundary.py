from __future__ import annotations

import pytest

from negawatt.meters.boundary import contains, covers_cpu, outermost


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("wall", "system"),
        ("wall", "psys"),
        ("wall", "gpu:3"),
        ("wall:1", "package:0"),
        ("system", "psys"),
        ("system", "gpu:0000:03:00.0"),
        ("gpu:0000:03:00.0", "gpu:0000:03:00.0/package"),
        ("psys", "package:0"),
        ("psys", "dram:0"),
        ("package:0", "core:0"),
        ("package:0", "package:0/die:1"),
    ],
)
def test_what_holds_what(outer: str, inner: str) -> None:
    assert contains(outer, inner)
    assert not contains(inner, outer)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("package:0", "package:1"),
        ("package:0", "dram:0"),
        ("package:1", "core:0"),
        ("package:1", "package:10"),
        ("psys", "gpu:0"),
        ("wall", "wall"),
        ("wall:1", "wall:2"),
    ],
)
def test_what_stands_beside_what(one: str, other: str) -> None:
    assert not contains(one, other)


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["psys", "package:0", "dram:0"], ("psys",)),
        (["package:0", "core:0", "dram:0", "gpu:0"], ("package:0", "dram:0", "gpu:0")),
        (["gpu:0", "wall"], ("wall",)),
        (["package:0/die:0", "package:0/die:1"], ("package:0/die:0", "package:0/die:1")),
        (["package:0", "package:0"], ("package:0",)),
        (["soil moisture"], ()),
    ],
)
def test_only_the_outermost_known_boundaries_add(given: list[str], added: tuple[str, ...]) -> None:
    assert outermost(given) == added


def test_memory_and_gpus_do_not_cover_the_cpu() -> None:
    assert not covers_cpu(["dram:0", "gpu:0", "core:0"])
    assert covers_cpu(["gpu:0", "package:0/die:1"])
    assert covers_cpu(["wall"])
    assert covers_cpu(["system"])
