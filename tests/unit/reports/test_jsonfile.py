"""The JSON twin: whole, readable again, and as its published schema says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from outcome_sample import sample_outcome

from negawatt.core.errors import OutputError, UsageError
from negawatt.core.outcome import Outcome
from negawatt.reports import jsonfile, read, write
from negawatt.reports.files import replace_all
from negawatt.reports.schema import outcome_schema


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return sample_outcome()


@pytest.fixture(scope="module")
def value(outcome: Outcome) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(jsonfile.text(outcome))
    return loaded


def test_what_was_written_reads_back_equal(outcome: Outcome, tmp_path: Path) -> None:
    paths = write(outcome, tmp_path / "new" / "folder")
    assert set(paths) == {"html", "json"}
    assert read(paths["json"]) == outcome
    assert sorted(p.name for p in paths["json"].parent.iterdir()) == ["report.html", "report.json"]


def test_writing_twice_gives_the_same_bytes(outcome: Outcome, tmp_path: Path) -> None:
    first = {key: path.read_bytes() for key, path in write(outcome, tmp_path).items()}
    second = {key: path.read_bytes() for key, path in write(outcome, tmp_path).items()}
    assert first == second


def test_the_schema_is_one_and_real_output_obeys_it(value: dict[str, Any]) -> None:
    schema = outcome_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("points", 0, "energy", "kind"), "guessed"),
        (("points", 0, "energy", "value"), "0.4"),
        (("points", 0, "role"), "winner"),
        (("points", 0, "on_front"), 1),
        (("points", 1, "variant", "plan"), []),
        (("layers", 3, "sensitivity"), {"int8-row-sym": None}),
        (("facts", "seed"), 1.5),
        (("facts", "notes"), "a note"),
        (("payback_tokens",), "soon"),
        (("decision",), None),
    ],
)
def test_the_schema_refuses_what_the_records_cannot_hold(
    value: dict[str, Any], path: tuple[str | int, ...], wrong: object
) -> None:
    broken = copy.deepcopy(value)
    place: Any = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, outcome_schema())


@pytest.mark.parametrize("missing", ["points", "decision", "facts", "job_energy"])
def test_the_schema_misses_what_is_missing(value: dict[str, Any], missing: str) -> None:
    broken = {key: item for key, item in value.items() if key != missing}
    with pytest.raises(jsonschema.ValidationError, match=missing):
        jsonschema.validate(broken, outcome_schema())


def test_unknown_fields_are_allowed_as_the_reader_allows_them(
    value: dict[str, Any], outcome: Outcome
) -> None:
    newer = {**value, "mood": "bright"}
    jsonschema.validate(newer, outcome_schema())
    assert jsonfile.outcome_of(newer, "test") == outcome


def test_an_optional_figure_may_be_null(value: dict[str, Any]) -> None:
    assert any(point["predicted_energy"] is None for point in value["points"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no result"),
        ('{"facts": 1}', "holds no result"),
        ('{"facts": {}, "points": [], "decision": {}}', "not a whole report"),
        ('{"facts": {}, "points": [], "decision": {}, "version": 99}', "version 99"),
        ('{"facts": {}, "points": [], "decision": {}, "version": "x"}', "version x"),
    ],
)
def test_a_file_that_is_no_report_is_refused_with_a_fix(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=words) as caught:
        read(path)
    assert caught.value.fix


def test_a_report_cut_short_is_refused(tmp_path: Path, outcome: Outcome) -> None:
    path = tmp_path / "report.json"
    whole = jsonfile.text(outcome)
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="is not JSON"):
        read(path)


def test_an_impossible_interval_is_refused(tmp_path: Path, value: dict[str, Any]) -> None:
    broken = copy.deepcopy(value)
    broken["job_energy"]["low"] = broken["job_energy"]["high"] + 1
    path = tmp_path / "report.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(UsageError, match="outside its interval"):
        read(path)


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "report.json")


def test_a_failed_write_leaves_the_old_files_and_no_others(tmp_path: Path) -> None:
    old = tmp_path / "a.txt"
    old.write_text("old")
    (tmp_path / "b.txt").mkdir()  # cannot be replaced by a file
    (tmp_path / "b.txt" / "inside").touch()

    with pytest.raises(OutputError, match=r"b\.txt") as caught:
        replace_all({tmp_path / "b.txt": "new", old: "new"})

    assert caught.value.fix
    assert old.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path, outcome: Outcome) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write(outcome, tmp_path / "out")


def test_a_report_can_be_read_by_others_as_usual_files_can(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    replace_all({tmp_path / "ours": "text"})
    assert (tmp_path / "ours").stat().st_mode == usual.stat().st_mode
