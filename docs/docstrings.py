"""Write the page of the Python interface from its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from generate import FOLDER, MADE, first_line, tidy

PAGE = FOLDER / "reference" / "python.md"
FRONT_DOOR = ("measure", "tracker", "callback", "optimize", "predict")
#: The vocabulary, in the order a reader needs it.
MODULES = ("estimate", "quantities", "records", "outcome", "protocols")
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")


def page() -> str:
    """The page of the Python interface."""
    import negawatt

    parts = [f"{MADE}# Python\n", _markdown(negawatt.__doc__)]
    for name in FRONT_DOOR:
        parts += _object(f"negawatt.{name}", getattr(negawatt, name), level=2)
    for name in MODULES:
        module = import_module(f"negawatt.core.{name}")
        parts += [f"## `{module.__name__}`\n", _markdown(module.__doc__)]
        for thing_name, thing in _public(module):
            parts += _object(thing_name, thing, level=3)
    return tidy(parts)


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    for name, thing in vars(module).items():
        if getattr(thing, "__module__", "") == module.__name__ and not name.startswith("_"):
            yield name, thing


def _object(name: str, thing: object, *, level: int) -> list[str]:
    shown = [f"{'#' * level} `{name}`\n"]
    signature = _signature(thing)
    if signature:
        shown.append(f"```python\n{name.rpartition('.')[2]}{signature}\n```\n")
    shown.append(_markdown(thing.__doc__))
    if inspect.isclass(thing):
        lines = [_member(key, member) for key, member in vars(thing).items()]
        shown.append("\n".join(line for line in lines if line) + "\n")
    return shown


def _signature(thing: object) -> str:
    """The signature without the modules of its types; nothing for a protocol."""
    if getattr(thing, "_is_protocol", False) or not callable(thing):
        return ""
    if inspect.isclass(thing) and issubclass(thing, str):  # an enumeration
        return ""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(thing)))
    text = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text)  # the default that is an enumeration's
    text = re.sub(r"\b(?:negawatt|collections|pathlib|typing)(?:\.\w+)*\.(?=[A-Z])", "", text)
    return text.removesuffix(" -> None") if inspect.isclass(thing) else text


def _member(name: str, member: object) -> str:
    """A property or method with the first line of its docstring; fields are in the signature."""
    if name.startswith("_"):
        return ""
    if isinstance(member, property):
        return f"- `{name}`: {first_line(member.fget)}"
    function = getattr(member, "__func__", member)
    if not inspect.isfunction(function):
        return ""
    shown = re.sub(r"^\((?:self|cls)(?:, )?", "(", _signature(function))
    return f"- `{name}{shown}`: {first_line(function)}"


def _markdown(docstring: str | None) -> str:
    """A Google docstring as Markdown: sections in bold, examples and drawings in fences."""
    shown: list[str] = []
    for paragraph in inspect.cleandoc(docstring or "").split("\n\n"):
        head, _, rest = paragraph.partition("\n")
        if head in SECTIONS:
            shown.append(f"**{head.removesuffix(':')}**\n\n{_items(rest)}")
        elif head.startswith(">>>"):
            shown.append(f"```pycon\n{paragraph}\n```")
        elif head.startswith("    "):
            code = inspect.cleandoc(paragraph)
            if shown and shown[-1].startswith("```python"):  # code with a blank line in it
                shown[-1] = f"{shown[-1].removesuffix('```')}\n{code}\n```"
            else:
                shown.append(f"```python\n{code}\n```")
        else:
            shown.append(paragraph)
    return "\n\n".join(shown) + "\n"


def _items(text: str) -> str:
    """`name: what` lines, with their continuations, as a list."""
    return re.sub(r"(?m)^(\w+): ", r"- `\1`: ", inspect.cleandoc(text))
