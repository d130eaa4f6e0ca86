"""Of programs and loops the page says what trained, where evaluations came from, and how far apart
they lie."""

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from batchfront.report.files import write_report
from batchfront.store.url import Storage
from tests.batchfront.report.rows import add_program, add_study

NAME = "shakespeare/char_gpt/adamw"


def page(storage: Storage, folder: Path) -> str:
    return write_report(storage, (), folder / "report.html").read_text()


def facts(text: str) -> dict[str, str]:
    """What stands under the workload's name, as a reader sees it."""
    found = re.findall(r"<div><dt>([^<]*)</dt><dd>(.*?)</dd></div>", text)
    return {name: unescape(re.sub(r"<[^>]*>", "", fact)) for name, fact in found}


def test_of_a_program_the_page_says_command_evaluations_and_how_far_apart_they_lie(
    storage: Storage, tmp_path: Path
) -> None:
    add_program(storage, NAME)
    text = page(storage, tmp_path)
    told = facts(text)
    assert told["Goal"] == "val_loss < 1.8"
    assert told["Command"] == "python train.py --lr {learning_rate} --batch-size {batch_size}"
    assert told["Evaluations"] == (
        r"read from what it prints by step (?P<step>\d+) .*val_loss (?P<value>\S+), up to 33 % of "
        "the steps apart where the goal was passed"
    )
    assert "(at batch size 128): steps are known only to within that." in text


def test_what_a_program_names_its_metric_is_said_of_no_split(
    storage: Storage, tmp_path: Path
) -> None:
    add_program(storage, NAME)
    assert "validation" not in page(storage, tmp_path).partition("<script")[0]


def test_a_training_loss_that_nobody_told_is_not_offered(storage: Storage, tmp_path: Path) -> None:
    add_program(storage, NAME)
    text = page(storage, tmp_path)
    assert "training loss" not in text
    assert f"{NAME}" in text
    assert 'data-figure="w1/{study}/goal"' in text


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"kind": "json"}, "read from what it prints"),
        ({"kind": "json", "file": "{trial_dir}/m.csv"}, "read from {trial_dir}/m.csv"),
        ({"kind": "report"}, "told by the program, through batchfront.report"),
    ],
    ids=lambda given: given["kind"] if isinstance(given, dict) else "",
)
def test_where_evaluations_come_from_is_said_of_every_kind_of_output(
    output: dict[str, Any], said: str, storage: Storage, tmp_path: Path
) -> None:
    add_program(storage, NAME, every=1, output=output)
    told = facts(page(storage, tmp_path))["Evaluations"]
    assert told == f"{said}, less than 1 % of the steps apart where the goal was passed"


def test_of_a_loop_it_says_that_it_tells_them_itself(storage: Storage, tmp_path: Path) -> None:
    add_program(storage, NAME, kind="loop")
    told = facts(page(storage, tmp_path))
    assert told["Evaluations"].startswith("told by its training loop, a function, up to 33 %")
    assert "Command" not in told


def test_a_command_can_not_bring_markup(storage: Storage, tmp_path: Path) -> None:
    add_program(storage, NAME, command=["sh", "-c", "<img src=x> `id` & echo 'a b'"])
    text = page(storage, tmp_path)
    assert "<img src" not in text
    assert facts(text)["Command"].startswith("sh -c '<img src=x> ")


def test_of_what_batchfront_trains_it_says_nothing_of_the_kind(
    storage: Storage, tmp_path: Path
) -> None:
    trial = {"params": {"learning_rate": 0.1}, "outcome": "reached", "steps": 9, "steps_lower": 8}
    add_study(storage, "a/b/c", 8, [trial])
    assert not {"Command", "Evaluations"} & set(facts(page(storage, tmp_path)))


@pytest.mark.browser
def test_the_page_of_a_program_opens_without_an_error(
    storage: Storage, tmp_path: Path, visit: Any
) -> None:
    add_program(storage, NAME)
    tab = visit(write_report(storage, (), tmp_path / "report.html"))
    tab.wait_for_function("document.querySelectorAll('.figure.study .main-svg').length > 1")
    tab.locator("select[name=study]").select_option("128")
    label = tab.locator(".figure.study").nth(1).get_attribute("aria-label")
    assert "val_loss" in label
    assert label.endswith("batch size 128")
    assert tab.heard == []
