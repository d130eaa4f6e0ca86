"""Pages that are kept until the database has changed, and made anew when someone looks at them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from threading import Condition, Thread
from time import monotonic

from batchfront.errors import StorageError
from batchfront.report.page import NOTICE
from batchfront.report.text import escape

log = logging.getLogger(__name__)

EVERY = 3.0
"""Seconds between two reads of the database, at least."""

PATIENCE = 2.0
"""Seconds that a reader waits for a newer page, and then gets the one there is."""

_AWAY = "The database does not answer."

Renew = Callable[[object], tuple[object, str] | None]


@dataclass(frozen=True)
class Page:
    """A page as a browser gets it: its body, and a tag that differs where the body does."""

    body: bytes

    @cached_property
    def tag(self) -> str:
        return f'"{sha256(self.body).hexdigest()[:24]}"'


class KeptPage:
    """A page that is looked after by a thread of its own, so that no reader waits for long.

    Nobody asks, nothing is done: the database is read when the page is, at most once in `every`
    seconds.

    renew    -- gives a state and the page of that state, or None where the state is still the one
                that it is given, of the page before
    patience -- seconds that a reader waits for a newer page
    overdue  -- seconds after which a read that has not come back is said on the page
    """

    def __init__(
        self, renew: Renew, every: float = EVERY, patience: float = PATIENCE, overdue: float = 10.0
    ) -> None:
        self._renew, self._every = renew, every
        self._patience, self._overdue = patience, overdue
        self._news = Condition()
        self._state, self._text = renew(None) or (None, "")
        self._good = datetime.now()  # when the database last answered
        self._read_at = monotonic()
        self._asked: float | None = None  # when the read began that has not come back yet
        self._trouble = ""
        self._closed = False
        self._thread = Thread(target=self._keep, name="page", daemon=True)
        self._thread.start()

    def read(self) -> Page:
        """The page as it is now, or, where that takes long, as it last was; never a half one."""
        with self._news:
            due = monotonic() - self._every
            if self._read_at < due:
                self._asked = self._asked or monotonic()
                self._news.notify_all()
                self._news.wait_for(lambda: self._read_at >= due or self._closed, self._patience)
            overdue = self._asked is not None and monotonic() - self._asked > self._overdue
            trouble = self._trouble or (_AWAY if overdue else "")
            text = self._text.replace(NOTICE, _notice(trouble, self._good), 1)
        return Page(text.encode())

    def close(self) -> None:
        """End the thread."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(1)

    def _keep(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._asked is not None or self._closed)
                if self._closed:
                    return
            self._read_anew()

    def _read_anew(self) -> None:
        try:
            state, text = self._renew(self._state) or (self._state, self._text)
            trouble = ""
        except Exception as error:  # whatever it is, the last page is worth more than none
            away = isinstance(error, StorageError)
            trouble = _AWAY if away else "This page could not be made anew."
            if trouble != self._trouble:
                said = str(error) if away else f"{type(error).__name__}: {error}"
                log.warning("the page is not up to date: %s", said.partition("\n")[0])
        with self._news:
            if not trouble:
                self._state, self._text, self._good = state, text, datetime.now()
            self._trouble, self._read_at, self._asked = trouble, monotonic(), None
            self._news.notify_all()


def _notice(trouble: str, good: datetime) -> str:
    """The place for a notice stays, so that one that comes moves nothing else."""
    if not trouble:
        return '<p id="notice" class="notes" role="status" hidden></p>'
    text = f"{trouble} Below is what it showed on {good.day} {good:%B at %H:%M:%S}."
    return f'<p id="notice" class="notes" role="status">{escape(text)}</p>'
