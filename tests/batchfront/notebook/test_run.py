"""A search from Python: what it takes, what it refuses, and what it finds."""

from pathlib import Path
from typing import Any

import pytest

import batchfront
from batchfront import Goal, Log, Loop, Results, UsageError
from batchfront.errors import CatalogError, IdentityError
from tests.loops import loop as made_loop
from tests.programs import NAME, write_sweep

OTHER = Loop(
    name=NAME,
    goal=Goal("error", 0.3, better="lower"),
    search_space={"rate": Log(0.1, 1.0)},
    step_budget=9,
    batch_sizes=(8,),
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('run')}/found.db"


@pytest.fixture(scope="module")
def found(url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the search of a sweep file has found."""
    folder = tmp_path_factory.mktemp("sweep")
    write_sweep(folder)
    sweep = str(folder / "sweep.toml")
    stopped = batchfront.run(sweep, storage=url, workers=1, trials=2, max_time="1s")
    assert (stopped.workload, stopped.url) == (NAME, url)
    return batchfront.run(sweep, storage=url, workers=1, trials=4)


def test_results_are_objects(found: Results) -> None:
    assert repr(found) == f"<Results of {NAME}: all is done>"
    assert len(found.frontier.reached) == 2
    assert found.frontier.points[0].trials == 4
    assert found.status.finished
    assert list(found.trials.trial) == [*range(4), *range(4)]
    assert set(found.measurements.batch_size) == {8, 32}
    assert "steps" in found.figures
    assert found.curve.refusal is not None


def test_results_show_themselves(found: Results) -> None:
    assert str(found).startswith(f"{NAME}: steps to target, val_loss < 0.2\n\nbatch size  steps")
    assert "No curve can be drawn" in str(found)
    assert "<td" in found._repr_html_()
    assert found._repr_mimebundle_()["text/plain"] == str(found)


def test_the_page_is_written(found: Results, tmp_path: Path) -> None:
    assert NAME in found.write_report(tmp_path / "page.html").read_text()


def test_results_are_found_again_by_name(found: Results, url: str) -> None:
    assert Results(url, NAME).frontier.to_dict() == found.frontier.to_dict()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trails": 4}, r"has no option 'trails'; did you mean trial"),
        ({"until_done": True}, "has no option 'until_done'"),
        ({"trials": "many"}, "trials='many': 'many' is no number of trials"),
        ({"seed": "one"}, "seed='one': is a text; write seed=2"),
        ({"seed": "7"}, "seed='7': is a text; write seed=7"),
        ({"goal": "3%"}, "goal='3%': is a text; write goal=0.03"),
        ({"goal": "0,05"}, "goal='0,05': is a text; write goal=0.05"),
        ({"goal": 97}, "goal 97: error rate lies between 0 and 1; 97 % is 0.97"),
        ({"trials": 0}, "trials=0: must be a whole number from 1 to 100,000"),
        ({"trials": True}, "trials=True: must be a whole number"),
        ({"until": 0.5}, "until=0.5: must be a factor above 1"),
        ({"batch_sizes": []}, r"batch_sizes=\[\]: must be one at least, such as 32"),
        ({"batch_sizes": 8}, r"batch_sizes=8: is no list of whole numbers; write .*=\(8, 32\)"),
        ({"batch_sizes": ("8",)}, "is no list of whole numbers"),
        ({"workers": "2"}, "workers='2': is no whole number; write workers=2"),
        ({"code": ["none"]}, "--code none: there is no such file or folder"),
        ({"max_time": "soon"}, "max_time='soon': 'soon' is not a duration"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        batchfront.run("digits/mlp/momentum", storage="sqlite:///none.db", **options)
    assert not Path("none.db").exists()


def test_what_is_no_workload_is_refused() -> None:
    with pytest.raises(UsageError, match=r"batchfront\.run\(3 \(int\)\): takes a Workload"):
        batchfront.run(3)  # type: ignore[arg-type]


def test_a_workload_that_stands_in_no_file_is_refused() -> None:
    with pytest.raises(CatalogError, match="find no file that has this workload as a variable"):
        batchfront.run(made_loop(lambda trial: iter(())))


def test_a_search_within_a_file_that_is_loaded_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "unguarded.py"
    file.write_text("import batchfront\nbatchfront.run('digits/mlp/momentum')\n")
    with pytest.raises(UsageError, match=r'below `if __name__ == "__main__":`'):
        batchfront.run(f"{file}:loop")


def test_another_definition_says_what_may_be_asked_for(url: str, found: Results) -> None:
    del found
    with pytest.raises(IdentityError, match=r"variant='v2' keeps both, side by side"):
        batchfront.run(OTHER, storage=url)
