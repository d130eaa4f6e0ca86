"""The statements that a name hangs on, out of all that were run.

What a notebook's cells have made is described by no file. But the cells are text, and Python says
of each statement at their top which names it binds and which it looks up, at once or when functions
that it defines are called. Read backwards from a name, those say which statements have made it what
it is: the last that bind it, all that change it since, and the same of every name that these use.
"""

import ast
import symtable
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

_DONE_AT_ONCE = ("listcomp", "setcomp", "dictcomp", "genexpr")

_RUN_AS_THEY_ARE = ("time", "capture", "prun")
"""Cell magics whose cell runs as it is."""


@dataclass(frozen=True)
class Statement:
    """A statement at the top of a cell.

    text    -- as it stands there
    binds   -- the names that it binds
    changes -- the names whose objects it may change: `a.b = 1`, `a[0] = 1`, `a.append(1)`
    uses    -- the names that it looks up as it runs
    later   -- those that functions look up which it defines
    anew    -- whether what it binds hangs on nothing that was bound to these names before
    always  -- whether it counts whatever is asked for
    """

    text: str
    binds: frozenset[str]
    changes: frozenset[str]
    uses: frozenset[str]
    later: frozenset[str]
    anew: bool
    always: bool = False


def statements_of(cells: Iterable[str]) -> Iterator[Statement]:
    """The statements of cells, in their order; cells that are no Python were never run."""
    for cell in cells:
        try:
            tree = ast.parse(cell)
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in tree.body:
            inner = _inside_magic(node)
            if inner is not None:
                yield from statements_of([inner])
                continue
            try:
                yield _statement(_text(cell, node), node)
            except SyntaxError:  # `await` at the top, say
                continue


def hanging_on(
    statements: Sequence[Statement], name: str, is_module: Callable[[str], bool]
) -> tuple[list[Statement], frozenset[str]]:
    """The statements that have made a name what it is, in their order, and the names that none of
    them binds.

    is_module -- tells whether a name stands for a module, which no call is taken to change, but for
                 one that sets a seed
    """
    later: set[str] = set()
    calls: dict[str, set[str]] = {}
    while True:
        needed, chosen = {name, *later}, []
        for one in reversed(statements):
            changed = {n for n in one.changes if _is_seed(one.text) or not is_module(n)}
            if not (one.always or needed & one.binds or needed & changed):
                continue
            chosen.append(one)
            if one.anew:
                needed -= one.binds
            needed |= _with_what_they_call(one.uses, calls)
        found = {n for one in chosen for n in one.later}
        known = len(later), sum(map(len, calls.values()))
        later |= found
        for one in chosen:
            for bound in one.binds if one.later else ():
                calls.setdefault(bound, set()).update(one.later)
        if known == (len(later), sum(map(len, calls.values()))):
            return chosen[::-1], frozenset(needed)


def as_module(about: str, statements: Sequence[Statement]) -> str:
    """The text of a module that runs these statements.

    about -- its docstring
    """
    future = [one for one in statements if one.text.startswith("from __future__ ")]
    text, defined = f'"""{about}"""\n', False
    for one in [*dict.fromkeys(future), *(one for one in statements if one not in future)]:
        defines = one.text.startswith(("def ", "class ", "async def ", "@"))
        apart = "\n\n" if defines or defined else "\n" * (text.count("\n") == 1)
        text += f"{apart}{one.text}\n"
        defined = defines
    return text


def _with_what_they_call(names: Iterable[str], calls: dict[str, set[str]]) -> set[str]:
    """Names, and those that functions among them look up, and so on."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += calls.get(name, ())
    return found


def _statement(text: str, node: ast.stmt) -> Statement:
    table = symtable.symtable(text, "cell", "exec")
    names = table.get_symbols()
    binds = {s.get_name() for s in names if s.is_assigned() or s.is_imported()}
    uses, later = {s.get_name() for s in names if s.is_referenced()}, set[str]()
    _look_inside(table, True, uses, later)
    star = isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names)
    future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return Statement(
        text,
        frozenset(binds - {"*"}),
        frozenset(_changed(node)),
        frozenset(uses),
        frozenset(later),
        _binds_anew(node),
        star or future,
    )


def _look_inside(table: symtable.SymbolTable, now: bool, uses: set[str], later: set[str]) -> None:
    """Gather the names that scopes inside of one look up at the top."""
    for inner in table.get_children():
        if inner.get_name() == "lambda":  # which may be called at once, as a key is
            kinds = [uses, later]
        elif inner.get_type() == "class" or inner.get_name() in _DONE_AT_ONCE:
            kinds = [uses if now else later]
        else:
            kinds = [later]
        for kind in kinds:
            kind.update(s.get_name() for s in inner.get_symbols() if s.is_global())
        _look_inside(inner, now and kinds[0] is uses, uses, later)


def _binds_anew(node: ast.stmt) -> bool:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.ImportFrom():
            return True
        case ast.Import(names=names):
            return not any("." in one.name for one in names)  # which adds to what is there
        case ast.Assign():
            return True
        case ast.AnnAssign(value=value):
            return value is not None
    return False


def _changed(node: ast.stmt) -> Iterator[str]:
    """The names whose objects a statement changes, as far as it shows that."""
    for inner in _outside_functions(node):
        match inner:
            case ast.Attribute() | ast.Subscript() if not isinstance(inner.ctx, ast.Load):
                yield from _base(inner)
            case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
                yield from _base(method)
            case ast.Delete(targets=targets):
                for target in targets:
                    yield from _base(target)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        yield node
        for inner in ast.iter_child_nodes(node):
            yield from _outside_functions(inner)


def _base(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id


def _is_seed(text: str) -> bool:
    return "seed" in text.partition("(")[0]


def _inside_magic(node: ast.stmt) -> str | None:
    """The cell below a magic such as `%%time`; None of any other statement."""
    match node:
        case ast.Expr(ast.Call(ast.Attribute(attr="run_cell_magic"), [named, _, cell])):
            if isinstance(named, ast.Constant) and named.value in _RUN_AS_THEY_ARE:
                return str(cell.value) if isinstance(cell, ast.Constant) else None
    return None


def _text(cell: str, node: ast.stmt) -> str:
    """A statement as it was written, with its decorators."""
    above: Collection[ast.expr] = getattr(node, "decorator_list", ())
    first = min((node.lineno, *(one.lineno for one in above)))
    lines = cell.encode().splitlines()[first - 1 : node.end_lineno]
    lines[-1] = lines[-1][: node.end_col_offset]
    if not above:
        lines[0] = lines[0][node.col_offset :]
    return b"\n".join(lines).decode()
