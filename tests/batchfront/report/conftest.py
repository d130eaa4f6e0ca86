"""A small real database, a hand-made one with every odd case, and their pages in a browser."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchfront.plan.options import SearchOptions
from batchfront.plan.plan import plan
from batchfront.report.files import write_report
from batchfront.store.url import Storage, open_storage
from batchfront.workload import catalog
from tests.batchfront.report.rows import add_study
from tests.searches import work

WORKLOAD = "digits/mlp/momentum"
EVIL = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=2">/m&m/"sgd"'
NO_WINNER = "empty/no/winner" + 60 * "_"  # as long as a phone is wide, without a place to fold


@pytest.fixture(scope="session")
def raced(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Three batch sizes of a real workload, raced to their ends."""
    opened = _copied(made_database, tmp_path_factory.mktemp("raced"))
    request = SearchOptions(batch_sizes=(64, 128, 512), trials=8)
    planned = plan(opened, WORKLOAD, catalog.load(WORKLOAD), request)
    work(opened, name="w1", wanted=planned.filter)
    return opened


@pytest.fixture(scope="session")
def odd(made_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Workloads without trials, without winners, without metaparameters, with hostile names."""
    opened = _copied(made_database, tmp_path_factory.mktemp("odd"))
    _add_evil(opened)
    add_study(opened, "empty/no/slots", 8, [])
    add_study(opened, NO_WINNER, 8, [{"params": {"learning_rate": 0.1}}, {"params": {}}])
    first = {"learning_rate": 0.1, "momentum": 0.9995}
    curve = [(1, "validation", "error rate", 0.0), (1, "train", "loss", 0.0)]
    add_study(
        opened,
        "single/batch/size",
        64,
        [{"params": first, "outcome": "reached", "steps_lower": 0, "steps": 1, "curve": curve}],
    )
    for batch, steps in ((64, 100), (128, 70)):
        trials = [
            {"outcome": "reached", "steps": steps, "steps_lower": steps - 10},
            {"outcome": "capped", "steps": steps},
        ]
        add_study(opened, "no/meta/parameters", batch, trials, space={})
    add_whole(opened)
    return opened


def _copied(database: Path, folder: Path) -> Storage:
    return open_storage(f"sqlite:///{shutil.copy(database, folder)}")


def _add_evil(storage: Storage) -> None:
    """Every outcome, kind of dimension and sort of bad number, under a name that attacks."""
    space = {
        "learning_rate": {"kind": "Log", "low": 1e-3, "high": 3.0},
        "<b>decay</b>": {"kind": "Log", "low": 1e-6, "high": 1e-2},
        "layers": {"kind": "Integer", "low": 1, "high": 8, "log": False},
        "activation": {"kind": "Choice", "values": ["relu", "</script><i>gelu</i>"]},
        "smoothing": {"kind": "Linear", "low": 0.0, "high": 0.2},
        "fixed": 3,
    }
    goal = {"metric": "accuracy", "better": "higher", "value": 0.97}
    outcomes = ["reached", "capped", "diverged", "stalled", "exhausted", "failed", None, "reached"]
    for row, batch in enumerate((8, 16, 48, 1024, 65536)):
        trials: list[dict[str, Any]] = []
        for number, outcome in enumerate(outcomes):
            ended = "exhausted" if outcome == "reached" and batch == 16 else outcome
            steps = 200_000 // (row + 1) + 7 * number
            trial = {
                "params": {
                    "learning_rate": 0.001 * 1.5 ** (number + row),
                    "<b>decay</b>": 1e-6 * 3**number,
                    "layers": number + 1,
                    "activation": space["activation"]["values"][number % 2],  # type: ignore[index]
                    "smoothing": 0.02 * number,
                    "fixed": 3,
                },
                "outcome": ended,
                "reason": "</script><b>a reason</b> " * 9,
                "steps": steps,
                "steps_lower": int(steps * (0.7 if batch == 48 else 0.99)),
                "versions": {"torch": f"2.{row % 2}"},
                "curve": _curve(ended),
            }
            trials.append(trial)
        add_study(storage, EVIL, batch, trials, space=space, goal=goal)


WHOLE = "whole/report/momentum"


def add_whole(storage: Storage) -> None:
    """A workload of which everything can be told: a curve with a point off it, races of five
    finishers, choices, measurements, winners run again, and a winner that followed a rule."""
    space = {
        "learning_rate": {"kind": "Log", "low": 1e-3, "high": 3.0},
        "momentum": {"kind": "ReverseLog", "low": 0.0, "high": 0.999},
        "label_smoothing": {"kind": "Choice", "values": [0.0, 0.1]},
    }
    first: dict[str, Any] = {}
    luck = (1.0, 1.03, 0.97, 1.02, 0.99, 3.0, 1.01, 0.98)
    for row, batch in enumerate((2, 4, 8, 16, 32, 64, 128, 256)):
        steps = round(60 * (1 + 32 / batch) * luck[row])
        trials = list(_whole_trials(row, steps))
        add_study(storage, WHOLE, batch, trials, space=space, finishers=5)
        if batch in (2, 16, 256):
            again = [_again(trials[0], round(steps * (1.1 + 0.1 * seed))) for seed in range(5)]
            add_study(storage, WHOLE, batch, again, space=space, purpose="confirm", finishers=0)
        first = first or trials[0]["params"]
    ruled = {"params": {**first, "learning_rate": 64 * first["learning_rate"]}}
    add_study(storage, WHOLE, 128, [_again(ruled, 400)], space=space, purpose="linear")


def _whole_trials(row: int, steps: int) -> Iterator[dict[str, Any]]:
    outcomes = ["reached"] * 5 + ["capped"] * 4 + ["stalled", "stalled", "diverged"]
    for number, outcome in enumerate(outcomes):
        taken = round(steps * (1 + 0.12 * number)) if outcome == "reached" else 2 * steps
        yield {
            "params": {
                "learning_rate": min(0.01 * 1.6 ** ((number * 5 + row) % 12), 2.9),
                "momentum": 1 - 0.9 * 0.6 ** ((number * 7 + row) % 12),
                "label_smoothing": (0.0, 0.1)[number % 2],
            },
            "outcome": outcome,
            "steps": taken,
            "steps_lower": int(taken * 0.99),
            "reason": f"{outcome} for a reason",
            "curve": [
                (max(taken * look // 8, 1), split, metric, value * (1 + 0.1 * number))
                for look, value in ((0, 0.9), (2, 0.3), (4, 0.1), (8, 0.025))
                for split, metric in (("validation", "error rate"), ("train", "loss"))
            ],
        }


def _again(trial: dict[str, Any], steps: int) -> dict[str, Any]:
    ended = {"outcome": "reached", "steps": steps, "steps_lower": steps - 1, "repeats": 0}
    return {"params": trial["params"], **ended}


def _curve(outcome: str | None) -> list[tuple[int, str, str, float | None]]:
    """An accuracy that rises, and a loss that falls or, diverging, grows until it is no number."""
    rows: list[tuple[int, str, str, float | None]] = []
    for look, step in enumerate((1, 3, 10, 30, 100, 300)):
        bad = outcome == "diverged" and step > 30
        rows.append((step, "validation", "accuracy", None if bad else 0.1 + 0.1 * look))
        loss = 10.0**look if outcome == "diverged" else 2.3 / (1 + look)
        rows.append((step, "train", "loss", None if bad else loss))
    return rows


@pytest.fixture(scope="session")
def page(raced: Storage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the real database."""
    return write_report(raced, (), tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session")
def odd_page(odd: Storage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the odd database."""
    return write_report(odd, (), tmp_path_factory.mktemp("page") / "odd.html")


DRAWN = """async () => {
  const places = [...document.querySelectorAll('.figure')]
  const since = performance.now()
  for (const place of places) {
    place.scrollIntoView({behavior: 'instant'})
    while (!place.querySelector('.main-svg')) {
      if (performance.now() - since > 60000) throw new Error(`not drawn: ${place.dataset.figure}`)
      await new Promise(requestAnimationFrame)
    }
  }
  scrollTo({top: 0, behavior: 'instant'})
}"""
"""Scrolls through a page, which draws a figure when somebody comes near it."""

SCREENS = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page on a screen in a scheme, with all of its figures drawn. Its `heard` lists
    errors, its `asked` requests."""
    contexts = []

    def visit(file: Path, screen: str = "desktop", scheme: str = "light") -> Any:
        width, height = SCREENS[screen]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=screen == "phone",
        )
        contexts.append(context)
        tab = context.new_page()
        tab.heard, tab.asked = [], []
        tab.on("console", lambda message: tab.heard.append(message.text))
        tab.on("pageerror", lambda error: tab.heard.append(str(error)))
        tab.on("request", lambda request: tab.asked.append(request.url))
        tab.goto(file.as_uri())
        tab.evaluate(DRAWN)
        return tab

    yield visit
    for context in contexts:
        context.close()
