"""Which names a server answers to.

Another site can let its own name point to this machine, or to any that a visitor's browser reaches
(DNS rebinding), and then read there whatever a server answers, since for the browser it is all that
site's. But the request says which name was asked for, and an address is nobody's name.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from batchfront.errors import UsageError
from batchfront.report.web.answers import refuse

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?", re.ASCII)
"""A host as requests name it, and its port (RFC 3986, section 3.2); without a user, lists and
escapes, which no browser sends."""


def is_loopback(host: str) -> bool:
    """Whether an address is one that only this machine reaches: localhost, 127.0.0.1, ::1."""
    address = _address(host)
    return host == "localhost" if address is None else ip_address(address).is_loopback


def is_every_address(host: str) -> bool:
    """Whether a server that listens there is reached by every address of its machine."""
    address = _address(host)
    return address is not None and ip_address(address).is_unspecified


def parse_host(text: str) -> str:
    """A name that a server may be asked for by, or an address, as it is compared: an international
    name in its ASCII form.

    Raises UsageError for what is none, such as one with a port.
    """
    name = text.strip()
    bare = _address(name.strip("[]"))
    if bare is None:
        try:
            bare = name.encode("idna").decode() if name else ""
        except UnicodeError:
            bare = ""
        if not re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]\.?", bare):
            raise UsageError(
                f"--allowed-host {text!r}: is no host's name; write it as in a URL, without "
                "http:// and port, such as batchfront.example"
            )
    return bare.lower().removesuffix(".")


def known_hosts(app: WSGIApplication, host: str, allowed: Sequence[str] = ()) -> WSGIApplication:
    """Answers only those who ask for this server by one of its names.

    host    -- the address that it listens on, which is a name of it unless that is every address
    allowed -- further ones, as `parse_host` gives them

    Loopback names always are. Where it listens beyond this machine and has been given none, every
    address is too. The port is left out of it: a tunnel (`ssh -L 9000:localhost:8080`) has another.
    """
    names = {*allowed, *([] if is_every_address(host) else [_normal(host)])}
    any_address = not allowed and not is_loopback(host)

    def is_known(authority: str) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return False
        name = _normal(found[1].strip("[]"))
        return name in names or is_loopback(name) or (any_address and _address(name) is not None)

    def known(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        for authority in _asked_for(environ):
            if not is_known(authority):
                reason = f"host {authority[:80]!r} is not this server's; ask for it as localhost"
                other = "" if is_loopback(host) else ", or start it with --allowed-host NAME"
                return refuse(environ, start, "403 Forbidden", reason + other)
        return app(environ, start)

    return known


def _asked_for(environ: WSGIEnvironment) -> list[str]:
    """The hosts that a request names: in its Host header, of which several come as a list, and in a
    target that is a whole URL, which counts for more (RFC 9112, section 3.2.2)."""
    target = environ.get("REQUEST_URI", "/")
    whole = [] if target.startswith(("/", "*")) else [_netloc(target)]
    return [environ.get("HTTP_HOST", ""), *whole]


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _normal(host: str) -> str:
    return _address(host) or host.lower().removesuffix(".")


def _address(host: str) -> str | None:
    """An address in its one form; None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None
