"""Choosing what to round: from prices and harms to a trial and its reasons."""

from __future__ import annotations

from dataclasses import replace

from trial_sample import told, trial

from negawatt.compress.mixed import Inlet, inlets_of, reasons, without
from negawatt.core.records import InputGrid, Layer


def test_layers_that_read_one_value_are_one_inlet_in_every_block() -> None:
    names = ("attention.query", "attention.key", "attention.out", "up", "down")
    layers = [Layer("words", "embedding", 9, 8)]
    grids = {}
    for block in range(2):
        for at, name in enumerate(names):
            layers.append(Layer(f"layer.{block}.{name}", "linear", 8, 8, block))
            grids[layers[-1].name] = InputGrid(-1.0, 1.0 + max(at, 1) + 10 * block)
    found = inlets_of(layers, grids)
    assert len(found) == 8
    assert found[0].layers == ("layer.0.attention.query", "layer.0.attention.key")
    assert found[4].kind == found[0].kind == "layer.*.attention.query"
    assert "layer.1.up" not in without(found, "layer.*.up")
    assert len(without(found, "layer.*.up")) == 6


def test_every_inlet_has_a_reason() -> None:
    inlets = [Inlet(name, (name,), name) for name in ("cheap", "dear", "left", "useless")]
    harms = {"cheap": 1e-6, "dear": 1e-3, "left": 1e-7, "useless": 1e-7}
    saves = {name: told(1e-5, unit="s/text") for name in ("cheap", "dear", "left")}
    saves["useless"] = told(-1e-6, unit="s/text")
    best = replace(trial("some", 0.001, 0.7), rounded=("cheap",))
    cheap, dear, left, useless = reasons(inlets, best, harms, saves)
    assert cheap.rounded
    assert not dear.rounded
    assert "saves 10 µs a text and adds 1e-06" in cheap.because
    assert "1000.0 times the harm" in dear.because
    assert "without it" in left.because
    assert "saves no time" in useless.because
