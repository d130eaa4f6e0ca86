"""The statements that a name hangs on are found, in their order, and no others."""

from collections.abc import Sequence

from batchfront.notebook.statements import as_module, hanging_on, statements_of

MODULES = {"np", "torch", "random"}


def source(cells: Sequence[str], name: str = "made") -> list[str]:
    """The first lines of the statements that a name hangs on."""
    chosen, _ = hanging_on(list(statements_of(cells)), name, MODULES.__contains__)
    return [one.text.partition("\n")[0] for one in chosen]


def test_what_is_looked_up_is_followed_and_all_else_left_out() -> None:
    cells = ["a = 1\nb = 2", "c = a + 1\nprint(b)", "made = c * 2", "result = run(made)"]
    assert source(cells) == ["a = 1", "c = a + 1", "made = c * 2"]


def test_the_last_cell_to_bind_a_name_counts() -> None:
    assert source(["made = 1", "made = 2"]) == ["made = 2"]
    assert source(["made = 1", "made = made + 1"]) == ["made = 1", "made = made + 1"]
    assert source(["made = 1", "made += 1"]) == ["made = 1", "made += 1"]
    assert source(["if a:\n    made = 1"]) == ["if a:"]


def test_a_function_looks_up_what_is_bound_at_the_end() -> None:
    cells = ["def made():\n    return helper(WIDTH)", "def helper(x):\n    return x", "WIDTH = 8"]
    assert source(cells) == ["def made():", "def helper(x):", "WIDTH = 8"]


def test_a_function_that_was_called_has_used_what_was_bound_then() -> None:
    cells = ["WIDTH = 64\ndef make():\n    return WIDTH", "made = make()", "WIDTH = 128"]
    assert source(cells)[:3] == ["WIDTH = 64", "def make():", "made = make()"]


def test_a_functions_own_names_are_not_the_notebooks() -> None:
    cells = ["step = 1\nx = 2", "def made(trial):\n    x = [step for step in trial]\n    return x"]
    assert source(cells) == ["def made(trial):"]


def test_a_class_is_followed_through_its_bases_its_body_and_its_methods() -> None:
    cells = [
        "base = object\nWIDTH = 1\nDEPTH = 2\nother = 3",
        "class made(base):\n    width = WIDTH\n    def __init__(self):\n        self.depth = DEPTH",
    ]
    assert source(cells) == ["base = object", "WIDTH = 1", "DEPTH = 2", "class made(base):"]


def test_decorators_defaults_and_annotations_are_looked_up_at_once() -> None:
    cells = ["mark = f\nsize = 3\nKind = int", "@mark\ndef made(x: Kind = size):\n    pass"]
    assert source(cells) == ["mark = f", "size = 3", "Kind = int", "@mark"]


def test_what_changes_an_object_counts() -> None:
    cells = ["made = []", "made.append(1)", "made[0] = 2", "made.x = 3\ndel made[0]", "print(made)"]
    changed = ["made = []", "made.append(1)", "made[0] = 2", "made.x = 3", "del made[0]"]
    assert source(cells) == changed


def test_what_is_called_of_a_module_changes_nothing_but_for_a_seed() -> None:
    cells = ["import numpy as np", "np.random.seed(0)\nnp.save('x', 1)", "made = np.random.rand(3)"]
    assert source(cells) == ["import numpy as np", "np.random.seed(0)", "made = np.random.rand(3)"]


def test_an_import_of_a_submodule_adds_to_the_one_of_its_package() -> None:
    cells = ["import torch\nimport torch.utils.data", "made = torch.utils.data.Dataset"]
    assert source(cells)[:2] == ["import torch", "import torch.utils.data"]


def test_a_cell_that_is_no_python_is_left_out_and_one_below_a_magic_is_read() -> None:
    timed = "get_ipython().run_cell_magic('time', '', 'made = 1\\nother = 2\\n')"
    assert source(["made = = 2", "await made", timed]) == ["made = 1"]


def test_several_statements_of_one_line_are_told_apart() -> None:
    assert source(["a = 'é'; made = a; b = 2"]) == ["a = 'é'", "made = a"]


def test_names_that_nothing_binds_are_told() -> None:
    _, unbound = hanging_on(list(statements_of(["made = a(len)"])), "made", MODULES.__contains__)
    assert unbound == {"a", "len"}


def test_the_module_has_the_statements_as_they_were_written() -> None:
    cells = ["from __future__ import annotations\nx = 1  # of one\n", "def made(a):\n    return a"]
    cells = ["y = 3", *cells, "made.of = (\n    x,  # one\n    y,\n)"]
    chosen, _ = hanging_on(list(statements_of(cells)), "made", MODULES.__contains__)
    text = as_module("About it.", chosen)
    assert text == (
        '"""About it."""\n\nfrom __future__ import annotations\ny = 3\nx = 1\n\n\n'
        "def made(a):\n    return a\n\n\nmade.of = (\n    x,  # one\n    y,\n)\n"
    )
    compile(text, "made", "exec")
