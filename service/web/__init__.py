"""Serving pages over HTTP: who is answered, what may be asked, and how a server ends."""

from service.web.guards import guarded, is_loopback, only_reading, refuse
from service.web.server import Server, serve

__all__ = ["Server", "guarded", "is_loopback", "only_reading", "refuse", "serve"]
