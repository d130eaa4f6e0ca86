"""Whatever says which batch size to train with says the same of the same database."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from batchfront.advice.timings import keep_timings
from batchfront.cli.output.curves import Fitted
from batchfront.frontier.curve.answers import fit_curve
from batchfront.frontier.curve.text import estimate_text, size
from batchfront.frontier.frontier import load_frontier
from batchfront.notebook.results import Results
from batchfront.report.data import load_subjects
from batchfront.report.html import Dashboard
from batchfront.report.index import Answers
from batchfront.report.sections.header import head
from batchfront.report.text import fitted
from batchfront.store.snapshot import snapshot
from batchfront.store.url import open_storage
from tests.batchfront.cli.conftest import Result
from tests.batchfront.cli.test_advise import timings
from tests.batchfront.frontier.test_recipe import SIZES, with_lucky_winners
from tests.searches import NAME, end, planned, reached

Run = Callable[..., Result]

URL = "sqlite:///batchfront.db"


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("through", ["expected steps", "fastest trials"])
def test_all_that_say_which_batch_size_to_train_with_say_the_same(
    through: str, made_database: Path, folder: Path, batchfront: Run
) -> None:
    (folder / "batchfront.db").write_bytes(made_database.read_bytes())
    storage = open_storage(URL)
    if through == "expected steps":
        with_lucky_winners(storage)
    else:
        planned(storage, trials=1, batch_sizes=SIZES)
        for batch in SIZES:
            end(storage, f"{NAME}/b{batch}", {0: reached(round(400 / batch + 10))})

    frontier = load_frontier(storage, NAME)
    curve = fit_curve(frontier)
    chosen = Fitted(frontier, curve).recommendation
    assert chosen is not None
    assert chosen.by_curve
    (plain,) = json.loads(batchfront("curve", "--format", "json").out)
    assert plain["fitted_to"] == through
    assert plain["recommendation"] == json.loads(json.dumps(chosen.to_dict()))

    # In steps, while nothing was timed.
    page = flat(page_head())
    said = [flat(batchfront("curve").out), flat(notebook())]
    useful, perfect = (
        flat(estimate_text(one, size)) for one in (curve.useful_until, curve.perfect_until)
    )
    for surface in said:
        assert flat(chosen.text) in surface
        assert f"useful up to batch size {useful}" in surface
        assert f"near-perfect up to batch size {perfect}" in surface
    assert flat(chosen.headline) in page
    for spent in {chosen.alone, chosen.several}:
        assert f"batch size {spent.batch_size:,} {flat(spent.text)}" in page
    assert f"Useful up to batch size {useful}" in page
    assert f"near-perfect up to batch size {perfect}" in page
    known = Answers.of(frontier, fitted(frontier), (), compared=False).estimates
    short = [one.replace("90 % interval ", "") for one in (useful, perfect)]
    assert [flat(one or "") for one in known] == short

    # How to train there is of the trial that the curve goes through.
    recipe = json.loads(recipe_of(batchfront, chosen.several.batch_size))
    expected = frontier.expected.by_batch_size.get(chosen.several.batch_size)
    if through == "expected steps":
        assert expected is not None
        assert recipe["metaparameters"] == expected.metaparameters
        assert recipe["steps"] == expected.steps
    else:
        (best,) = (p for p in frontier.points if p.batch_size == chosen.several.batch_size)
        assert (recipe["metaparameters"], recipe["steps"]) == (best.params, best.steps)

    # In hours, once steps were timed.
    keep_timings(storage, timings())
    advice = json.loads(batchfront("advise", NAME, "--format", "json").out)
    answer, choice = flat(advice["answer"]), advice[advice["recommended"]]
    assert answer in flat(batchfront("curve").out)
    assert answer in flat(notebook())
    assert answer in flat(page_head())
    there = json.loads(recipe_of(batchfront, choice["batch_size"]))
    assert choice["recipe"]["metaparameters"] == there["metaparameters"]
    storage.close()


def page_head() -> str:
    """The words on the first screen of the page."""
    with snapshot(URL) as moment:
        (subject,) = load_subjects(moment, (NAME,), Dashboard())
    return unescape(re.sub("<[^>]*>", " ", head(subject).html))


def notebook() -> str:
    return "\n".join(Results(URL, NAME).as_tables()[-1].notes)


def recipe_of(batchfront: Run, batch_size: int) -> str:
    return batchfront("recipe", NAME, "--batch-size", str(batch_size), "--format", "json").out
