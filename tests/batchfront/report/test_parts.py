"""The analyses on the page: each where there is something to show, and nothing where not."""

import json
import re
from base64 import b64decode
from pathlib import Path

import pytest

from batchfront.frontier.uncertainty.points import point_uncertainties
from batchfront.report.data import Subject, load_subjects
from batchfront.report.html import Dashboard, Part
from batchfront.report.sections.budget import budget_part
from batchfront.report.sections.compare import compare_part
from batchfront.report.sections.curve import curve_part
from batchfront.report.sections.effects import effects_part
from batchfront.report.sections.header import question
from batchfront.report.sections.other_goals import goals_part
from batchfront.report.sections.scaling_rules import rules_part
from batchfront.report.sections.study_figures import trials_figure
from batchfront.report.sections.uncertainty import uncertainty_part
from batchfront.store.url import Storage, open_storage
from tests.batchfront.report.conftest import NO_WINNER, WHOLE
from tests.batchfront.report.rows import add_study

PARTS = (uncertainty_part, rules_part, budget_part, goals_part, effects_part)


def subjects(storage: Storage) -> dict[str, Subject]:
    with storage.read() as moment:
        found = load_subjects(moment, (), Dashboard())
    return {subject.frontier.workload: subject for subject in found}


@pytest.fixture(scope="module")
def all_of(odd: Storage) -> dict[str, Subject]:
    return subjects(odd)


@pytest.fixture(scope="module")
def whole(all_of: dict[str, Subject]) -> Subject:
    return all_of[WHOLE]


def words(part: Part) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", part.html))


@pytest.mark.parametrize("name", ["empty/no/slots", NO_WINNER])
def test_without_a_winner_there_is_nothing(all_of: dict[str, Subject], name: str) -> None:
    assert [part(all_of[name]) for part in PARTS] == [Part()] * len(PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_each_has_its_figures_under_the_names_of_its_places(whole: Subject, part: object) -> None:
    made = part(whole)  # type: ignore[operator]
    assert made.figures
    assert set(re.findall(r'data-figure="([^"]+)"', made.html)) == set(made.figures)


@pytest.mark.parametrize("part", [*PARTS, lambda one: compare_part((one, one))])
def test_no_number_of_a_file_is_text(whole: Subject, part: object) -> None:
    """Bounds and intervals have columns of their own: nobody takes "at most -7 %" apart, or reads
    the 0.07 behind it as more steps."""
    html = part(whole).html  # type: ignore[operator]
    found = re.findall(r'href="data:application/json;base64,([^"]+)"', html)
    texts = {
        text
        for encoded in found
        for row in json.loads(b64decode(encoded))
        for text in row.values()
        if isinstance(text, str)
    }
    assert found
    assert not [
        text for text in texts if re.match(r"[≤≥+−-]|[\d.,]+(?:%| %| \*| to | \()|\d+,\d", text)
    ]


def test_the_files_say_which_way_more_trials_go(whole: Subject) -> None:
    html = uncertainty_part(whole).html
    encoded = re.search(r'base64,([^"]+)" download="[^"]*-certainty.json"', html)
    assert encoded is not None
    known = point_uncertainties(whole.frontier)
    assert json.loads(b64decode(encoded[1])) == [one.to_dict() for one in known]


def test_how_sure_is_told_by_several_finishers(whole: Subject) -> None:
    part = uncertainty_part(whole)
    line = part.figures[f"{whole.key}/certainty"]["data"][0]
    assert line["x"][-1] == 12
    assert line["y"][-1] == 1.0
    assert line["y"] == sorted(line["y"], reverse=True)
    assert "takes 127 % more steps than 32" in words(part)


def test_one_finisher_tells_nothing_and_the_page_says_so(
    all_of: dict[str, Subject], odd: Storage
) -> None:
    part = uncertainty_part(all_of["no/meta/parameters"])
    assert part.figures == {}
    advised = (
        f"batchfront run no/meta/parameters --finishers 3 --storage {odd.url} lets races go on"
    )
    assert f"cannot be known from that one. {advised}" in words(part)


def test_an_adaptive_samplers_trials_tell_nothing_and_the_page_says_why(storage: Storage) -> None:
    add_study(storage, "a/b/c", 8, [{"outcome": "reached", "steps": 40}] * 3, sampler="tpe")
    part = uncertainty_part(subjects(storage)["a/b/c"])
    assert part.figures == {}
    assert "sampled from what earlier ones had shown" in words(part)


def test_winners_run_again_have_their_median_and_range(whole: Subject) -> None:
    row = re.search(
        r"16 0 winner(?:, recommended)? 184 5 of 5 (\d+) (\d+)–(\d+)",
        words(uncertainty_part(whole)),
    )
    assert row
    assert [int(number) for number in row.groups()] == [239, 202, 276]


def test_the_rules_have_their_exponent_and_what_ran_by_them(whole: Subject) -> None:
    text = words(rules_part(whole))
    assert re.search(r"learning rate 0.68 \(0.\d\d to \d.\d\d\)", text)
    assert "1 linear; 0.5 square-root" in text
    assert "128 linear learning rate 0.640 76 400 5.26 run once" in text


def test_a_budget_that_was_not_spent_is_marked(whole: Subject) -> None:
    part = budget_part(whole)
    assert set(part.figures) == {f"{whole.key}/budget/steps", f"{whole.key}/budget/epochs"}
    assert re.search(r"256 .*0\.0250 \*", words(part))


def test_other_goals_stand_beside_the_one_searched_for(whole: Subject) -> None:
    part = goals_part(whole)
    names = [trace["name"] for trace in part.figures[f"{whole.key}/goals"]["data"]]
    assert names[-1] == "&lt; 0.03, the goal searched for"
    assert len(names) > 2


def test_the_critical_batch_size_stands_along_training(whole: Subject) -> None:
    part = goals_part(whole)
    (drawn,) = part.figures[f"{whole.key}/along"]["data"]
    assert len(drawn["x"]) >= 2
    assert all(bar >= 0 for bar in drawn["error_y"]["array"] + drawn["error_y"]["arrayminus"])
    begin, end = part.figures[f"{whole.key}/along"]["layout"]["xaxis"]["range"]
    assert begin > end  # less is better, and training goes to the right
    assert "Critical batch size along training" in words(part)
    assert "< 0.03, its own" in words(part).replace("&lt;", "<")


def test_each_choice_is_compared_with_the_best(whole: Subject) -> None:
    (figure,) = effects_part(whole).figures.values()
    lines = {trace["name"]: trace["y"] for trace in figure["data"]}
    assert lines["0.0"] == [1.0] * 8
    assert lines["0.1"] == pytest.approx([1.12] * 8, rel=0.02)


def test_workloads_are_compared_where_there_are_several(all_of: dict[str, Subject]) -> None:
    part = compare_part(list(all_of.values()))
    drawn = {trace["name"] for trace in part.figures["compared/normalized"]["data"]}
    assert {WHOLE, "single/batch/size", "no/meta/parameters"} <= drawn
    assert f"{NO_WINNER} is left out: the goal has not been reached" in words(part)
    assert compare_part([all_of[WHOLE]]) == Part()


def test_two_workloads_without_a_winner_are_listed_all_the_same(
    made_database: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "two.db"
    copy.write_bytes(made_database.read_bytes())
    opened = open_storage(f"sqlite:///{copy}")
    add_study(opened, "a/b/c", 8, [])
    add_study(opened, "d/e/f", 8, [{}])
    part = compare_part(list(subjects(opened).values()))
    assert part.figures == {}
    assert "a/b/c" in words(part)


def test_a_winner_whose_median_never_gets_there_says_so(
    made_database: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "again.db"
    copy.write_bytes(made_database.read_bytes())
    opened = open_storage(f"sqlite:///{copy}")
    add_study(opened, "a/b/c", 8, [{"outcome": "reached", "steps": 50}])
    ends = ({"outcome": "reached", "steps": 60}, {"outcome": "stalled"})
    add_study(opened, "a/b/c", 8, [{**end, "repeats": 0} for end in ends], purpose="confirm")
    said = words(uncertainty_part(subjects(opened)["a/b/c"]))
    assert "1 of 2 never 60–never" in said
    assert "never reached where half of the seeds or more did not get there" in said


def test_a_lone_batch_size_is_asked_about_by_name(all_of: dict[str, Subject]) -> None:
    asked = question(all_of["single/batch/size"])
    assert asked.endswith("tuned afresh at batch size 64?")


def test_points_measured_elsewhere_are_the_fastest_of_no_search(
    made_database: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "points.db"
    copy.write_bytes(made_database.read_bytes())
    opened = open_storage(f"sqlite:///{copy}")
    seeds = [{"outcome": "reached", "steps": steps} for steps in (50, 60, 70)]
    add_study(opened, "a/b/c", 8, seeds, space={}, purpose="points")
    subject = subjects(opened)["a/b/c"]
    frontier, trials = subject.frontier, subject.trials[subject.frontier.points[0].study.id]
    said = words(curve_part(subject))
    assert "Each point is the median of 3 seeds, measured elsewhere." in said
    assert "search" not in said
    (drawn,) = trials_figure(frontier, frontier.points[0], trials)["data"]
    assert (drawn["name"], len(drawn["x"])) == ("reached (3)", 3)  # and none of them a winner
