"""What is put into the bank comes out the same, whole or in rows, or is not there at all."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.compress.bank import WeightBank, candidates
from negawatt.core.errors import OutputError
from negawatt.core.records import Format, Layer, QuantisedWeight

NAME = "model.layers.0.self_attn.q_proj"


def some_weight(rows: int, cols: int, fmt: Format, seed: int = 0) -> QuantisedWeight:
    draw = np.random.default_rng(seed)
    groups = cols // (fmt.group or cols)
    return QuantisedWeight(
        fmt,
        draw.integers(0, 2**fmt.bits, (rows, cols)).astype(np.uint8),
        draw.normal(size=(rows, groups)).astype(np.float16),
        draw.integers(0, 2**fmt.bits, (rows, groups)).astype(
            np.float16 if fmt.has_minimum else np.uint8
        ),
    )


def same(found: QuantisedWeight, wanted: QuantisedWeight, rows: slice = slice(None)) -> bool:
    return (
        found.format == wanted.format
        and found.codes.dtype == wanted.codes.dtype
        and np.array_equal(found.codes, wanted.codes[rows])
        and np.array_equal(found.scale, wanted.scale[rows])
        and found.zero.dtype == wanted.zero.dtype
        and np.array_equal(found.zero, wanted.zero[rows])
    )


@pytest.fixture
def bank(tmp_path: Path) -> WeightBank:
    return WeightBank(tmp_path / "bank")


@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 21),
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
    data=st.data(),
)
def test_what_goes_in_comes_out_whole_and_in_rows(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    cols: int,
    bits: int,
    symmetric: bool,
    data: st.DataObject,
) -> None:
    bank = WeightBank(tmp_path_factory.getbasetemp() / "one-bank")
    weight = some_weight(rows, cols, Format(bits, symmetric=symmetric), seed=rows * cols)
    bank.put(NAME, weight)
    start = data.draw(st.integers(0, rows - 1))
    part = slice(start, data.draw(st.integers(start + 1, rows + 3)))  # may reach past the end

    assert same(bank.get(NAME, weight.format), weight)
    assert same(bank.get(NAME, weight.format, part), weight, part)


@pytest.mark.parametrize("fmt", ["int4-g32-asym", "int4-g32x3-asym"])
def test_groups_keep_their_scales_and_zeros(bank: WeightBank, fmt: str) -> None:
    weight = some_weight(6, 96, Format.parse(fmt))
    bank.put(NAME, weight)
    assert bank.get(NAME, weight.format).scale.shape == (6, 3)
    assert same(bank.get(NAME, weight.format, slice(2, 5)), weight, slice(2, 5))


def test_what_was_never_put_is_a_key_error_that_names_it(bank: WeightBank) -> None:
    bank.put(NAME, some_weight(2, 32, Format(4, 32)))
    assert not bank.has(NAME, Format(8))
    with pytest.raises(KeyError, match="q_proj was not prepared as int8-row-sym"):
        bank.get(NAME, Format(8))


def test_formats_of_one_layer_do_not_get_in_each_others_way(bank: WeightBank) -> None:
    weights = [
        some_weight(3, 64, fmt, seed)
        for seed, fmt in enumerate(
            [Format(8), Format(4), Format(4, 32), Format(4, 32, symmetric=False)]
        )
    ]
    for weight in weights:
        bank.put(NAME, weight)
    assert all(same(bank.get(NAME, weight.format), weight) for weight in weights)


def test_a_write_that_fails_leaves_nothing_and_says_what_to_do(bank: WeightBank) -> None:
    import signal

    weight = some_weight(64, 256, Format(8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OutputError, match="free some disk space"):
            bank.put(NAME, weight)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert not bank.has(NAME, weight.format)
    assert list(bank.folder.iterdir()) == []


def test_a_failed_write_keeps_what_was_there(
    bank: WeightBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = some_weight(4, 32, Format(4, 32), 1), some_weight(4, 32, Format(4, 32), 2)
    bank.put(NAME, old)

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        bank.put(NAME, new)
    assert same(bank.get(NAME, old.format), old)


def test_a_killed_write_is_as_if_it_never_was(bank: WeightBank) -> None:
    import signal
    import subprocess

    program = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_bank import NAME, some_weight, WeightBank, Format\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "WeightBank(Path(sys.argv[1])).put(NAME, some_weight(4, 32, Format(4, 32)))\n"
    )
    folder = str(Path(__file__).parent)
    child = subprocess.run(
        [sys.executable, "-c", program, str(bank.folder), folder], check=False, timeout=60
    )
    assert child.returncode == -signal.SIGKILL
    assert not bank.has(NAME, Format(4, 32))
    weight = some_weight(4, 32, Format(4, 32))
    bank.put(NAME, weight)  # over what was left
    assert same(bank.get(NAME, weight.format), weight)
    assert len(list(bank.folder.iterdir())) == 1


def test_a_view_reads_a_weight_only_when_it_is_asked_for(
    bank: WeightBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"a": Format(4, 32), "b": Format(16), "c": Format(8)}
    for name in ("a", "c"):
        bank.put(name, some_weight(2, 32, plan[name]))
    read: list[str] = []
    get = WeightBank.get

    def spy(self: WeightBank, layer: str, fmt: Format, rows: slice) -> QuantisedWeight:
        read.append(layer)
        return get(self, layer, fmt, rows)

    monkeypatch.setattr(WeightBank, "get", spy)
    view = bank.view(plan)

    assert list(view) == ["a", "c"]  # a layer at 16 bits stays as it is in the source
    assert len(view) == 2
    assert "b" not in view
    assert read == []
    assert view["c"].format == Format(8)
    assert read == ["c"]


def test_candidates_fit_the_layer_and_are_quantised() -> None:
    layer = Layer("x", "linear", 8, 96)
    offered = (Format(16), Format(8), Format(4, 32), Format(4, 64), Format(4))
    assert candidates(layer, offered) == (Format(8), Format(4, 32), Format(4))
