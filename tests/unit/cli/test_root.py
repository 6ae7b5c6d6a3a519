from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from negawatt.cli import VERBS, main, root
from negawatt.core import errors
from negawatt.core.errors import NegawattError

HEAVY = {"numpy", "scipy", "torch", "transformers", "openvino", "plotly", "rich", "psutil"}


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def loaded_after(code: str) -> set[str]:
    done = python(f"{code}\nimport sys; print(*sorted(sys.modules))")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `negawatt doctor` raise."""

    def arrange(error: BaseException) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        @click.argument("rest", nargs=-1)
        def command(as_json: bool, rest: tuple[str, ...]) -> None:
            raise error

        monkeypatch.setattr(type(root), "get_command", lambda *_: command)

    return arrange


def every_error() -> list[type[NegawattError]]:
    found = [NegawattError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_error())
def test_an_error_is_a_fact_a_fix_and_a_status(
    kind: type[NegawattError],
    raising: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising(kind("the well is dry", fix="dig deeper"))
    assert main(["doctor"]) == kind.exit_status
    out, err = capsys.readouterr()
    assert err == "error: the well is dry\n  fix: dig deeper\n"
    assert out == ""


def test_json_errors_are_one_object_on_stdout(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(NegawattError("the well is dry", fix="dig deeper"))
    main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out) == {"error": "the well is dry", "fix": "dig deeper"}


def test_json_after_a_double_dash_belongs_to_another_program(
    raising: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    raising(NegawattError("the well is dry", fix="dig deeper"))
    main(["measure", "--", "other", "--json"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("verb", "line"),
    [("optimize", "finished steps are kept"), ("doctor", "interrupted\n")],
)
def test_ctrl_c_tells_whether_the_work_goes_on(
    verb: str,
    line: str,
    raising: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    raising(KeyboardInterrupt())
    assert main([verb]) == 128 + signal.SIGINT
    assert line in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(raising: Callable[[BaseException], None]) -> None:
    raising(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


@pytest.mark.parametrize(
    ("words", "fact", "fix"),
    [
        (["frobnicate"], "'frobnicate'", "`negawatt --help`"),
        (["settings", "--nope"], "'--nope'", "`negawatt settings --help`"),
    ],
)
def test_a_wrong_command_line_says_where_to_look(
    words: list[str], fact: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert fact in err
    assert fix in err


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_lists_every_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out = capsys.readouterr().out
    for verb in VERBS:
        assert f"\n  {verb} " in out


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("Usage: negawatt")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import negawatt

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"negawatt {negawatt.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_says_what_the_verb_says(verb: str) -> None:
    command = root.get_command(click.Context(root), verb)
    assert command is not None
    assert command.help is not None
    assert command.help.splitlines()[0] == VERBS[verb]


def test_a_reader_that_leaves_is_no_error() -> None:
    # A pipe nobody reads from: writing to it fails from the first byte.
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "negawatt", "settings"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_an_ascii_terminal_gets_a_question_mark_not_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from negawatt.cli import main; main(['-h']); print('2\u00d7')"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"2?\n")


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import negawatt")
    assert not loaded & (HEAVY | {"click"})


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_loads_no_engine(verb: str) -> None:
    words = [verb, "--help"] if verb else ["--help"]
    loaded = loaded_after(f"from negawatt.cli import main; main({words!r})")
    heavy = HEAVY - {"rich", "psutil"} if verb else HEAVY
    assert not loaded & heavy


def test_importing_the_package_is_light() -> None:
    # Against an import that every Python pays for, so that a slow machine is no failure:
    # json is a few milliseconds; the promise is 60 ms in all.
    code = (
        "import sys, time\n"
        "def best(name):\n"
        "    spans = []\n"
        "    for _ in range(5):\n"
        "        before = set(sys.modules)\n"
        "        t = time.perf_counter(); __import__(name); spans.append(time.perf_counter() - t)\n"
        "        for new in set(sys.modules) - before: del sys.modules[new]\n"
        "    return min(spans)\n"
        "print(best('negawatt') / best('argparse'))"
    )
    done = python(code)
    assert float(done.stdout) < 10, done.stderr


def test_lazy_names_are_listed_and_unknown_ones_refused() -> None:
    import negawatt

    assert {"measure", "optimize", "predict", "__version__"} <= set(dir(negawatt))
    with pytest.raises(AttributeError, match="no attribute 'mesure'"):
        negawatt.mesure  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", ["measure", "optimize", "predict"])
def test_the_front_door_opens(name: str) -> None:
    import negawatt

    assert callable(getattr(negawatt, name))
