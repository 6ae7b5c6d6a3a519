"""Every command, option, setting and error has its words, and the pages have them too."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from negawatt import settings
from negawatt.core import errors

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> Iterator[ModuleType]:
    """The script that writes the reference pages, imported from its file."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["generate"]


def test_every_command_has_help(generate: ModuleType) -> None:
    for path, command, _ in generate.commands():
        assert command.help, f"{path} has no help"
        first = command.help.splitlines()[0]
        assert first.endswith("."), f"{path}: {first}"
        assert len(first) <= 79, f"{path}: {first}"


def test_every_option_has_help(generate: ModuleType) -> None:
    for path, command, _ in generate.commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.help, f"{path} {parameter.opts[0]} has no help"


def test_every_argument_is_explained(generate: ModuleType) -> None:
    for path, command, _ in generate.commands():
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                name = str(parameter.metavar or parameter.human_readable_name).strip("[]. ")
                assert name.upper() in str(command.help).upper(), f"{path} does not explain {name}"


def test_every_verb_that_is_used_shows_an_example(generate: ModuleType) -> None:
    for path, command, _ in generate.commands():
        if not isinstance(command, click.Group):
            name = path.split()[1]
            assert f"negawatt {name}" in str(command.help), f"{path} shows no example"


@pytest.mark.parametrize("name", ["cli", "settings", "errors"])
def test_the_page_is_current(generate: ModuleType, name: str) -> None:
    page = getattr(generate, f"{name.upper()}_PAGE")
    text = getattr(generate, f"{name}_page")()
    assert generate.is_current(page, text), "run: make docs"


def test_every_command_and_option_is_on_its_page(generate: ModuleType) -> None:
    page = generate.CLI_PAGE.read_text(encoding="utf-8")
    for path, command, _ in generate.commands():
        assert f"## `{path}`" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for option in parameter.opts:
                    assert option in page, f"{path} {option}"


def test_every_setting_is_on_its_page(generate: ModuleType) -> None:
    page = generate.SETTINGS_PAGE.read_text(encoding="utf-8")
    for name, spec in settings.specs().items():
        assert f"`{name}`" in page
        assert spec.description.endswith(".")
        assert spec.description in page
        for variable in spec.environment:
            assert f"`{variable}`" in page


def test_the_example_file_on_the_page_is_one(generate: ModuleType, tmp_path: Path) -> None:
    page = generate.SETTINGS_PAGE.read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / settings.FILE_NAME).write_text(example, encoding="utf-8")
    tree = settings.load(environ={}, folder=tmp_path)
    defaults = settings.load(environ={}, folder=Path("/"))
    assert [row.value for row in settings.rows(tree)] == [r.value for r in settings.rows(defaults)]


def test_every_error_is_on_its_page_with_its_status(generate: ModuleType) -> None:
    page = generate.ERRORS_PAGE.read_text(encoding="utf-8")
    kinds = [errors.NegawattError]
    for kind in kinds:
        kinds.extend(
            child for child in kind.__subclasses__() if child.__module__ == errors.__name__
        )
        assert f"`{kind.__name__}` | {kind.exit_status} |" in page


@pytest.mark.parametrize("kind", [errors.NegawattError, *errors.NegawattError.__subclasses__()])
def test_direct_errors_have_a_status_of_their_own(kind: type[errors.NegawattError]) -> None:
    others = [errors.NegawattError, *errors.NegawattError.__subclasses__()]
    assert [other.exit_status for other in others].count(kind.exit_status) == 1
