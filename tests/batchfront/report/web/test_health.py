"""/healthz, by real requests: whether the database answers, and nothing else."""

from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from batchfront.report.web.guards import guarded
from batchfront.report.web.health import with_health
from batchfront.report.web.login import behind_login
from batchfront.report.web.token import Token
from batchfront.store.database import Storage
from tests.postgres import Postgres
from tests.waiting import LONG, eventually
from tests.web import ask, served


def done(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"done"]


@pytest.fixture
def address(storage: Storage) -> Iterator[str]:
    app = with_health(behind_login(done, Token("secret")), storage, every=0.0, patience=LONG)
    with served(guarded(app, "0.0.0.0", ("batchfront.example",))) as found:
        yield found


@pytest.mark.every_storage
def test_it_needs_no_login_and_says_that_all_is_well_in_a_word(address: str) -> None:
    answer = ask(address, "/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert answer.header("Cache-Control") == "no-store"
    assert ask(address, "/healthz", "HEAD").body == b""
    assert ask(address, "/healthz?x=1").status == 200


def test_nothing_else_is_let_past_the_login_by_it(address: str) -> None:
    for method, path in (("POST", "/healthz"), ("GET", "/healthz/"), ("GET", "/healthz/../")):
        assert ask(address, path, method).status == 401
    assert ask(address, "/healthz", "GET", {"Host": "evil.example"}).status == 403


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_while_the_database_is_away_it_is_unavailable(address: str, postgres: Postgres) -> None:
    assert ask(address, "/healthz").status == 200
    postgres.crash()
    answer = eventually(lambda: (found := ask(address, "/healthz")).status == 503 and found)
    assert answer.body == b"unavailable\n"
    postgres.start()
    eventually(lambda: ask(address, "/healthz").status == 200)


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_database_that_hangs_is_not_waited_for(storage: Storage, postgres: Postgres) -> None:
    with served(with_health(done, storage, every=0.0, patience=0.05)) as address:
        eventually(lambda: ask(address, "/healthz").status == 200)
        postgres.freeze()
        assert eventually(lambda: ask(address, "/healthz").status == 503)
        postgres.thaw()
        eventually(lambda: ask(address, "/healthz").status == 200)
