"""The served index and pages: what is read and made anew, and what is left alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from batchfront.advice.options import AdviceOptions
from batchfront.advice.timings import Timing, keep_timings
from batchfront.ledger.workers import enter, note
from batchfront.report.options import PageOptions
from batchfront.report.web import live_pages
from batchfront.report.web.live_report import live_report
from batchfront.store.database import Storage
from batchfront.store.schema import measurements, slots, studies
from batchfront.vocabulary import TimedPart, WorkerState
from tests.batchfront.report.rows import add_study
from tests.waiting import LONG, eventually
from tests.web import ask, served

NAMES = ("a/b/c", "d/e/f", "g/h/i")
STEP = TimedPart.STEP
STEPS = {2: 3000, 4: 1500, 8: 800, 16: 500, 32: 400}


class Looked:
    """The workloads whose pages, and whose answers, were worked out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: list[str] = []
        self.answers: list[str] = []
        self._count(monkeypatch, "load_subjects", self.pages)
        self._count(monkeypatch, "load_frontiers", self.answers)

    def _count(self, monkeypatch: pytest.MonkeyPatch, name: str, into: list[str]) -> None:
        load = getattr(live_pages, name)

        def counted(moment: Any, workloads: Sequence[str], *rest: Any) -> Any:
            into.extend(workloads)
            return load(moment, workloads, *rest)

        monkeypatch.setattr(live_pages, name, counted)


def end_a_trial(storage: Storage, workload: str) -> None:
    """One more trial of its search."""
    add_study(storage, workload, 64, [_trial(390)])


def _trial(steps: int) -> dict[str, Any]:
    params = {"learning_rate": 0.1, "momentum": 0.9}
    return {"params": params, "outcome": "reached", "steps": steps, "steps_lower": steps - 1}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    return Looked(monkeypatch)


@pytest.fixture
def address(storage: Storage, looked: Looked) -> Iterator[str]:
    for name in NAMES:
        for batch_size, steps in STEPS.items():
            add_study(storage, name, batch_size, [_trial(steps)])
    app, pages = live_report(storage, (), every=0.0, patience=LONG)
    with served(app) as found:
        yield found
    pages.close()


def page(address: str, workload: str = "") -> str:
    answer = ask(address, f"/?workload={workload}" if workload else "/")
    assert answer.status == 200
    return answer.text


def test_nothing_is_read_before_somebody_looks_and_no_page_but_the_one_looked_at(
    address: str, looked: Looked
) -> None:
    assert (looked.pages, looked.answers) == ([], [])
    assert "<h2" in page(address, "d/e/f")
    assert (looked.pages, looked.answers) == (["d/e/f"], [])
    assert "3 workloads" in page(address)
    assert (looked.pages, looked.answers) == (["d/e/f"], list(NAMES))


def test_a_page_is_made_anew_for_a_trial_of_its_own_alone(
    storage: Storage, address: str, looked: Looked
) -> None:
    before = page(address, "d/e/f")
    end_a_trial(storage, "a/b/c")
    assert page(address, "d/e/f") == before
    assert looked.pages == ["d/e/f"]
    end_a_trial(storage, "d/e/f")
    assert "from 2 to 64" in page(address, "d/e/f")
    assert looked.pages == ["d/e/f"] * 2


def test_a_page_is_made_anew_as_trials_of_its_workload_go_on(
    storage: Storage, address: str, looked: Looked
) -> None:
    def train(workload: str, steps: int, value: float) -> None:
        """What a worker writes with a heartbeat."""
        with storage.write() as conn:
            wanted = studies.c.workload == workload, studies.c.batch_size == 4
            study = conn.execute(select(studies.c.id).where(*wanted)).scalar_one()
            slot = conn.execute(select(slots.c.id).where(slots.c.study_id == study)).scalar_one()
            enter(conn, 1.0, "one", host="here", pid=1, device="cpu")
            note(conn, 2.0, "one", state=WorkerState.BUSY, study_id=study, steps=steps)
            row = {"slot_id": slot, "step": steps, "split": "validation", "metric": "error rate"}
            conn.execute(insert(measurements).values(**row, value=value))

    before = page(address, "d/e/f")
    train("a/b/c", 10, 0.5)
    assert page(address, "d/e/f") == before
    train("d/e/f", 20, 0.5)
    with_a_point = page(address, "d/e/f")
    train("d/e/f", 30, 0.25)
    assert len({before, with_a_point, page(address, "d/e/f")}) == 3
    assert looked.pages == ["d/e/f"] * 3


def test_a_page_is_made_anew_once_steps_of_its_workload_were_timed(
    storage: Storage, address: str, looked: Looked
) -> None:
    def keep(workload: str, seconds: float) -> None:
        steps = [Timing(workload, "float32", "cpu", 1, STEP, size, seconds) for size in STEPS]
        keep_timings(storage, steps)

    assert "Hours and money</h" not in page(address, "d/e/f")
    keep("a/b/c", 1.0)
    assert "Hours and money</h" not in page(address, "d/e/f")
    assert looked.pages == ["d/e/f"]
    keep("d/e/f", 1.0)
    before = page(address, "d/e/f")
    assert "Hours and money</h" in before
    keep("d/e/f", 2.0)
    assert page(address, "d/e/f") != before
    assert looked.pages == ["d/e/f"] * 3


def test_a_page_has_the_prices_that_it_was_asked_for(storage: Storage) -> None:
    for batch_size, steps in STEPS.items():
        add_study(storage, "a/b/c", batch_size, [_trial(steps)])
    keep_timings(storage, [Timing("a/b/c", "float32", "cpu", n, STEP, 32, 1 / n) for n in (1, 2)])
    asked = PageOptions(hours=AdviceOptions(price=7.0))
    app, pages = live_report(storage, (), every=0.0, patience=LONG, asked=asked)
    with served(app) as found:
        assert "Cost against time</h4>" in page(found)
    pages.close()


def test_the_index_works_out_the_answers_again_that_have_changed_alone(
    storage: Storage, address: str, looked: Looked
) -> None:
    assert page(address).count("5 of 5") == 3
    end_a_trial(storage, "g/h/i")
    text = page(address)
    assert (text.count("5 of 5"), text.count("6 of 6")) == (2, 1)
    assert looked.answers == [*NAMES, "g/h/i"]
    assert looked.pages == []


def test_many_readers_are_one_read(address: str, storage: Storage, looked: Looked) -> None:
    app, pages = live_report(storage, (), every=60.0, patience=LONG)
    with served(app) as calm:
        assert len({page(calm, "a/b/c") for _ in range(20)}) == 1
    pages.close()
    assert looked.pages == ["a/b/c"]


def test_answers_that_take_long_come_bit_by_bit_and_the_index_says_so(
    address: str, looked: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_pages, "_AT_ONCE", -1.0)
    text = page(address)
    assert "The answers of 3 of them are being worked out." in text
    assert "data-soon" in text
    monkeypatch.undo()
    eventually(lambda: "being worked out" not in page(address))
    assert "data-soon" not in page(address)


def test_a_workload_that_has_gone_has_no_page(storage: Storage, address: str) -> None:
    assert ask(address, "/?workload=x/y/z").status == 404
    assert "a/b/c" in page(address, "a/b/c")
    with storage.write() as conn:
        conn.execute(update(studies).where(studies.c.workload == "a/b/c").values(workload="new"))
    assert ask(address, "/?workload=a/b/c").status == 404
    assert "a/b/c" not in page(address)
    assert "new" in page(address)


def test_the_state_is_of_all_its_trials(storage: Storage, address: str) -> None:
    def states() -> list[str]:
        listed = page(address).partition('class="scroll" role="region" aria-labelledby="workloads"')
        rows = listed[2].partition("<tbody>")[2].partition("</tbody>")[0].split("</tr>")[:-1]
        return [row.split("<td")[5].partition(">")[2].partition("<")[0] for row in rows]

    assert states() == ["done"] * 3
    add_study(storage, "a/b/c", 128, [{}, {}])
    mine = slots.c.outcome.is_(None)
    assert states() == ["waiting", "done", "done"]
    with storage.write() as conn:
        first = update(slots).where(mine, slots.c.number == 0)
        conn.execute(first.values(state="leased"))
    assert states() == ["1 running", "done", "done"]
    ended = {"state": "done", "outcome": "failed", "finished_at": 1.0}
    with storage.write() as conn:
        conn.execute(update(slots).where(mine).values(ended))
    assert states() == ["done, 2 failed", "done", "done"]


def test_a_study_that_cant_be_read_is_named_on_the_index_and_takes_no_other_with_it(
    storage: Storage, address: str
) -> None:
    with storage.write() as conn:
        broken = update(studies).where(studies.c.workload == "d/e/f").values(identity="{")
        conn.execute(broken)
    index = page(address)
    assert index.count("is left out") == len(STEPS)
    assert index.count("5 of 5") == 3
    assert "is left out" in page(address, "d/e/f")
    assert "is left out" not in page(address, "a/b/c")
