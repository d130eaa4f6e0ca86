"""/metrics as a scraper gets and reads it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
from prometheus_client.parser import text_string_to_metric_families as read_older
from sqlalchemy import event, select, update

from batchfront.exchange.points import import_points
from batchfront.exchange.points_file import read_points
from batchfront.report.web.guards import guarded, only_reading
from batchfront.report.web.login import behind_login
from batchfront.report.web.metrics import MOST, OTHERS, with_metrics
from batchfront.report.web.token import Token
from batchfront.store.database import Storage
from batchfront.store.schema import slots, studies
from batchfront.vocabulary import Outcome
from tests.postgres import Postgres
from tests.searches import NAME, planned, reached, started, worker
from tests.waiting import LONG, eventually
from tests.web import Answer, ask, served

SCRAPER = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def done(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"done"]


@pytest.fixture
def address(storage: Storage) -> Iterator[str]:
    with served(with_metrics(done, storage, every=0.0, patience=LONG)) as found:
        yield found


def samples(answer: Answer, reads: Callable[[str], Iterable[Any]] = read) -> Samples:
    """Every sample, by name and labels; none is there twice."""
    assert answer.status == 200
    listed = [sample for family in reads(answer.text) for sample in family.samples]
    found = {(s.name, frozenset(s.labels.items())): s.value for s in listed}
    assert len(found) == len(listed)
    return found


def scrape(address: str) -> Samples:
    return samples(ask(address, "/metrics", "GET", {"Accept": SCRAPER}))


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"batchfront_{name}", frozenset(labels.items())]


@pytest.mark.every_storage
def test_slots_workers_and_leases_are_told_as_they_are(storage: Storage, address: str) -> None:
    planned(storage)
    one = worker(storage)
    worker(storage, "idle")
    study, taken = started(one, 3)
    one.finish(study, [(taken[0], reached(40))])
    found = scrape(address)

    def number(**labels: str) -> float:
        return value(found, "slots", workload=NAME, **{"outcome": "", **labels})

    assert number(state="leased") == 2
    assert number(state="free") == 5
    assert number(state="later") == 0
    ends = {outcome: number(state="done", outcome=outcome) for outcome in Outcome}
    assert ends == {outcome: float(outcome == "reached") for outcome in Outcome}
    alive = {state: value(found, "workers", state=state) for state in ("busy", "idle")}
    assert alive == {"busy": 1, "idle": 1}
    assert value(found, "workers", state="silent") == value(found, "workers", state="lost") == 0
    assert 0 <= value(found, "lease_age_seconds") < LONG
    with storage.read() as conn:
        now = conn.execute(select(storage.now)).scalar_one()
    ago = now - value(found, "last_result_timestamp_seconds", workload=NAME)
    assert 0 <= ago < LONG
    assert value(found, "database_up") == 1


@pytest.mark.every_storage
def test_it_tells_what_the_database_is_asked_by_this_server(storage: Storage, address: str) -> None:
    scrape(address)
    name = "statement_duration_seconds_count"
    before = scrape(address)
    assert value(before, name) > 0
    after = eventually(lambda: value(now := scrape(address), name) > value(before, name) and now)
    name = "statement_duration_seconds_sum"
    assert value(after, name) > value(before, name) > 0


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_tells_what_all_ask_of_it(storage: Storage, address: str) -> None:
    ledger = worker(storage)
    before = scrape(address)
    assert value(before, "database_connections") >= 1
    assert value(before, "database_active_seconds_total") >= 0

    def grows() -> bool:
        ledger.register("here", 1, "cpu")
        name = "database_transactions_total"
        return value(scrape(address), name, end="commit") > value(before, name, end="commit")

    eventually(grows)


def test_every_name_is_ours_or_the_process_s_and_says_its_unit(address: str) -> None:
    units = ("_seconds", "_bytes", "_total", "_info", "_fds")
    plain = {"batchfront_slots", "batchfront_workers", "batchfront_database_up"}
    families = list(read(ask(address, "/metrics").text))
    for family in families:
        assert family.name.startswith(("batchfront_", "process_"))
        assert family.documentation.endswith(".")
        names = {sample.name for sample in family.samples} or {family.name}
        told = (*units, *(f"_seconds_{part}" for part in ("bucket", "count", "sum", "created")))
        assert names <= plain or all(name.endswith(told) for name in names)


def test_the_version_is_told(address: str) -> None:
    (about,) = (dict(labels) for name, labels in scrape(address) if name == "batchfront_build_info")
    assert set(about) == {"version", "schema", "database"}


@pytest.mark.parametrize(
    ("accepted", "kind"),
    [
        (None, "application/openmetrics-text"),
        ("*/*", "application/openmetrics-text"),
        (SCRAPER, "application/openmetrics-text"),
        ("application/openmetrics-text; version=not-a-number", "application/openmetrics-text"),
        ("text/plain;version=0.0.4", "text/plain"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"),
    ],
)
def test_it_is_openmetrics_but_for_who_asks_for_other_formats_alone(
    address: str, accepted: str | None, kind: str
) -> None:
    answer = ask(address, "/metrics", "GET", {} if accepted is None else {"Accept": accepted})
    assert answer.header("Content-Type").startswith(kind)
    assert samples(answer, read if kind.endswith("openmetrics-text") else read_older)
    assert answer.text.endswith("# EOF\n") == kind.endswith("openmetrics-text")


@pytest.mark.every_storage
def test_a_scrape_is_a_few_statements_and_what_was_read_lately_is_told_again(
    storage: Storage,
) -> None:
    planned(storage)
    asked = []
    with served(with_metrics(done, storage, every=LONG, patience=LONG)) as address:
        event.listen(storage.engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
        first = scrape(address)
        assert 0 < len([statement for statement in asked if "SELECT" in statement]) <= 4
        asked.clear()
        assert value(scrape(address), "slots", workload=NAME, state="free", outcome="") == 8
        assert value(first, "database_up") == 1
        assert asked == []


def test_workloads_beyond_the_first_ones_are_summed_up(
    storage: Storage, address: str, tmp_path: Path
) -> None:
    names = [f"many/{n}/sgd" for n in range(MOST + 5)]
    (tmp_path / "points.csv").write_text(
        "\n".join(["workload,batch_size,steps", *(f"{name},8,100" for name in names), ""])
    )
    import_points(storage, read_points(tmp_path / "points.csv"))
    with storage.write() as conn:
        for n, name in enumerate(names):
            of_it = slots.c.study_id.in_(select(studies.c.id).where(studies.c.workload == name))
            conn.execute(update(slots).where(of_it).values(finished_at=float(n)))
    planned(storage, trials=1)
    found = scrape(address)
    told = {dict(labels)["workload"] for name, labels in found if name == "batchfront_slots"}
    # The one with trials to run, and those whose trials ended last.
    assert told == {NAME, *names[-(MOST - 1) :], OTHERS}
    left = value(found, "slots", workload=OTHERS, state="done", outcome="reached")
    assert left == len(names) - (MOST - 1)
    assert value(found, "last_result_timestamp_seconds", workload=OTHERS) == left - 1


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\nb", "a\x1b]52;b", "a\u202eb", "x" * 500])
def test_a_name_breaks_nothing_whatever_is_in_it(storage: Storage, address: str, text: str) -> None:
    planned(storage)
    with storage.write() as conn:
        conn.execute(update(studies).values(workload=text))
    told = {dict(labels).get("workload") for _, labels in scrape(address)} - {None}
    assert len(told) == 1
    assert all(name is not None and name.isprintable() for name in told)


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_while_the_database_is_away_that_is_told_and_no_old_number(
    storage: Storage, address: str, postgres: Postgres
) -> None:
    planned(storage)
    assert value(scrape(address), "database_up") == 1
    postgres.crash()
    found = eventually(lambda: not value(now := scrape(address), "database_up") and now)
    assert not [name for name, _ in found if name.startswith("batchfront_slots")]
    postgres.start()
    eventually(lambda: value(scrape(address), "database_up") == 1)


def test_it_needs_the_token_as_a_bearer_where_there_is_one(storage: Storage) -> None:
    app = only_reading(with_metrics(done, storage), "for reading")
    with served(guarded(behind_login(app, Token("secret")), "127.0.0.1")) as address:
        assert ask(address, "/metrics").status == 401
        bearer = {"Authorization": "Bearer secret"}
        assert samples(ask(address, "/metrics", "GET", bearer))
        assert ask(address, "/metrics", "HEAD", bearer).body == b""
        assert ask(address, "/metrics", "POST", bearer).status == 405
        assert ask(address, "/metrics/", "GET", bearer).body == b"done"
        assert ask(address, "/metrics", "GET", {**bearer, "Host": "evil.example"}).status == 403
