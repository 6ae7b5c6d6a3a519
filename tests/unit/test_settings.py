from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from negawatt import settings
from negawatt.cli.settings import command
from negawatt.core.errors import UsageError
from negawatt.core.quantities import GramsPerKWh
from negawatt.core.records import Workload

# One good value for every setting, as text, with what it becomes.
GOOD = {
    "paths.ledger": ("/l.db", Path("/l.db")),
    "paths.queue": ("/q.db", Path("/q.db")),
    "paths.cache": ("/c", Path("/c")),
    "paths.data": ("/d", Path("/d")),
    "run.runtime": ("torch", "torch"),
    "run.cache": ("8/4", "8/4"),
    "run.threads": ("2", 2),
    "run.seed": ("7", 7),
    "run.workload": ("512:64:8", Workload(512, 64, 8)),
    "carbon.intensity": ("24.5", GramsPerKWh(24.5)),
    "hub.offline": ("yes", True),
    "meters.outside": ("shelly://a  tasmota://b/1", "shelly://a tasmota://b/1"),
    "grid.zone": ("US-CAL-CISO", "US-CAL-CISO"),
    "grid.providers": ("uk://  file:///g.csv?unit=kg", "uk:// file:///g.csv?unit=kg"),
    "grid.max_age": ("1.5", timedelta(hours=1.5)),
}
BAD = {
    "run.runtime": "abacus",
    "run.cache": "3",
    "run.threads": "0",
    "run.seed": "-1",
    "run.workload": "chatty",
    "carbon.intensity": "-3",
    "hub.offline": "perhaps",
    "meters.outside": "192.0.2.7",
    "grid.zone": "DE?",
    "grid.providers": "weather-frog://",
    "grid.max_age": "soon",
}


def test_a_ledger_may_be_a_database_and_nothing_else_with_an_address(tmp_path: Path) -> None:
    for good in ("postgresql://ada@db.example.org/energy", "postgres://db/energy"):
        tree = settings.load(environ={"NEGAWATT_LEDGER": good}, folder=tmp_path)
        assert tree.paths.ledger == good
    with pytest.raises(UsageError, match="postgresql://user@host/name"):
        settings.load(environ={"NEGAWATT_LEDGER": "mysql://db/energy"}, folder=tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:kept-to-itself@db/energy",
        "postgresql://ada:kept@to-itself@db/energy",  # not escaped as it should be
        "postgresql:///energy?host=db&user=ada&password=kept-to-itself",
        "mysql://ada:kept-to-itself@db/energy",
    ],
)
def test_a_password_is_shown_nowhere(address: str, tmp_path: Path) -> None:
    try:
        tree = settings.load(environ={"NEGAWATT_LEDGER": address}, folder=tmp_path)
        shown = settings.rows(tree)[0].value
    except UsageError as error:
        shown = str(error)
    assert "itself" not in shown
    assert "energy" in shown


def value_of(tree: settings.Settings, name: str) -> object:
    section, key = name.split(".")
    return getattr(getattr(tree, section), key)


def write_file(folder: Path, **values: str) -> Path:
    path = folder / settings.FILE_NAME
    path.write_text("".join(f"{name} = {json.dumps(v)}\n" for name, v in values.items()))
    return path


def test_every_setting_is_in_these_tables() -> None:
    assert set(GOOD) == set(settings.specs())


@pytest.mark.parametrize("name", GOOD)
def test_each_place_is_stronger_than_the_next(name: str, tmp_path: Path) -> None:
    text, expected = GOOD[name]
    variable = settings.specs()[name].environment[0]
    config = tmp_path / "config"
    (config / "negawatt").mkdir(parents=True)
    here = tmp_path / "here"
    here.mkdir()
    bare = {"XDG_CONFIG_HOME": str(config)}

    default = settings.load(environ=bare, folder=here)
    assert default.origins[name] == "default"

    far = write_file(config / "negawatt", **{name: text})
    from_config = settings.load(environ=bare, folder=here)
    assert from_config.origins[name] == f"file {far}"
    assert value_of(from_config, name) == expected

    near = write_file(here, **{name: text})
    assert settings.load(environ=bare, folder=here).origins[name] == f"file {near}"

    from_environment = settings.load(environ={**bare, variable: text}, folder=here)
    assert from_environment.origins[name] == f"environment {variable}"
    assert value_of(from_environment, name) == expected

    from_flag = settings.load({name: text}, environ={**bare, variable: "nonsense"}, folder=here)
    assert from_flag.origins[name] == "flag"
    assert value_of(from_flag, name) == expected


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_names_where_it_stands(name: str, tmp_path: Path) -> None:
    variable = settings.specs()[name].environment[0]
    with pytest.raises(UsageError, match=f"environment {variable}") as caught:
        settings.load(environ={variable: BAD[name]}, folder=tmp_path)
    assert name in caught.value.what
    assert repr(BAD[name]) in caught.value.what
    assert caught.value.fix.startswith("give ")

    path = write_file(tmp_path, **{name: BAD[name]})
    with pytest.raises(UsageError) as caught:
        settings.load(environ={}, folder=tmp_path)
    assert str(path) in caught.value.what


def test_a_flag_of_none_was_not_given(tmp_path: Path) -> None:
    tree = settings.load({"run.threads": None}, environ={}, folder=tmp_path)
    assert tree.run.threads is None
    assert tree.origins["run.threads"] == "default"


def test_python_code_may_hand_in_the_value_itself(tmp_path: Path) -> None:
    workload = Workload(9, 9, 9)
    flags = {"run.workload": workload, "run.threads": 3, "paths.cache": Path("/x")}
    tree = settings.load(flags, environ={}, folder=tmp_path)
    assert tree.run.workload is workload
    assert tree.run.threads == 3
    assert tree.paths.cache == Path("/x")


def test_a_relative_path_starts_where_it_was_written(tmp_path: Path) -> None:
    here = tmp_path / "here"
    (tmp_path / "config" / "negawatt").mkdir(parents=True)
    write_file(tmp_path / "config" / "negawatt", **{"paths.data": "corpora"})
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "NEGAWATT_CACHE": "cache"}
    tree = settings.load(environ=environ, folder=here)
    assert tree.paths.data == tmp_path / "config" / "negawatt" / "corpora"
    assert tree.paths.cache == here / "cache"


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tree = settings.load(environ={"NEGAWATT_DATA": "~/texts"}, folder=Path("/"))
    assert tree.paths.data == tmp_path / "texts"
    assert tree.paths.ledger == tmp_path / ".local/share/negawatt/ledger.db"


def test_the_xdg_folders_are_followed(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": "/x/data", "XDG_CACHE_HOME": "/x/cache"}
    tree = settings.load(environ=environ, folder=tmp_path)
    assert tree.paths.ledger == Path("/x/data/negawatt/ledger.db")
    assert tree.paths.cache == Path("/x/cache/negawatt")


def test_an_empty_variable_was_not_given(tmp_path: Path) -> None:
    tree = settings.load(environ={"NEGAWATT_THREADS": ""}, folder=tmp_path)
    assert tree.origins["run.threads"] == "default"


def test_the_variable_of_the_hub_library_counts(tmp_path: Path) -> None:
    tree = settings.load(environ={"HF_HUB_OFFLINE": "1"}, folder=tmp_path)
    assert tree.hub.offline
    assert tree.origins["hub.offline"] == "environment HF_HUB_OFFLINE"


def test_a_file_may_use_tables_and_toml_types(tmp_path: Path) -> None:
    (tmp_path / settings.FILE_NAME).write_text(
        "[run]\nthreads = 2\nseed = 5\n[carbon]\nintensity = 24.5\n[hub]\noffline = true\n"
    )
    tree = settings.load(environ={}, folder=tmp_path)
    assert (tree.run.threads, tree.run.seed) == (2, 5)
    assert tree.carbon.intensity == GramsPerKWh(24.5)
    assert tree.hub.offline


@pytest.mark.parametrize(
    ("text", "fact", "fix"),
    [
        ("[run]\nthread = 2\n", "run.thread", "did you mean run.threads?"),
        ("colour = 'green'\n", "colour", "known are: paths.ledger"),
        ("[run]\nthreads = [1, 2]\n", "run.threads", "give it one"),
        ("run = \n", "cannot be read", "correct it"),
    ],
)
def test_a_bad_file_is_named_with_its_fix(text: str, fact: str, fix: str, tmp_path: Path) -> None:
    path = tmp_path / settings.FILE_NAME
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        settings.load(environ={}, folder=tmp_path)
    assert str(path) in caught.value.what
    assert fact in caught.value.what
    assert fix in caught.value.fix


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / settings.FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        settings.load(environ={}, folder=tmp_path)


def test_a_variable_that_names_nothing_is_reported(tmp_path: Path) -> None:
    environ = {"NEGAWATT_LEGDER": "/x", "OTHER": "1"}
    assert settings.load(environ=environ, folder=tmp_path).ignored == ("NEGAWATT_LEGDER",)


@effort(max_examples=20)  # each reads the installed runtimes twice
@given(st.integers(1, 9999), st.integers(0, 999_999_999), st.floats(0, 1e4, allow_nan=False))
def test_what_is_shown_can_be_given_back(threads: int, seed: int, grams: float) -> None:
    environ = {
        "NEGAWATT_THREADS": str(threads),
        "NEGAWATT_SEED": str(seed),
        "NEGAWATT_INTENSITY": f"{grams:.3f}",
    }
    first = settings.load(environ=environ, folder=Path("/"))
    shown = {row.name: row.value for row in settings.rows(first) if row.value}
    second = settings.load(shown, environ={}, folder=Path("/"))
    assert settings.rows(second) == tuple(
        row._replace(origin="flag" if row.value else "default") for row in settings.rows(first)
    )


def test_the_command_lists_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGAWATT_SEED", "11")
    monkeypatch.setenv("NEGAWATT_SEDE", "12")
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 0
    for name in settings.specs():
        assert name in result.stdout
    assert "[environment NEGAWATT_SEED]" in result.stdout
    assert "NEGAWATT_SEDE" in result.stderr


def test_the_command_prints_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGAWATT_SEED", "11")
    printed = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert set(printed["settings"]) == set(settings.specs())
    assert printed["settings"]["run.seed"]["value"] == "11"
    assert printed["settings"]["run.threads"]["value"] is None


def test_the_password_of_a_meter_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "shelly://plug.example redfish://monitor:s3cret@bmc.example/Chassis/1"
    tree = settings.load(environ={"NEGAWATT_OUTSIDE_METERS": address})
    (shown,) = [row.value for row in settings.rows(tree) if row.name == "meters.outside"]
    assert shown == "shelly://plug.example redfish://monitor:…@bmc.example/Chassis/1"
    monkeypatch.setenv("NEGAWATT_OUTSIDE_METERS", "")
    settings.name_meters(tree)
    assert os.environ["NEGAWATT_OUTSIDE_METERS"] == address  # the adapter needs it whole
