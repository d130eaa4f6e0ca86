"""What a user's file of Python says before it is run, which may import for seconds: whether it has
a name at all, and by which metric of ours the workload that it makes is measured.

Nothing is refused here that running the file would allow.
"""

import ast
from collections.abc import Sequence
from pathlib import Path

from batchfront.workload.goal import Goal, ReportedMetric
from batchfront.workload.user_file import names_kind, not_run, not_there, there


def look_for(path: Path, name: str) -> None:
    """Raise CatalogError as `function_in` does for a file that isn't there, or is no Python, or has
    functions and binds no such name anywhere."""
    _refuse_unreadable(path)
    nodes = _nodes(path)
    bound = _bound(nodes)
    if not name or name in bound or _binds_others(nodes, bound):
        return
    functions = {
        node.name: node
        for node in _statements(nodes)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    makers = [n for n, node in functions.items() if node.returns and _is_kind(node.returns)]
    for node in _statements(nodes):
        match node:
            case ast.Assign(targets=[ast.Name(id=made)], value=ast.Call(func=kind)):
                makers += [made] if _is_kind(kind) else []
    if makers or functions:  # else it is no such file, and running it says what it lacks
        raise not_there(path, name, makers, [*functions])


def refuse_goal(path: Path, name: str, value: float) -> None:
    """Raise UsageError as a `Goal` does for a value that can't be one, of the metric by which a
    function of the file measures: one that returns `Workload(..., goal=Goal(ERROR_RATE, ...))`,
    say, with a metric of ours."""
    nodes = _nodes(path)
    makers = [
        node
        for node in _statements(nodes)
        if isinstance(node, ast.FunctionDef)
        and (node.name == name or (not name and node.returns and _is_kind(node.returns)))
    ]
    metrics = [_metric(node, nodes) for node in makers]
    if len(metrics) == 1 and metrics[0] is not None:
        Goal(metrics[0], value)


_METRICS = {
    "ERROR_RATE": ReportedMetric("error rate", "lower", 0.0, 1.0),
    "ACCURACY": ReportedMetric("accuracy", "higher", 0.0, 1.0),
    "AVERAGE_PRECISION": ReportedMetric("average precision", "higher", 0.0, 1.0),
    "CROSS_ENTROPY": ReportedMetric("cross-entropy", "lower", 0.0),
    "TOKEN_CROSS_ENTROPY": ReportedMetric("cross-entropy", "lower", 0.0),
    "MEAN_SQUARED_ERROR": ReportedMetric("mean squared error", "lower", 0.0),
}
"""The metrics that batchfront computes, without torch."""


def _metric(maker: ast.FunctionDef, nodes: Sequence[ast.AST]) -> ReportedMetric | None:
    """The metric of ours in all that a function returns, if that is one `Workload(...)`."""
    match [node.value for node in ast.walk(maker) if isinstance(node, ast.Return)]:
        case [ast.Call(func=ast.Name(id="Workload"), keywords=keywords)]:
            goals = [one.value for one in keywords if one.arg == "goal"]
        case _:
            return None
    match goals:
        case [ast.Call(func=ast.Name(id="Goal"), args=[ast.Name(id=name), *_])]:
            imported = {"Workload", "Goal", name} <= _imported(nodes)
            return _METRICS.get(name) if imported else None
    return None


def _imported(nodes: Sequence[ast.AST]) -> set[str]:
    """The names that are batchfront's own, and bound once."""
    ours = [
        one.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("batchfront.")
        for one in node.names
        if one.asname is None
    ]
    others = {
        name
        for node in nodes
        if not isinstance(node, ast.alias) or node.asname or node.name not in ours
        for name in _bound([node])
    }
    return set(ours) - others


def _refuse_unreadable(path: Path) -> None:
    """Raise CatalogError for a file whose syntax is wrong."""
    text = there(path)
    try:
        ast.parse(text.read_bytes(), str(path))
    except SyntaxError as error:
        raise not_run(path, error) from error
    except (OSError, ValueError, RecursionError):
        return


def _nodes(path: Path) -> list[ast.AST]:
    """All of a file's syntax, the module first; nothing of one that running will refuse."""
    try:
        return list(ast.walk(ast.parse(there(path).read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []


def _statements(nodes: Sequence[ast.AST]) -> Sequence[ast.stmt]:
    return nodes[0].body if nodes and isinstance(nodes[0], ast.Module) else ()


def _bound(nodes: Sequence[ast.AST]) -> set[str]:
    """All names that code binds, in whatever function: a module has no others."""
    found: set[str] = set()
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name(ctx=ast.Store()):
                found.add(node.id)
            case ast.alias():
                found.add(node.asname or node.name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                found.add(name)
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                found.add(name)
    return found


_BINDING = {"globals", "locals", "vars", "exec", "eval", "setattr", "modules", "__dict__"}


def _binds_others(nodes: Sequence[ast.AST], bound: set[str]) -> bool:
    """Whether code may have names that don't stand in it."""
    used = {n.id for n in nodes if isinstance(n, ast.Name)}
    used |= {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    return not nodes or not (used | bound).isdisjoint({*_BINDING, "*", "__getattr__"})


def _is_kind(node: ast.expr) -> bool:
    """Whether an annotation, or what is called, is a kind of workload."""
    return names_kind(ast.unparse(node))
