"""The dashboard in a real browser: our note and figure on a study's page, and names that attack."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from batchfront.outcomes import TrialResult
from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.report.web.dashboard import dashboard
from batchfront.report.web.guards import guarded, only_reading
from batchfront.store.database import Storage
from batchfront.store.optuna_trials import create_trials, finish_trials
from batchfront.vocabulary import Outcome
from batchfront.workload.search_space import Choice, Linear
from tests.searches import work
from tests.toy import SPEC, clouds
from tests.waiting import eventually
from tests.web import ask, served

pytestmark = [
    pytest.mark.browser,
    # Optuna warns that importances mean little after so few trials, and the dashboard would answer
    # an error where the tests make one of a warning.
    pytest.mark.filterwarnings("ignore:Target and region quantiles", "ignore:Param .* unique"),
]

HOSTILE = (
    '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2">/'
    "[go](javascript:window.pwned=3) ![i](x) `{{7*7}}` ${7*7}/"
    '**"mm"** <svg onload=window.pwned=4> &lt;'
)
FIGURE = '[id="user-defined-plot:steps-to-target"]'


@pytest.fixture
def address(raced: Storage) -> Iterator[str]:
    with served(guarded(dashboard(raced), "127.0.0.1")) as found:
        yield found


def wait_for(tab: Any, condition: str) -> None:
    """Playwright's own waiting may evaluate strings, which a page may forbid."""
    eventually(lambda: tab.evaluate(condition), condition)


def drawn(selector: str) -> str:
    return f"document.querySelector('{selector} .main-svg') !== null"


def test_a_study_shows_the_frontier_and_explains_itself(opened: Any, address: str) -> None:
    opened.goto(f"{address}dashboard/studies/1")
    wait_for(opened, drawn(FIGURE))
    figure = opened.locator(FIGURE).inner_text()
    assert "clouds/mlp/momentum" in figure
    assert "perfect scaling" in figure
    opened.goto(f"{address}dashboard/studies/1/note")
    opened.get_by_text("first evaluated step at which the goal is passed").wait_for()
    opened.get_by_text("validation error rate < 0.1").wait_for()
    assert opened.locator("code", has_text="clouds/mlp/momentum/b<batch size>").count() == 1
    assert opened.heard == []
    assert {method for method, _ in opened.asked} == {"GET"}
    assert all(url.startswith((address, "data:", "blob:")) for _, url in opened.asked)


def test_every_view_of_a_study_opens_without_an_error(opened: Any, address: str) -> None:
    for view in ("", "/analytics", "/trials", "/trialTable", "/note"):
        opened.goto(f"{address}dashboard/studies/2{view}")
        opened.wait_for_load_state("networkidle")
    opened.goto(f"{address}dashboard/compare-studies?ids=1,2")
    opened.wait_for_load_state("networkidle")
    assert opened.heard == []
    assert {method for method, _ in opened.asked} == {"GET"}


def test_no_plot_of_a_study_is_empty(opened: Any, address: str) -> None:
    for view, plots in (
        ("", ("history", "hyperparameter-importances", "intermediate-values")),
        ("/analytics", ("slice",)),
    ):
        opened.goto(f"{address}dashboard/studies/1{view}")
        for plot in plots:
            wait_for(opened, f"document.querySelector('[id$=-{plot}] .trace') !== null")
    assert opened.heard == []


def test_deleting_a_study_by_hand_is_refused_with_the_reason(opened: Any, address: str) -> None:
    opened.goto(f"{address}dashboard")
    opened.get_by_label("delete study").first.click()
    opened.get_by_role("button", name="Yes").click()
    opened.get_by_text("Failed to delete study").first.wait_for()
    assert len(ask(address, "/api/studies").json["study_summaries"]) == 2


@pytest.fixture
def hostile(storage: Storage) -> Storage:
    """A workload whose name attacks, and in its first study a trial that attacks everywhere."""
    workload = replace(clouds(), name=HOSTILE)
    planned = plan(storage, SPEC, workload, SearchOptions(trials=3))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("batchfront.workload.catalog.load", lambda *_: workload)
        work(storage, name="w", wanted=planned.filter)
    attack = "<img src=x onerror=window.pwned=5>"
    space = {attack: Linear(0.0, 1.0), "{{7*7}}": Choice(attack, "b")}
    draws = {3: {attack: 0.5, "{{7*7}}": attack}, 4: {attack: 0.7, "{{7*7}}": "b"}}
    with storage.write() as conn:
        study = planned.studies[0]
        told = {number: {attack: HOSTILE} for number in draws}
        ids = create_trials(conn, study.id, study.name, space, draws, told)
        reason = f"{attack}\n</pre>{HOSTILE}"
        result = TrialResult(Outcome.REACHED, reason, 9, (), 9, metric=0.1, metric_step=9)
        finish_trials(conn, dict.fromkeys(ids, result))
    return storage


def test_nothing_that_a_name_or_a_reason_says_is_run(opened: Any, hostile: Storage) -> None:
    with served(guarded(only_reading(dashboard(hostile), ""), "127.0.0.1")) as address:
        opened.goto(f"{address}dashboard")
        opened.get_by_text("window.pwned=1").first.wait_for()
        pwned = [opened.evaluate("window.pwned")]
        opened.goto(f"{address}dashboard/studies/1")
        wait_for(opened, drawn(FIGURE))
        assert HOSTILE[:30] in opened.locator(FIGURE).inner_text()
        opened.locator(f"{FIGURE} .points path").first.hover(force=True)
        pwned.append(opened.evaluate("window.pwned"))
        for view in ("/analytics", "/trials", "/trials?numbers=3", "/trialTable", "/note"):
            opened.goto(f"{address}dashboard/studies/1{view}")
            opened.wait_for_load_state("networkidle")
            pwned.append(opened.evaluate("window.pwned"))
        # The network is idle before what came over it is drawn.
        said = "[go](javascript:window.pwned=3) ![i](x) `{{7*7}}` ${7*7}"
        note = opened.locator("main, #dashboard").last
        eventually(lambda: said in note.inner_text(), "the note")
        pwned.append(opened.evaluate("window.pwned"))
        assert opened.locator("a[href^=javascript]").count() == 0
        assert pwned == [None] * 8
    assert not [said for said in opened.heard if "dialog" in said]
    assert not [said for said in opened.heard if "Security Policy" in said]
