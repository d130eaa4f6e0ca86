"""A workload of a notebook's cells, as a file that workers can load.

Workers are processes of their own, so what they train stands in a file. The statements of the cells
that a workload hangs on are kept as one, in a folder beside the notebook: plain Python, which can
be read, compared and run again by every other command. A pickle could carry more, but nobody could
say what is in it, nor whether it has changed.
"""

import ast
import builtins
import re
import sys
from codeop import Compile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from batchfront.errors import BatchfrontError, CatalogError
from batchfront.notebook.statements import as_module, hanging_on, statements_of
from batchfront.phrases import first_few
from batchfront.study.identity import differences, study_identity
from batchfront.whole_file import write_files
from batchfront.workload.base import WorkloadBase
from batchfront.workload.catalog import workload_from
from batchfront.workload.code.versions import Code, changes, digest
from batchfront.workload.code.walk import Walk
from batchfront.workload.loop import Loop
from batchfront.workload.user_error import error_in
from batchfront.workload.user_file import loading

FOLDER = "batchfront_cells"
"""The folder beside a notebook that has the source of its workloads."""

_OF_NOTEBOOKS = {"In", "Out", "display", "get_ipython"}


def shell() -> Any:
    """The IPython that runs this process's code; None where none does."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


@dataclass(frozen=True)
class Cells:
    """The cells of a notebook that have been run: the names that they have bound, and their
    texts, in the order in which they ran."""

    names: Mapping[str, Any]
    texts: tuple[str, ...]

    @classmethod
    def here(cls) -> "Cells | None":
        """Those of this process; None where it is no notebook's, nor an IPython's."""
        here = shell()
        return None if here is None else cls(here.user_ns, tuple(here.user_ns.get("In", ())))

    def name_of(self, given: object) -> str | None:
        """The name that they have given an object; the first of several, None if they have
        none."""
        own = (name for name in self.names if not name.startswith("_"))
        return next((name for name in own if self.names[name] is given), None)

    def source(self, name: str) -> str:
        """The text of a module that makes what they have given a name.

        Raises CatalogError, naming it, for what they have bound by no statement.
        """
        statements = list(statements_of(self.texts))
        chosen, unbound = hanging_on(statements, name, self._is_module)
        only = sorted(unbound & _OF_NOTEBOOKS)
        unseen = sorted(n for n in unbound if n in self.names and not hasattr(builtins, n))
        if any(one.always and not one.binds for one in chosen):  # `import *`, of any names
            unseen = []
        if only or unseen:
            why = (
                f"it uses {first_few(only)}, which only a notebook has"
                if only
                else f"no statement of a cell binds {first_few(unseen)}"
            )
            raise CatalogError(f"{name}: {_FOR_WORKERS}, and {why}; {_INSTEAD}")
        return as_module(f"What `{name}` hangs on, of a notebook's cells.", chosen)

    def _is_module(self, name: str) -> bool:
        return isinstance(self.names.get(name), ModuleType)


_FOR_WORKERS = "its source is kept as a file, for the workers"

_INSTEAD = "write it in a cell as plain statements, or in a file, and name that: file.py:name"


def kept_as_file(cells: Cells, name: str, folder: Path) -> str:
    """Keep the source of a workload of these cells, or of a function that makes one, as a file.

    folder -- beside which it is kept: what its own modules are imported from

    Returns the spec by which it is loaded from there. A file is named by its text too, and never
    written over: studies that were planned from an earlier text go on. Raises CatalogError where
    the text doesn't make what the cells have made.
    """
    made = workload_from(cells.names[name], name)
    text = cells.source(name)
    _refuse_another(cells, made, name, text)
    stem = re.sub(r"\W+", "_", made.name).strip("_")
    module = f"cells_{stem}_{sha256(text.encode()).hexdigest()[:8]}"
    file = folder / FOLDER / f"{module}.py"
    if not file.exists():
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)
        write_files({file: text.encode()}, "cells")
    return f"{folder}:{FOLDER}.{module}:{name}"


def _refuse_another(cells: Cells, made: WorkloadBase, name: str, text: str) -> None:
    """Raise CatalogError where the text of a module makes another workload than the cells have."""
    module = _run(name, text)
    again = workload_from(vars(module)[name], name)
    changed = [] if made.batch_sizes == again.batch_sizes else ["batch_sizes"]
    for size in made.batch_sizes:
        changed += differences(_said(made, size), _said(again, size))
    before, after = _code(made), _code(again)
    if digest(before) != digest(after):
        there, here = vars(module), cells.names
        found = [n for n in there if n in here and not n.startswith("__")]
        found = [n for n in found if Walk("").value(here[n]) != Walk("").value(there[n])]
        found = [n for n in found if not isinstance(here[n], WorkloadBase)]
        changed += found or [label.rpartition(":")[2] for label in changes(before, after)]
    if changed:
        raise CatalogError(
            f"{name}: {_FOR_WORKERS}, and made by that it is another than in the notebook: "
            f"{first_few(list(dict.fromkeys(changed)))}. Run the cells again that make it, in "
            "their order; what is drawn at random needs a seed"
        )


def _said(workload: WorkloadBase, batch_size: int) -> dict[str, Any]:
    return study_identity(workload, batch_size, {}, {})


def _run(name: str, text: str) -> ModuleType:
    module = ModuleType(f"cells_{sha256(text.encode()).hexdigest()[:12]}")
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    try:
        with loading(name):
            # Each for itself, as a notebook does: what it compiles to hangs on what is beside it.
            compiled, tree = Compile(), ast.parse(text)
            for node in tree.body:
                exec(compiled(ast.Module([node], []), f"<{name}>", "exec"), vars(module))  # type: ignore[arg-type]
    except BatchfrontError:
        raise
    except (Exception, SystemExit) as error:
        raise CatalogError(
            f"{name}: {_FOR_WORKERS}, and that does not run: {error_in(error)}; {_INSTEAD}"
        ) from error
    return module


def _code(workload: WorkloadBase) -> Code:
    if isinstance(workload, Loop):
        from batchfront.workload.code.loop import loop_code

        return loop_code(workload)
    from batchfront.workload.code.fingerprint import Fingerprint
    from batchfront.workload.workload import Workload

    if not isinstance(workload, Workload):
        return {}
    found = Fingerprint.of(workload)
    return {**found.parts, **found.data}
