"""Answers of one piece, compressed for whoever takes them so, and refusals."""

import gzip
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from wsgiref.types import StartResponse, WSGIEnvironment

Headers = Iterable[tuple[str, str]]

VARIES = ("Vary", "Accept-Encoding")
"""Says to caches on the way that the same may be asked for compressed, or not."""

_WORTH_IT = 1400  # bytes; what is shorter fits into a packet as it is

_REFUSED = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")


def answer(
    environ: WSGIEnvironment,
    start: StartResponse,
    body: bytes,
    kind: str,
    status: str = "200 OK",
    headers: Headers = (),
) -> list[bytes]:
    """Answer with a body of this kind, which is text; HEAD gets its headers alone."""
    about = [("Content-Type", kind), *headers]
    if len(body) >= _WORTH_IT:
        about.append(VARIES)
        if _takes_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
            about.append(("Content-Encoding", "gzip"))
            body = _gzipped(body)
    start(status, [*about, ("Content-Length", str(len(body)))])
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


def _takes_gzip(accepted: str) -> bool:
    """By the Accept-Encoding of a request."""
    for one in accepted.split(","):
        name, _, quality = one.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return not _REFUSED.fullmatch(quality)
    return False


@lru_cache(maxsize=16)  # a page and its scripts are asked for again and again
def _gzipped(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)
