"""What a database says now, for whoever asks as often as they like."""

import logging
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic
from typing import Generic, TypeVar

from batchfront.errors import StorageError
from batchfront.ledger.status import pause_after

T = TypeVar("T")

log = logging.getLogger(__name__)


class Latest(Generic[T]):
    """What reading gave last, read anew when somebody asks, and not too often.

    read     -- reads it; a thread of its own does, one at a time
    every    -- seconds between two reads, at least; more where they take long. 0: whoever asks gets
                a new one, or that which is under way
    patience -- seconds that whoever asks waits for a read
    """

    def __init__(self, read: Callable[[], T], every: float, patience: float) -> None:
        self._read, self._every, self._patience = read, every, patience
        self._news = Condition()
        self._value: T | None = None
        self._due = monotonic()
        self._reading = False
        self._trouble = ""

    def get(self) -> T | None:
        """What there is; None while the database doesn't answer, or can't be read."""
        with self._news:
            if not self._reading and monotonic() >= self._due:
                self._reading = True
                Thread(target=self._renew, name="latest", daemon=True).start()
            self._news.wait_for(lambda: not self._reading, self._patience)
            return None if self._reading else self._value

    def _renew(self) -> None:
        began, value, trouble = monotonic(), None, ""
        try:
            value = self._read()
        except StorageError as error:
            trouble = str(error)
        except Exception as error:  # whatever it is, the server goes on
            trouble = f"{type(error).__name__}: {error}"
        if trouble and trouble != self._trouble:
            log.warning("%s", trouble.partition("\n")[0])
        with self._news:
            # What failed may have waited for long, which has kept nobody busy.
            took = 0.0 if trouble else monotonic() - began
            self._due = monotonic() + (pause_after(took, self._every) if self._every else 0.0)
            self._value, self._trouble, self._reading = value, trouble, False
            self._news.notify_all()
