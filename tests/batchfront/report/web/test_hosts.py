"""Which requests a server answers, by what they say that they ask for, on real sockets."""

from collections.abc import Iterable
from contextlib import ExitStack
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from batchfront.errors import UsageError
from batchfront.report.web.guards import guarded
from batchfront.report.web.hosts import is_every_address, is_loopback, parse_host
from tests.web import ask, send, served

HERE, EVERYWHERE, ELSEWHERE = "127.0.0.1", "0.0.0.0", "192.0.2.1"

Named = tuple[str, ...]


def done(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"done"]


@pytest.fixture(scope="module")
def servers() -> Iterable[dict[tuple[str, Named], str]]:
    """Servers that believe to listen somewhere, and have been given names: their addresses."""
    kinds: list[tuple[str, Named]] = [
        (HERE, ()),
        (HERE, ("batchfront.example",)),
        (EVERYWHERE, ()),
        (EVERYWHERE, ("batchfront.example", "192.0.2.7", "2001:db8::7")),
        (ELSEWHERE, ("batchfront.example",)),
    ]
    with ExitStack() as stack:
        yield {kind: stack.enter_context(served(guarded(done, *kind))) for kind in kinds}


LOOPBACK = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1",
    "127.8.8.8",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "localhost:9000",  # a tunnel's port
    "127.0.0.1:1",
    "[::1]:65535",
    "localhost:",
]
ADDRESSES = ["10.0.0.5", "10.0.0.5:8090", "[2001:db8::1]", "[2001:db8::1]:80", "192.0.2.7"]
NAMED = [
    "batchfront.example",
    "Batchfront.EXAMPLE",
    "batchfront.example.",
    "batchfront.example:443",
    "batchfront.example.:443",
]
STRANGE = [
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.localhost.example",
    "batchfront.example.evil.example",
    "evil-batchfront.example",
    "sub.batchfront.example",
    "localhost..",
    "",
    "[",
    "[::1",
    "::1",
    "[evil.example]",
    "a@",
    "evil.example@localhost",
    "localhost@evil.example",
    "localhost/evil.example",
    "localhost#evil.example",
    "localhost?",
    "localhost\\evil.example",
    "localhost evil.example",
    "localhost, evil.example",
    "localhost,localhost",
    "localhost:80:80",
    "localhost:http",
    "localhost:-1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "127.0.0.1%00",
    "loc\xe1lhost",
    "localhost\xa0",
    "*",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("listening", [HERE, EVERYWHERE, ELSEWHERE])
def test_loopback_names_are_always_answered(
    servers: dict[tuple[str, Named], str], listening: str, host: str
) -> None:
    for kind, address in servers.items():
        if kind[0] == listening:
            assert send(address, "GET / HTTP/1.1", f"Host: {host}").status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE"])
@pytest.mark.parametrize("host", STRANGE)
def test_no_server_answers_to_a_name_that_is_not_its_own(
    servers: dict[tuple[str, Named], str], host: str, method: str
) -> None:
    for address in servers.values():
        answer = send(address, f"{method} / HTTP/1.1", f"Host: {host}", "Content-Length: 0")
        assert answer.status == 403
        assert b"done" not in answer.body
        if method != "HEAD":
            assert "is not this server's" in answer.json["reason"]


@pytest.mark.parametrize("host", NAMED)
def test_a_name_that_it_was_given_is_answered_in_every_way_to_write_it(
    servers: dict[tuple[str, Named], str], host: str
) -> None:
    for (_, names), address in servers.items():
        answered = send(address, "GET / HTTP/1.1", f"Host: {host}").status == 200
        assert answered == bool(names)


@pytest.mark.parametrize("host", ADDRESSES)
def test_an_address_is_answered_where_no_name_was_given_and_others_reach_it(
    servers: dict[tuple[str, Named], str], host: str
) -> None:
    """No site can make an address its own; where names were given, those are all."""
    for kind, address in servers.items():
        given = host == "192.0.2.7" and host in kind[1]
        answered = send(address, "GET / HTTP/1.1", f"Host: {host}").status == 200
        assert answered == (kind == (EVERYWHERE, ()) or given), kind


def test_the_address_that_it_listens_on_is_a_name_of_it(
    servers: dict[tuple[str, Named], str],
) -> None:
    address = servers[ELSEWHERE, ("batchfront.example",)]
    assert send(address, "GET / HTTP/1.1", f"Host: {ELSEWHERE}:8080").status == 200


def test_an_ipv6_address_that_was_given_is_answered_in_every_way_to_write_it(
    servers: dict[tuple[str, Named], str],
) -> None:
    address = servers[EVERYWHERE, ("batchfront.example", "192.0.2.7", "2001:db8::7")]
    for host in ("[2001:db8::7]", "[2001:DB8:0:0:0:0:0:7]:8090"):
        assert send(address, "GET / HTTP/1.1", f"Host: {host}").status == 200
    assert send(address, "GET / HTTP/1.1", "Host: [2001:db8::8]").status == 403


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.0",),
        ("GET /",),
        ("GET / HTTP/1.1", "X-Forwarded-Host: localhost"),
        ("GET / HTTP/1.1", "Host: localhost", "Host: evil.example"),
        ("GET / HTTP/1.1", "Host: evil.example", "Host: localhost"),
        ("GET / HTTP/1.1", "Host: evil.example", "X-Forwarded-Host: localhost"),
        ("GET / HTTP/1.1", "Host: evil.example", "X-Original-Host: localhost"),
        ("GET / HTTP/1.1", "Host: evil.example", "Forwarded: host=localhost"),
        ("GET http://evil.example/ HTTP/1.1", "Host: localhost"),
        ("GET http://localhost/ HTTP/1.1", "Host: evil.example"),
        ("GET http://localhost@evil.example/ HTTP/1.1", "Host: localhost"),
        ("GET evil.example HTTP/1.1", "Host: localhost"),
        ("CONNECT evil.example:443 HTTP/1.1", "Host: localhost"),
        ("OPTIONS * HTTP/1.1", "Host: evil.example"),
    ],
    ids="; ".join,
)
def test_a_request_that_names_no_host_or_another_one_anywhere_is_refused(
    servers: dict[tuple[str, Named], str], lines: tuple[str, ...]
) -> None:
    for address in servers.values():
        assert send(address, *lines).status == 403


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.0", "Host: localhost"),
        ("GET http://localhost/ HTTP/1.1", "Host: localhost"),
        ("GET HTTP://LOCALHOST:8080/ HTTP/1.1", "Host: localhost"),
        ("GET //evil.example/ HTTP/1.1", "Host: localhost"),  # a path
    ],
    ids="; ".join,
)
def test_other_ways_to_ask_for_this_server_are_answered(
    servers: dict[tuple[str, Named], str], lines: tuple[str, ...]
) -> None:
    for address in servers.values():
        assert send(address, *lines).status == 200


def test_what_a_refusal_advises_is_only_what_this_server_takes() -> None:
    for listening, advised in ((HERE, False), (EVERYWHERE, True)):
        with served(guarded(done, listening)) as address:
            refused = ask(address, "/", "GET", {"Host": "evil.example"})
            assert ("--allowed-host" in refused.json["reason"]) == advised


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("batchfront.example", "batchfront.example"),
        ("Batchfront.Example.", "batchfront.example"),
        ("my_host", "my_host"),
        ("localhost", "localhost"),
        ("10.0.0.5", "10.0.0.5"),
        ("[2001:DB8::7]", "2001:db8::7"),
        ("2001:db8:0::7", "2001:db8::7"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_a_name_is_taken_as_requests_bring_it(given: str, meant: str) -> None:
    assert parse_host(given) == meant


NO_NAMES = ["", " ", "http://a.example", "a.example:80", "a.example/x", "*", "*.a.example", "a b"]
NO_NAMES += [".", "a..b", "\x1b[31m", "a@b", "[::1]:80", "x" * 64 + ".example"]


@pytest.mark.parametrize("given", NO_NAMES)
def test_what_is_no_name_is_refused_in_one_line(given: str) -> None:
    with pytest.raises(UsageError, match="is no host's name") as refused:
        parse_host(given)
    assert str(refused.value).isprintable()


def test_loopback_is_told_by_address() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "", "example.com"]))
    assert all(map(is_every_address, ["0.0.0.0", "::", "0:0::0"]))
    assert not any(map(is_every_address, ["127.0.0.1", "", "example.com"]))
