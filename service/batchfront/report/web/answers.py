"""Answers of one piece, and refusals."""

import json
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

Headers = Iterable[tuple[str, str]]


def answer(
    environ: WSGIEnvironment,
    start: StartResponse,
    body: bytes,
    kind: str,
    status: str = "200 OK",
    headers: Headers = (),
) -> list[bytes]:
    """Answer with a body of this kind; HEAD gets its headers alone."""
    about = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start(status, [*about, *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def refuse(
    environ: WSGIEnvironment,
    start: StartResponse,
    status: str,
    reason: str,
    headers: Headers = (),
) -> list[bytes]:
    """One line of JSON: what the Optuna dashboard's page reads a reason from, and a person can."""
    body = json.dumps({"reason": reason}).encode() + b"\n"
    return answer(environ, start, body, "application/json", status, headers)
