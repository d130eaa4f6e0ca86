"""What the dashboard answers, by real requests: everything to a reader, and nothing changes."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from optuna_dashboard._app import create_app
from sqlalchemy import MetaData, insert, make_url, select, update

from batchfront.frontier.frontier import load_frontier
from batchfront.report.web.dashboard import Studies, dashboard
from batchfront.report.web.dashboard_figure import NAME, store_figure
from batchfront.store.commands import command
from batchfront.store.database import Storage
from batchfront.store.schema import slots
from batchfront.store.url import open_storage
from tests.docs.pages import blocks
from tests.postgres import Postgres
from tests.waiting import LONG, eventually
from tests.web import Answer, ask, served

WORKLOAD = "clouds/mlp/momentum"


@pytest.fixture
def address(raced: Storage) -> Iterator[str]:
    with served(dashboard(raced, fresh=0.0, patience=LONG)) as found:
        yield found


def held(storage: Storage) -> dict[str, list[str]]:
    """Every row of every table."""
    tables = MetaData()
    with storage.read() as conn:
        tables.reflect(conn)
        return {
            table.name: sorted(str(row) for row in conn.execute(select(table)))
            for table in tables.sorted_tables
        }


def routes(storage: Storage) -> list[tuple[str, str]]:
    """Every method and path that the dashboard knows, for the first study and trial."""
    app = create_app(Studies(storage, changes=True))
    values = {"plot_type": "timeline", "history_id": "h", "artifact_id": "abc-1"}
    values |= {"study_id": "1", "trial_id": "1", "filename": "bundle.js", "": ""}
    return [
        (route.method, re.sub(r"<(\w*)(:[^>]*)?>", lambda m: values[m[1]], route.rule))
        for route in app.routes
    ]


CHANGES: list[tuple[str, str, Any]] = [
    ("DELETE", "/api/studies/1", None),
    ("DELETE", "/api/studies/1/", None),
    ("DELETE", "//api/studies/1", None),
    ("DELETE", "/api//studies/1", None),
    ("DELETE", "/./api/studies/1", None),
    ("DELETE", "/api/studies/%31", None),
    ("DELETE", "/api/studies/1?_method=GET", None),
    ("POST", "/api/studies/1?_method=DELETE", {"_method": "DELETE"}),
    ("POST", "/api/studies", {"study_name": "mine", "directions": ["minimize"]}),
    ("POST", "/api/studies/1/rename", {"study_name": "mine"}),
    ("PUT", "/api/studies/1/note", {"version": 2, "body": "mine"}),
    ("PUT", "/api/studies/1/1/note", {"version": 1, "body": "mine"}),
    ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"mine": 1}}),
    ("POST", "/api/trials/1/tell", {"state": "FAIL"}),
    ("POST", "/api/artifacts/1", {"file": "data:text/plain;base64,aGk=", "filename": "x"}),
]


@pytest.mark.every_storage
def test_nobody_can_change_or_delete_anything(raced: Storage, address: str) -> None:
    before = held(raced)
    editable = command(raced, "dashboard", "--allow-changes")
    reason = f"this dashboard is for reading; {editable} makes it editable"
    for method, path, body in CHANGES:
        for headers in ({}, {"X-HTTP-Method-Override": "GET"}, {"X-HTTP-Method": "GET"}):
            answer = ask(address, path, method, headers, body)
            assert (answer.status, answer.json) == (405, {"reason": reason}), (method, path)
    for headers in ({"X-HTTP-Method-Override": "DELETE"}, {"X-Method-Override": "DELETE"}):
        assert ask(address, "/api/studies/1?_method=DELETE", "GET", headers).status == 200
    assert ask(address, "/api/studies/1", "HEAD").status == 200
    assert ask(address, "/api/studies/1", "OPTIONS").status == 405
    assert held(raced) == before


def test_every_route_that_is_no_reading_is_refused(raced: Storage, address: str) -> None:
    others = [(method, path) for method, path in routes(raced) if method != "GET"]
    assert len(others) > 15
    assert {ask(address, path, method, {}, {}).status for method, path in others} == {405}


@pytest.mark.every_storage
def test_no_route_that_is_a_reading_writes(raced: Storage, address: str) -> None:
    before = held(raced)
    readings = [path for method, path in routes(raced) if method == "GET"]
    kinds = ("contour", "slice", "parallel_coordinate", "rank", "edf")
    readings += [f"/api/studies/1/plot/{kind}" for kind in kinds]
    headers = {"Accept-Encoding": "identity"}  # which the dashboard can't do without
    statuses = {path: ask(address, path, "GET", headers).status for path in readings}
    bad = {path: status for path, status in statuses.items() if status not in (200, 302)}
    assert bad == {"/artifacts/1/abc-1": 400, "/artifacts/1/1/abc-1": 400}  # there are none
    assert held(raced) == before


@pytest.mark.every_storage
def test_its_connections_refuse_to_write_whatever_the_application_asks(raced: Storage) -> None:
    before = held(raced)
    reading = Studies(raced, changes=False)
    for change in (
        lambda: reading.delete_study(1),
        lambda: reading.set_study_user_attr(1, "mine", 1),
        lambda: reading.create_new_study([], "mine"),
    ):
        with pytest.raises(Exception, match=r"(?i)commit|read-?only"):
            change()
    assert held(raced) == before
    reading.engine.dispose()


@pytest.mark.every_storage
def test_changes_are_made_where_the_operator_allows_them(raced: Storage) -> None:
    with served(dashboard(raced, changes=True)) as address:
        note = {"version": 2, "body": "mine"}
        assert ask(address, "/api/studies/2/note", "PUT", {}, note).status == 204
        assert ask(address, "/api/studies/2").json["note"] == note
        assert ask(address, "/api/studies/1", "DELETE", {}, {}).status == 204
        left = ask(address, "/api/studies").json["study_summaries"]
        assert [study["study_id"] for study in left] == [2]


def figures(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(f["graph_object"]) for f in answer.json["plotly_graph_objects"]]


@pytest.mark.every_storage
def test_its_page_needs_no_accept_encoding(raced: Storage, address: str) -> None:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=LONG)
    connection.putrequest("GET", "/static/bundle.js", skip_accept_encoding=True)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, len(answer.read()) > 1000) == (200, True)
    connection.close()


def test_every_study_shows_the_frontier_as_it_is_now(raced: Storage, address: str) -> None:
    frontier = load_frontier(raced, WORKLOAD)
    for study in (1, 2):
        (figure,) = figures(ask(address, f"/api/studies/{study}"))
        assert figure["data"][0]["x"] == [point.batch_size for point in frontier.points]
        assert figure["data"][0]["y"] == [point.steps for point in frontier.points]
        assert WORKLOAD in figure["layout"]["title"]["text"]
        assert "var(--" not in json.dumps(figure)
    with raced.write() as conn:
        better = {"state": "done", "outcome": "reached", "steps_to_target": 1, "steps": 1}
        row = {"study_id": 1, "number": 99, "params": "{}", "finished_at": 1e12, **better}
        conn.execute(insert(slots).values(row))
    (figure,) = figures(ask(address, "/api/studies/2"))
    assert figure["data"][0]["y"][0] == 1


def test_before_there_is_a_winner_the_figure_says_so(raced: Storage, address: str) -> None:
    with raced.write() as conn:
        conn.execute(update(slots).values(outcome="stalled", steps_to_target=None))
    (figure,) = figures(ask(address, "/api/studies/1"))
    assert "The goal was not reached" in json.dumps(figure)


def test_a_figure_that_run_has_stored_gives_way_to_the_newer(raced: Storage, address: str) -> None:
    frontier = load_frontier(raced, WORKLOAD)
    store_figure(raced, frontier)
    with raced.write() as conn:
        conn.execute(update(slots).values(steps_to_target=slots.c.steps_to_target + 1000))
    shown = ask(address, "/api/studies/1").json["plotly_graph_objects"]
    assert [figure["id"] for figure in shown] == [NAME]
    steps = json.loads(shown[0]["graph_object"])["data"][0]["y"]
    assert steps == [(point.steps or 0) + 1000 for point in frontier.points]


def test_a_study_that_is_not_batchfronts_is_shown_without_a_figure(
    raced: Storage, address: str
) -> None:
    other = Studies(raced, changes=True)
    study = other.create_new_study([other.get_study_directions(1)[0]], "someone else's")
    assert ask(address, f"/api/studies/{study}").json["plotly_graph_objects"] == []
    other.engine.dispose()


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_guide_s_reading_role_is_enough(raced: Storage, postgres: Postgres) -> None:
    sql, _ = blocks("docs/guides/security.md", "sql")
    database = raced.url.database or ""
    statements = re.sub(r"DATABASE batchfront", f"DATABASE {database}", sql)
    viewer = f"viewer_{database}"
    postgres.execute(statements.replace("viewer", viewer), database=database)
    url = make_url(str(raced.url)).set(username=viewer, password="...")
    try:
        reading = open_storage(url.render_as_string(hide_password=False))
        with served(dashboard(reading)) as address:
            shown = ask(address, "/api/studies/1").json
            assert len(shown["trials"]) == 3
            assert shown["note"]["body"]
            assert len(shown["plotly_graph_objects"]) == 1
            assert ask(address, "/dashboard").status == 200
            assert ask(address, "/api/studies/1", "DELETE").status == 405
        with served(dashboard(reading, changes=True)) as address:
            assert ask(address, "/api/studies/1", "DELETE", {}, {}).status == 500
            assert ask(address, "/api/studies/1").status == 200
        reading.close()
    finally:
        postgres.execute(f"DROP OWNED BY {viewer}", f"DROP ROLE {viewer}", database=database)


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_while_the_database_is_away_it_says_so_and_comes_back(
    raced: Storage, address: str, postgres: Postgres
) -> None:
    assert ask(address, "/api/studies").status == 200
    postgres.crash()
    for path in ("/api/studies", "/dashboard"):
        answer = ask(address, path)
        assert answer.status == 503
        assert answer.json == {"reason": "the database does not answer"}
    postgres.start()
    assert ask(address, "/api/studies").status == 200


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_while_the_database_hangs_requests_do_not_wait_for_each_other(
    raced: Storage, postgres: Postgres
) -> None:
    with served(dashboard(raced, patience=0.5)) as address, ThreadPoolExecutor(16) as viewers:
        eventually(lambda: ask(address, "/api/studies").status == 200)
        postgres.freeze()
        try:
            asked = [viewers.submit(ask, address, "/api/studies") for _ in range(16)]
            assert {one.result(LONG).status for one in asked} == {503}
            assert sum(thread.name == "latest" for thread in threading.enumerate()) <= 1
        finally:
            postgres.thaw()
        eventually(lambda: ask(address, "/api/studies").status == 200)
