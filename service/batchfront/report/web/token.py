"""The token that a server's pages are shown for: from a file, and never told to anyone."""

import hmac
import os
import shlex
import stat
from hashlib import sha256
from pathlib import Path

from batchfront.errors import UsageError
from batchfront.printable import printable

_LONGEST = 4096  # bytes

_GUESSED = 16  # characters, below which somebody may try them all


class Token:
    """A secret that is compared and never shown: not in a message, an attribute or a log.

    weak   -- whether it is short enough to be guessed
    cookie -- the name and the value of the cookie of who has it. Both follow from the token, which
              doesn't follow from them: so they outlive the server, end with the token, and aren't
              mistaken for those of another server of the same host, as cookies don't know ports.
    """

    def __init__(self, secret: str) -> None:
        self._digest = _digest(secret)
        self.weak = len(secret) < _GUESSED
        key = secret.encode()
        name, value = (hmac.digest(key, use, "sha256").hex() for use in (b"name", b"session"))
        self.cookie = (f"batchfront-{name[:12]}", value)

    def matches(self, said: str) -> bool:
        """Whether that is the token, in a time that tells nothing about it."""
        return hmac.compare_digest(_digest(said), self._digest)

    def in_cookies(self, header: str) -> bool:
        """Whether one of the cookies of a request's header is that of who has the token."""
        name, value = self.cookie
        expected = _digest(value)
        found = (part.strip().partition("=") for part in header.split(";"))
        return any(
            hmac.compare_digest(_digest(given), expected) for key, _, given in found if key == name
        )


def read_token(path: Path) -> Token:
    """Read the token of a file: its one line.

    Raises UsageError for a file that can't be read, is empty, holds something else, or can be read
    by more people than the one who owns it and runs this, or written by them. One that somebody
    else owns, as a container's secrets, has the permissions that they gave it.
    """
    where = f"--token-file {printable(str(path))}"
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:  # the latter of a name with a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{where}: can't be read: {reason}") from None
    mine = found.st_uid == os.geteuid()
    if stat.S_ISREG(found.st_mode) and found.st_mode & (0o077 if mine else 0o022):
        others = "be read or written" if mine else "be written"
        raise UsageError(
            f"{where}: can {others} by others (mode {stat.S_IMODE(found.st_mode):04o}): "
            f"`chmod 600 {shlex.quote(str(path))}`"
        )
    return Token(_line(content, where))


def _line(content: bytes, where: str) -> str:
    text = content.strip(b"\r\n \t")
    if not text:
        raise UsageError(
            f"{where}: is empty; it should hold the token, as of `openssl rand -hex 24`"
        )
    if len(content) > _LONGEST or not all(0x21 <= byte <= 0x7E for byte in text):
        raise UsageError(
            f"{where}: should hold one line, the token, of letters, digits and signs, "
            "as of `openssl rand -hex 24`"
        )
    return text.decode()


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
