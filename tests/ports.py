"""Ports on loopback for the servers that tests start."""

import random
import socket


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, so that it is still
    free when a server comes back."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
