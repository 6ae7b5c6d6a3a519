"""The magic, in a real IPython shell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from spent import World

from negawatt.adapters.trackers import jupyter
from negawatt.core.errors import UsageError

shells: Any = pytest.importorskip(
    "IPython.core.interactiveshell",
    reason="IPython is not installed: pip install 'negawatt[jupyter]'",
)
capture: Any = pytest.importorskip("IPython.utils.capture")


@pytest.fixture(scope="module")
def ipython(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        shell = shells.InteractiveShell.instance()
        shell.history_manager.enabled = False
        yield shell
        shell.history_manager.end_session()
        shells.InteractiveShell.clear_instance()


@pytest.fixture
def shell(ipython: Any) -> Any:
    ipython.reset(new_session=False)
    return ipython


def test_load_ext_finds_the_magic(shell: Any) -> None:
    with capture.capture_output() as out:
        assert shell.run_cell("%load_ext negawatt").success
        ran = shell.run_cell("%%negawatt warm up -o spent\ntotal = sum(range(100))\ntotal")
    assert ran.success
    assert shell.user_ns["total"] == 4950
    assert shell.user_ns["spent"].name == "warm up"
    assert "4950" in out.stdout  # the cell shows what it shows without the magic
    assert out.outputs[-1].data["text/plain"].startswith("warm up\n")


def test_a_cell_shows_interval_kind_boundary_and_sources(shell: Any) -> None:
    world = World()
    jupyter.extend(shell, world.measure)
    shell.user_ns["world"] = world
    with capture.capture_output() as out:
        assert shell.run_cell("%%negawatt\nworld.work(10.0)").success
    (shown,) = out.outputs
    text, table = shown.data["text/plain"], shown.data["text/html"]
    for page in (text, table):
        assert "30 J (" in page
        assert "measured" in page
        assert "package:0 + gpu:0" in page
    assert 'title="hand:package:0"' in table


def test_a_line_is_measured_too(shell: Any) -> None:
    world = World()
    jupyter.extend(shell, world.measure)
    shell.user_ns["world"] = world
    with capture.capture_output():
        assert shell.run_cell("%negawatt world.work(10.0)").success
    assert world.seen[0].energy.value == pytest.approx(30.0)


def test_a_cell_that_fails_is_measured_and_stays_failed(shell: Any) -> None:
    world = World()
    jupyter.extend(shell, world.measure)
    shell.user_ns["world"] = world
    with capture.capture_output() as out:
        ran = shell.run_cell("%%negawatt\nworld.work(10.0)\n1 / 0")
    assert isinstance(ran.error_in_exec, ZeroDivisionError)
    assert world.seen[0].energy.value == pytest.approx(30.0)
    assert out.stdout.count("Traceback") == 1
    assert "ZeroDivisionError" in out.stdout


def test_a_variable_must_be_one() -> None:
    with pytest.raises(UsageError, match="variable"):
        jupyter.parse("x -o 3")
