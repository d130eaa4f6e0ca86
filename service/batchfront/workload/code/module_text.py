"""A module's text: what its statements bind, what they refer to, and what of them can matter."""

import ast
import dis
from collections.abc import Iterable, Iterator
from copy import deepcopy
from importlib.util import resolve_name
from types import CodeType
from typing import Any, NamedTuple

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

_NO_PART = {"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation"}

_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


class Import(NamedTuple):
    """`from module import attribute as name`; without an attribute, the module itself."""

    name: str
    module: str
    attribute: str | None


class ModuleText:
    """A module as it is written.

    bindings -- name to the module's statements that define it, imports aside
    imports  -- name to the import that brings it
    stars    -- modules of `from module import *`
    loose    -- statements that do something else than define names
    codes    -- everything the text compiles to: code that is not among it is of another text
    """

    def __init__(self, text: str, package: str) -> None:
        tree = ast.parse(text)
        self.codes = set(_codes(compile(text, "<text>", "exec", dont_inherit=True)))
        self.statements = [s for s in tree.body if not _is_main(s)]
        self.bindings: dict[str, list[ast.stmt]] = {}
        for statement in self.statements:
            for name in dict.fromkeys(_bound(statement)):
                self.bindings.setdefault(name, []).append(statement)
        found = [i for s in self.statements for i in _imports(s, package, into_functions=False)]
        self.imports = {i.name: i for i in found if i.name != "*"}
        self.stars = [i.module for i in found if i.name == "*"]
        self.loose = [s for s in self.statements if _acts(s)]
        self.package = package
        self._inner: dict[str, list[ast.AST]] = {}
        _gather(tree, "", self._inner)

    def nested(self, code: CodeType) -> ast.AST | None:
        """The function or lambda that `code` was compiled from; None if it was from another
        text."""
        if code not in self.codes:
            return None
        at = self._inner.get(code.co_qualname, [])
        lines = [n for n in at if _first_line(n) == code.co_firstlineno]
        return max((n for n in lines if _spans(n, code)), key=_start, default=None)

    def local_class(self, name: str) -> list[ast.AST]:
        """The classes with this qualified name."""
        return [n for n in self._inner.get(name, []) if isinstance(n, ast.ClassDef)]


def essential(node: ast.AST) -> ast.AST:
    """A copy without what can't change a result: docstrings and annotations."""
    copied: ast.AST = _Essential().visit(deepcopy(node))
    return ast.fix_missing_locations(copied)


def written(node: Any) -> str:
    """A tree as text: the same for the same code, in whatever format and of whatever Python it
    is. Imports are left out: `follow` what they bring."""
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {node.value!r}"
    if isinstance(node, list):
        return f"[{', '.join(filter(None, map(written, node)))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)):
        return ""
    fields = [(n, v) for n, v in ast.iter_fields(node) if n not in _NO_PART]
    shown = [f"{n}={written(v)}" for n, v in fields if v is not None and v != []]
    return f"{type(node).__name__}({', '.join(shown)})"


def global_names(code: CodeType) -> set[str]:
    """The names that code looks up in its module."""
    return {i.argval for c in _codes(code) for i in dis.get_instructions(c) if i.opname in _GLOBAL}


def statement_names(statement: ast.AST) -> set[str]:
    """The same of a statement at the top of a module."""
    module = ast.Module([statement], [])  # type: ignore[list-item]
    return global_names(compile(module, "<statement>", "exec", dont_inherit=True))


def references(node: ast.AST, names: set[str]) -> set[tuple[str, ...]]:
    """Where a tree uses one of `names`, with the attributes taken of it: `a.b.c` as (a, b, c)."""
    chain: list[str] = []
    inner: ast.AST = node
    while isinstance(inner, ast.Attribute):
        chain.append(inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        return {(inner.id, *reversed(chain))} if inner.id in names else set()
    found = (references(child, names) for child in ast.iter_child_nodes(inner))
    return {reference for some in found for reference in some}


def imports_within(node: ast.AST, package: str) -> list[Import]:
    """What functions in a tree import when they are called."""
    return list(_imports(node, package, into_functions=True))


def compiled(code: CodeType) -> str:
    """Code as text where there is no source of it: the same for one minor version of Python."""
    constants = [
        compiled(c)
        if isinstance(c, CodeType)
        else repr(sorted(map(repr, c)) if isinstance(c, frozenset) else c)
        for c in code.co_consts
    ]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_flags)
    return repr((code.co_code, constants, *names))


class _Essential(ast.NodeTransformer):
    """Drops docstrings and annotations; of a class's fields it keeps that they are annotated, which
    makes them a dataclass's."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.ClassDef):
            self._fields = {*getattr(self, "_fields", ()), *map(id, node.body)}
        kept = super().visit(node)
        if getattr(kept, "body", None) == []:
            kept.body = [ast.Pass()]
        return kept

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        return super().generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        node.annotation = ast.Constant(None)
        if id(node) in self._fields:
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value))

    _fields: set[int] = frozenset()  # type: ignore[assignment]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_main(statement: ast.stmt) -> bool:
    """Whether it is `if __name__ == "__main__"`, and nothing else."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    return ast.unparse(statement.test) == "__name__ == '__main__'"


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds in its module, other than by an import."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                yield from inner.names
        return
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


def _imports(node: ast.AST, package: str, *, into_functions: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for one in node.names:
            top = one.name.partition(".")[0]
            yield Import(one.asname, one.name, None) if one.asname else Import(top, top, None)
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            module = resolve_name("." * node.level + module, package) if package else module
        for one in node.names:
            yield Import(one.asname or one.name, module, one.name)
    elif into_functions or not isinstance(node, _FUNCTIONS):
        for child in ast.iter_child_nodes(node):
            yield from _imports(child, package, into_functions=into_functions)


def _acts(node: ast.stmt) -> bool:
    """Whether a statement does something else than define names."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr() | ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return not all(isinstance(t, (ast.Name, ast.Tuple)) for t in targets)
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return not isinstance(target, ast.Name)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return False
    inner: Iterable[ast.AST] = ast.walk(node)
    return any(_acts(child) for child in inner if child is not node and isinstance(child, ast.stmt))


def _gather(node: ast.AST, path: str, found: dict[str, list[ast.AST]]) -> None:
    """Functions, lambdas and classes by qualified name."""
    for child in ast.iter_child_nodes(node):
        inside = path
        if isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
            name = f"{path}{getattr(child, 'name', '<lambda>')}"
            found.setdefault(name, []).append(child)
            inside = f"{name}." if isinstance(child, ast.ClassDef) else f"{name}.<locals>."
        _gather(child, inside, found)


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", [])
    return int(min((d.lineno for d in decorators), default=node.lineno))


def _spans(node: Any, code: CodeType) -> bool:
    """Whether all of the code was compiled from within the node: tells lambdas of one line."""
    if not isinstance(node, ast.Lambda):
        return True
    body = node.body
    begin, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    places = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    return all(begin <= (p[0], p[2]) and (p[1], p[3]) <= end for p in places)


def _start(node: Any) -> tuple[int, int]:
    return node.lineno, node.col_offset
