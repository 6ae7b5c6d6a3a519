"""What the import contracts cannot say: the standard library only, nothing at import."""

from __future__ import annotations

import ast
import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "negawatt"
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "transformers", "openvino")
HOMES_OF_HEAVY = ("models", "compress", "tune", "adapters")
#: The optimize job itself, which needs the search; whoever begins one imports it then.
THE_JOB = {f"actions/optimize/{name}.py" for name in ("job", "finish", "run")}
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
CHANGES = {"append", "add", "clear", "extend", "insert", "pop", "setdefault", "update"}


def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), filename=str(module))


def imports(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            yield from (alias.name for alias in one.names)
        elif isinstance(one, ast.ImportFrom) and one.module:
            yield one.module


def name_of(module: Path) -> str:
    return str(module.relative_to(SOURCE))


def room_of(module: Path) -> str:
    return module.relative_to(SOURCE).parts[0].removesuffix(".py")


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: none that are for types or programs."""
    for statement in body:
        guard = ast.unparse(statement.test) if isinstance(statement, ast.If) else ""
        if "TYPE_CHECKING" in guard or guard == "__name__ == '__main__'":
            continue
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from at_import(statement.body)


def in_room(*rooms: str) -> list[Path]:
    return [module for module in MODULES if room_of(module) in rooms]


@pytest.mark.parametrize("module", in_room("core"), ids=name_of)
def test_core_knows_the_standard_library_only(module: Path) -> None:
    for name in imports(tree(module)):
        top = name.partition(".")[0]
        assert top in sys.stdlib_module_names or name.startswith("negawatt.core"), name


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_engines_stay_in_their_rooms(module: Path) -> None:
    if room_of(module) not in HOMES_OF_HEAVY:
        for name in imports(tree(module)):
            assert name.partition(".")[0] not in HEAVY


@pytest.mark.parametrize("module", in_room("decisions"), ids=name_of)
def test_decisions_ask_no_clock_and_no_dice(module: Path) -> None:
    calls = {ast.unparse(n.func) for n in ast.walk(tree(module)) if isinstance(n, ast.Call)}
    asked = {call for call in calls if call.endswith((".now", ".today", ".default_rng"))}
    assert not asked
    assert not calls & {"open", "print", "input"}


def assigned(statement: ast.stmt) -> tuple[set[str], ast.expr | None]:
    """The names a statement gives a value to, and the value."""
    if isinstance(statement, ast.Assign):
        return {ast.unparse(target) for target in statement.targets}, statement.value
    if isinstance(statement, ast.AnnAssign):
        return {ast.unparse(statement.target)}, statement.value
    return set(), None


def changed(node: ast.AST) -> Iterator[str]:
    """The names of containers that the code below `node` changes in place."""
    for one in ast.walk(node):
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store | ast.Del):
            yield ast.unparse(one.value)
        is_method = isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)
        if is_method and one.func.attr in CHANGES:
            yield ast.unparse(one.func.value)


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_module_holds_state(module: Path) -> None:
    # A table that is written down whole is a constant; one that starts empty waits
    # to be filled, and one that is changed is a variable.
    code = tree(module)
    assert not [node.lineno for node in ast.walk(code) if isinstance(node, ast.Global)]
    touched = set(changed(code))
    for statement in code.body:
        names, value = assigned(statement)
        empty = value is not None and ast.unparse(value) in {
            "{}",
            "[]",
            "set()",
            "dict()",
            "list()",
        }
        assert not empty, f"{names} starts empty"
        assert not names & touched, f"{names & touched} is changed"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_nothing_runs_at_import(module: Path) -> None:
    for statement in at_import(tree(module).body):
        bare_call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        looping = isinstance(statement, ast.For | ast.While)
        main = room_of(module) == "__main__"
        assert main or not (bare_call or looping), f"line {statement.lineno} runs at import"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_name_says_what_is_inside(module: Path) -> None:
    parts = {part.removesuffix(".py") for part in module.relative_to(SOURCE).parts}
    assert not parts & NO_NAMES


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_assert_in_the_source(module: Path) -> None:
    # `python -O` drops assertions, and with them whatever they guarded.
    assert not [n.lineno for n in ast.walk(tree(module)) if isinstance(n, ast.Assert)]


def test_every_adapter_is_reached_by_a_name() -> None:
    project = tomllib.loads((SOURCE.parent.parent / "pyproject.toml").read_text())["project"]
    for group, points in project["entry-points"].items():
        found = {point.name: point.value for point in importlib.metadata.entry_points(group=group)}
        for name, value in points.items():
            assert found.get(name) == value, f"{group}: {name} (install the package again)"
            module, _, attribute = value.partition(":")
            path = SOURCE.joinpath(*module.split(".")[1:]).with_suffix(".py")
            assert path.is_file(), value
            assert attribute in {getattr(n, "name", "") for n in tree(path).body}, value


def test_importing_every_light_room_loads_no_engine() -> None:
    rooms = [
        ".".join(("negawatt", *module.relative_to(SOURCE).with_suffix("").parts))
        for module in MODULES
        if room_of(module) not in (*HOMES_OF_HEAVY, "__main__") and name_of(module) not in THE_JOB
    ]
    code = f"import importlib, sys\nfor m in {rooms!r}: importlib.import_module(m)\n"
    code += f"print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_network_is_closed_to_tests() -> None:
    import socket

    with socket.socket() as door, pytest.raises(UserWarning, match=r"192\.0\.2\.1"):
        door.connect(("192.0.2.1", 80))  # an address reserved for documentation
