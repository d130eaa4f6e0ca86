"""What an examination finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # a search goes on, but not as well as it could, or not for long
    FAILURE = "failure"  # something can't be done, or goes wrong


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    about   -- the thing, in a word or two
    says    -- what was found, in a sentence
    command -- what frees or mends it, in backticks, where a command does
    """

    about: str
    level: Level
    says: str
    command: str | None = None


def ok(about: str, says: str) -> Finding:
    """Nothing has to be done."""
    return Finding(about, Level.OK, says)


def warning(about: str, says: str, command: str | None = None) -> Finding:
    """Somebody should look at it."""
    return Finding(about, Level.WARNING, says, command)


def failure(about: str, says: str, command: str | None = None) -> Finding:
    """It has to be mended."""
    return Finding(about, Level.FAILURE, says, command)
