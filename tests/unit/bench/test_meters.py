"""The arithmetic of the bench that sets meters side by side, and the page made from it."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negawatt.core.estimate import Kind
from negawatt.meters import Instruments, Window

FOLDER = Path(__file__).resolve().parents[3] / "bench" / "meters"
NAMES = ("figures", "install", "probe", "peers", "tools", "page", "run")
positive = st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=30)


def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, Any]]:
    """The modules of the bench, imported from their files as the bench imports them."""
    yield {name: _loaded(name) for name in NAMES}
    for name in NAMES:
        del sys.modules[name]


@given(values=positive)
def test_the_median_lies_in_its_spread(bench: dict[str, Any], values: list[float]) -> None:
    figure = bench["figures"].summarise(values)
    assert min(values) <= figure.low <= figure.median <= figure.high <= max(values)
    assert figure.runs == len(values)


@pytest.mark.parametrize("values", [[], [1.0, -0.5]])
def test_no_figure_of_nothing_or_of_less(bench: dict[str, Any], values: list[float]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        bench["figures"].summarise(values)


def test_a_tool_that_fails_once_has_no_figure(bench: dict[str, Any]) -> None:
    answers = [{"first_s": 1.0}, {"none": "no device"}, {"first_s": 2.0}]
    assert bench["figures"].gather(answers, "first_s") == {
        "none": "no device",
        "failed": 1,
        "runs": 3,
    }


def test_a_row_that_a_tool_does_not_know_is_not_zero(bench: dict[str, Any]) -> None:
    figure = bench["figures"].gather([{"again_s": 1.0}], "plain_s")
    assert "median" not in figure
    assert bench["figures"].shown(bench["figures"].ROWS[0], figure) == "–"


def test_the_verdict_is_by_the_median_and_the_target_itself_is_met(bench: dict[str, Any]) -> None:
    figures = bench["figures"]
    row = figures.Row("first_s", "first window", "ms", 1e3, 0.05)
    assert figures.verdict(row, {"median": 0.05}) == "met"
    assert figures.verdict(row, {"median": 0.0501}) == "missed"
    assert figures.verdict(row, {"none": "it failed"}) == "not measured"


def test_the_targets_are_those_that_were_promised(bench: dict[str, Any]) -> None:
    targets = {row.key: row.target for row in bench["figures"].ROWS}
    assert targets == {
        "import_s": 0.06,
        "import_bytes": 10e6,
        "first_s": 0.05,
        "again_s": 50e-6,
        "plain_s": 50e-6,
        "sampling_share": 0.002,
    }


def test_watts_use_the_time_that_the_tool_states(bench: dict[str, Any]) -> None:
    watts = bench["figures"].watts
    assert watts({"joules": 12.0, "seconds": 4.0}, wall_s=3.0) == 3.0
    assert watts({"joules": 12.0}, wall_s=3.0) == 4.0
    assert watts({"seconds": 4.0}, wall_s=3.0) is None


def test_the_network_is_refused_and_written_down(bench: dict[str, Any]) -> None:
    watch = bench["probe"].Watch(everything=True)
    with pytest.raises(OSError, match="out of reach"):
        watch("socket.getaddrinfo", ("example.org", 443, 0, 0, 0))
    watch("socket.connect", (None, ("127.0.0.1", 80)))
    watch("subprocess.Popen", ("uname", ["uname", "-p"], None, None))
    assert watch.network == ["example.org"]
    assert watch.helpers == ["uname -p"]


def test_every_peer_is_pinned(bench: dict[str, Any]) -> None:
    text = (FOLDER / "peers.txt").read_text(encoding="utf-8")
    pins = bench["install"].pinned(text)
    known = set(bench["probe"].IMPORTS) - {bench["figures"].OURS}
    assert known == set(bench["peers"].PEERS)
    assert known <= {pin.partition("==")[0] for pin in pins}


def test_a_peer_that_does_not_install_stops_no_other(bench: dict[str, Any], tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def install(requirements: Sequence[str]) -> str:
        asked.append(list(requirements))
        return "no wheel" if "bad==1" in requirements else ""

    failed = bench["install"].install_all(["good==1", "bad==1", "fine<2"], install)
    assert failed == {"bad==1": "no wheel"}
    assert asked[1:] == [["good==1"], ["bad==1"], ["fine<2"]]
    (tmp_path / bench["install"].FAILED).write_text(json.dumps(failed))
    assert bench["run"].left_out(tmp_path) == {"bad": "no wheel"}
    assert bench["run"].left_out(tmp_path / "elsewhere") == {}


def test_a_version_is_found_however_the_name_is_spelt(bench: dict[str, Any]) -> None:
    version_in = bench["run"].version_in
    assert version_in({"Py_Joules": "2"}, "py-joules") == "2"
    assert version_in({"zeus": "1"}, "pyRAPL") is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_the_timed_window_reads_a_file_of_the_kernel_at_both_ends(
    bench: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negawatt.adapters.meters import kernel_file

    read: list[str] = []

    def watched(path: Path) -> str:
        read.append(str(path.resolve()))
        return path.read_text(encoding="ascii")

    monkeypatch.setattr(kernel_file, "read_text", watched)
    meter = bench["tools"].stand_in_counter(tmp_path)
    read.clear()
    with Window("again", instruments=Instruments(meters=(meter,))) as window:
        pass
    assert len(read) == 2
    assert all(path.startswith("/proc/") and path.endswith("/stat") for path in read)
    assert window.energy.kind is Kind.MEASURED


def test_a_table_holds_what_tools_say_whatever_they_say(bench: dict[str, Any]) -> None:
    made = bench["page"].table(["a", "b"], [["x|y", ""]])
    assert made.splitlines()[-1] == "| x\\|y | – |"


def test_the_page_and_the_results_agree(bench: dict[str, Any]) -> None:
    page = bench["page"]
    results = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert page.PAGE.read_text(encoding="utf-8") == page.page(results), "run bench/meters/page.py"
