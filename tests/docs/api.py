"""docs/api.md, made of what `import batchfront` offers: python -m tests.docs.api"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import batchfront
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "api.md"

_INTRODUCTION = """\
# The Python API

What `import batchfront` offers, as its docstrings say it; nothing else is public. This page is
generated: `python -m tests.docs.api` writes it. [From Python](guides/python.md) and [Writing a
workload](guides/workloads.md) show it in use.
"""

_PARTS = {
    "workload": "To say what to train",
    "reporting": "In a program or a framework's loop",
    "worker": "To run",
    "notebook": "To run",
    "frontier": "To read what was found",
    "ledger": "To read what was found",
    "report": "To read what was found",
    "errors": "What is raised",
}
"""The package that something is of, and the part of the page where it stands."""


def names() -> list[str]:
    """Every public name."""
    return sorted({*batchfront.__all__, "open"}, key=lambda name: (name.lower(), name))


def found(name: str) -> Any:
    """What a public name stands for: at its home, as a package of ours may be called so, too."""
    return getattr(import_module(batchfront._HOME[name]), name)


def api() -> str:
    """The whole page, as Markdown."""
    parts: dict[str, list[str]] = {title: [] for title in _PARTS.values()}
    for name in names():
        parts[_PARTS[batchfront._HOME[name].split(".")[1]]].append(name)
    made = [f"\n## {title}\n\n" + "\n".join(map(_entry, listed)) for title, listed in parts.items()]
    return "\n".join([_INTRODUCTION.rstrip(), *made])


def _entry(name: str) -> str:
    one = found(name)
    heading = f"### {name}\n"
    if not inspect.isclass(one) and not inspect.isfunction(one):
        return f"{heading}\nA `{type(one).__name__}`.\n"
    pieces = [heading, f"```py\n{_signature(name, one)}\n```\n", _text(one.__doc__)]
    if inspect.isclass(one):
        pieces += _members(one)
    return "\n".join(piece for piece in pieces if piece)


def _signature(name: str, one: Any, *, bound: bool = False) -> str:
    """How it is called, a parameter a line where they don't fit on one.

    bound -- whether its first parameter is what it is called of
    """
    try:
        signature = inspect.signature(one)
    except ValueError:  # an exception's, of which nothing is said
        return name
    parameters = [*signature.parameters.values()][bound:]
    signature = signature.replace(
        parameters=[p.replace(annotation=_unquoted(p.annotation)) for p in parameters],
        return_annotation=_unquoted(signature.return_annotation),
    )
    shown = re.sub(r"<(?:[^<>]|<[^<>]*>)*>", "...", f"{name}{signature}")
    shown = re.sub(r"(?<!['/])\b(?:[a-zA-Z_]\w*\.)+(\w+)", r"\1", shown)
    if len(shown) <= 90 or bound:
        return shown
    called, _, returned = shown.rpartition(") -> ") if ") -> " in shown else (shown[:-1], "", "")
    lines = re.split(r", (?=\*|\w+(?:: |=|,|$))", called.removeprefix(f"{name}("))
    end = f") -> {returned}" if returned else ")"
    return "\n".join([f"{name}(", *(f"    {line}," for line in lines), end])


class _Unquoted(str):
    """An annotation that is written as it stands in the source."""

    __slots__ = ()
    __repr__ = str.__str__


def _unquoted(annotation: Any) -> Any:
    return _Unquoted(annotation) if isinstance(annotation, str) else annotation


def _members(of: type) -> Iterator[str]:
    """The public methods and properties that a class has itself, and that say what they are."""
    for name, one in vars(of).items():
        if isinstance(one, (classmethod, staticmethod)):
            one = one.__func__
        if isinstance(one, property):
            text, shown = _text(one.__doc__), name
        elif inspect.isfunction(one):
            text, shown = _text(one.__doc__), _signature(name, one, bound=True)
        else:
            continue
        if text and not name.startswith("_"):
            yield f"**`{shown}`**\n\n{text}"


def _text(docstring: str | None) -> str:
    """A docstring as Markdown: what is said of a parameter or a field becomes an item of a list."""
    lines: list[str] = []
    for line in inspect.cleandoc(docstring or "").splitlines():
        named = re.match(r"\s*([*\w, ]+?) +-- (.*)", line)
        if named:
            before = [""] if lines and lines[-1] and not lines[-1].startswith("- ") else []
            lines += [*before, f"- `{named[1]}`: {named[2]}"]
        elif lines and lines[-1].startswith("- ") and line.startswith("  "):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n" if lines else ""


if __name__ == "__main__":
    PAGE.write_text(api())
