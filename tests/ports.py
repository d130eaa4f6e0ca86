"""Ports on loopback for the servers that tests start."""

import socket
from random import SystemRandom


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, so that it is still
    free when a server comes back."""
    while True:
        port = SystemRandom().randrange(20_000, 30_000)  # training seeds the other
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
