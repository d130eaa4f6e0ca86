"""A file's text tells a wrong name and an impossible goal, and nothing is refused that may be."""

from pathlib import Path

import pytest

from batchfront.errors import CatalogError, UsageError
from batchfront.workload import metrics
from batchfront.workload.read_ahead import _METRICS, look_for, refuse_goal
from batchfront.workload.user_file import function_in

FILE = """
from batchfront import ERROR_RATE, Goal, Loop, Workload


def mine() -> Workload:
    return Workload(name="a", goal=Goal(ERROR_RATE, 0.1))


other = Loop(name="b")
"""


def written(tmp_path: Path, *replaced: tuple[str, str]) -> Path:
    text = FILE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "file.py").write_text(text)
    return tmp_path / "file.py"


def test_a_name_that_stands_nowhere_is_refused_with_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no function 'me'; its workloads: mine, other"):
        look_for(written(tmp_path), "me")


@pytest.mark.parametrize(
    "makes",
    [
        "from other import *",
        "from other import some as me",
        "import me.too",
        "if True:\n    me = 1",
        "for me in ():\n    pass",
        "with open('x') as me:\n    pass",
        "globals()['me'] = 1",
        "import sys\nsetattr(sys.modules[__name__], 'me', 1)",
        "def __getattr__(name):\n    return 1",
        "match 1:\n    case me:\n        pass",
        "(me := 1)",
    ],
)
def test_a_name_that_a_file_may_have_is_not_refused(tmp_path: Path, makes: str) -> None:
    look_for(written(tmp_path, ("other = Loop", f"{makes}\nother = Loop")), "me")


def test_a_file_that_says_nothing_is_left_to_be_run(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("")
    look_for(tmp_path / "file.py", "me")
    refuse_goal(tmp_path / "file.py", "me", 97)


@pytest.mark.parametrize("name", ["me", ""])
def test_a_file_that_is_no_python_is_refused_as_running_it_would(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.py").write_text("import torch\n\ndef f(:\n")
    with pytest.raises(CatalogError) as refused:
        look_for(tmp_path / "file.py", name)
    assert str(refused.value).endswith(
        "file.py does not run: file.py, line 3: SyntaxError: invalid syntax"
    )
    with pytest.raises(CatalogError) as run:
        function_in(tmp_path / "file.py", name)
    assert str(run.value) == str(refused.value)


@pytest.mark.parametrize("name", ["mine", ""])
def test_a_goal_that_the_metric_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"error rate lies between 0 and 1; 97 % is 0.97"):
        refuse_goal(written(tmp_path), name, 97)
    refuse_goal(written(tmp_path), name, 0.97)


@pytest.mark.parametrize(
    "replaced",
    [
        ("Goal(ERROR_RATE, 0.1)", 'Goal("loss", 0.1, better="lower")'),
        ("Goal(ERROR_RATE, 0.1)", "GOAL"),
        ("    return Workload", "    if x:\n        return other\n    return Workload"),
        ("other = Loop", "ERROR_RATE = 1\nother = Loop"),
        ("import ERROR_RATE", "import ACCURACY as ERROR_RATE"),
        ("from batchfront import", "from elsewhere import"),
        ("return Workload(", "return changed(Workload)("),
        ("def mine() -> Workload", "def yours()"),
    ],
)
def test_a_goal_that_may_be_measured_otherwise_is_not_refused(
    tmp_path: Path, replaced: tuple[str, str]
) -> None:
    refuse_goal(written(tmp_path, replaced), "mine", 97)


def test_the_metrics_are_those_that_batchfront_computes() -> None:
    for name, told in _METRICS.items():
        whole = getattr(metrics, name)
        for field in ("name", "better", "low", "high"):
            assert getattr(told, field) == getattr(whole, field)
