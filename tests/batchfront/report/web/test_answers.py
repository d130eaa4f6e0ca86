"""Bodies are compressed for those who take them so, and for nobody else."""

import gzip
from collections.abc import Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from batchfront.report.web.answers import answer
from tests.web import ask, served

LONG_TEXT = b"steps to target " * 1000


def application(environ: WSGIEnvironment, start: StartResponse) -> list[bytes]:
    body = LONG_TEXT if environ["PATH_INFO"] == "/long" else b"short"
    return answer(environ, start, body, "text/plain")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(application) as found:
        yield found


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP ; q=0.5", "deflate, *"])
def test_a_long_body_is_compressed(address: str, accepted: str) -> None:
    found = ask(address, "/long", headers={"Accept-Encoding": accepted})
    assert found.header("Content-Encoding") == "gzip"
    assert found.header("Vary") == "Accept-Encoding"
    assert int(found.header("Content-Length")) == len(found.body) < len(LONG_TEXT) / 10
    assert gzip.decompress(found.body) == LONG_TEXT


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0"])
def test_it_is_sent_as_it_is_to_who_does_not_take_it_so(address: str, accepted: str) -> None:
    found = ask(address, "/long", headers={"Accept-Encoding": accepted})
    assert (found.header("Content-Encoding"), found.body) == ("", LONG_TEXT)
    assert found.header("Vary") == "Accept-Encoding"


def test_a_short_one_is_sent_as_it_is(address: str) -> None:
    found = ask(address, "/short", headers={"Accept-Encoding": "gzip"})
    assert (found.header("Content-Encoding"), found.body) == ("", b"short")


def test_head_says_of_a_compressed_body_what_get_does(address: str) -> None:
    takes = {"Accept-Encoding": "gzip"}
    head, get = (ask(address, "/long", method, takes) for method in ("HEAD", "GET"))
    assert head.body == b""
    for name in ("Content-Length", "Content-Encoding", "Vary"):
        assert head.header(name) == get.header(name)
