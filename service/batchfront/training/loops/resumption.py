"""How a loop goes on after an interruption."""

from enum import StrEnum


class Resumption(StrEnum):
    """As the preflight has found it, and a study's identity keeps it."""

    KEPT = "kept"  # from what it has asked its trial to keep
    REPLAYED = "replayed"  # run again up to where it stood, and compared with what it showed there
    ANEW = "anew"  # run again: what it shows isn't the same to the last digit
