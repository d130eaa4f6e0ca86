"""Pages that are kept until what they show has changed, and made anew when somebody looks."""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from threading import Condition, Thread
from time import monotonic

from batchfront.errors import StorageError
from batchfront.report.page import NOTICE
from batchfront.report.table_files import Files
from batchfront.report.text import escape

log = logging.getLogger(__name__)

EVERY = 3.0
"""Seconds between two reads of what a page shows, at least."""

PATIENCE = 2.0
"""Seconds that a reader waits for a newer page, and then gets the one there is."""

OVERDUE = 10.0
"""Seconds after which a read that has not come back is said on the page."""

KEPT_BYTES = 64 << 20
"""Of all pages that are kept; those that nobody has looked at for longest go first."""

_WORK = 0.15  # seconds in each EVERY, a twentieth of a core, that keeping a page fresh may take

_SELDOM = 10  # times EVERY, after which a page is read anew whatever it takes

_AWAY = "The database does not answer."


@dataclass(frozen=True)
class Page:
    """A page as a browser gets it: its body, and a tag that differs where the body does; and the
    files of its tables, None while it is made for the first time. The tag is a weak one: of the
    page, whether it is sent compressed or not."""

    body: bytes
    files: Files | None

    @cached_property
    def tag(self) -> str:
        return f'W/"{sha256(self.body).hexdigest()[:24]}"'


@dataclass(frozen=True)
class Made:
    """A page's text, and the files of its tables beside it, where there are some to be had."""

    text: str
    files: Files | None = None


@dataclass(frozen=True)
class Fresh:
    """What a page is to show from now on.

    state -- what will tell whether it has changed
    make  -- makes the page
    whole -- whether it waits for a change; if not there is more to show already
    """

    state: object
    make: Callable[[], Made]
    whole: bool = True


class NoSuchPage(Exception):
    """There is nothing, or nothing any more, that a page of this name could show."""


Renew = Callable[[str, object], Fresh | None]


class _Kept:
    """One page.

    state -- of what it shows; None before it was first made
    good  -- when what it shows last could be read
    size  -- in bytes
    due   -- when it may be read anew
    asked -- whether somebody waits for that
    """

    def __init__(self, text: str) -> None:
        self.good: datetime | None = None
        self._said = ""  # the trouble that is said on the page
        self._show(Made(text))
        self.state: object = None
        self.due = 0.0
        self.asked = self.missing = False
        self.trouble = ""

    def take(self, state: object, made: Made) -> None:
        """Show this from now on."""
        self.state = state
        self._show(made)

    def page(self, trouble: str) -> Page:
        """It, with this trouble said on it."""
        if trouble != self._said:
            self._said, self._page = trouble, _page(self._made, trouble, self.good)
        return self._page

    @property
    def size(self) -> int:
        files = sum(len(file.content) for file in (self._made.files or {}).values())
        return 2 * len(self._page.body) + files

    def _show(self, made: Made) -> None:
        self._made, self._said = made, ""
        self._page = _page(made, "", self.good)


class KeptPages:
    """Pages that one thread looks after, so that no reader waits for long.

    Nobody asks, nothing is done: what a page shows is read when the page is, at most once in
    `every` seconds, more seldom where that takes long, and however many ask.

    renew    -- looks at what the page of a name shows, and gives None where that is still in the
                state of the page before. Raises NoSuchPage for a name without a page
    waiting  -- the page while the first one is being made
    patience -- seconds that a reader waits for a newer page
    overdue  -- seconds after which a look that has not come back is said on the page
    most     -- bytes of all pages
    """

    def __init__(
        self,
        renew: Renew,
        waiting: str = "",
        every: float = EVERY,
        patience: float = PATIENCE,
        overdue: float = OVERDUE,
        most: int = KEPT_BYTES,
    ) -> None:
        self._renew, self._waiting, self._most = renew, waiting, most
        self._every, self._patience, self._overdue = every, patience, overdue
        self._news = Condition()
        self._pages: OrderedDict[str, _Kept] = OrderedDict()  # the one read last comes last
        self._asked: deque[tuple[str, _Kept]] = deque()
        self._looking: float | None = None  # since when the thread waits for what a page shows
        self._closed = False
        self._thread = Thread(target=self._keep, name="pages", daemon=True)
        self._thread.start()

    def read(self, name: str) -> Page | None:
        """The page as it is now, or, where that takes long, as it last was; never a half one.
        None where there is none."""
        with self._news:
            kept = self._pages.setdefault(name, _Kept(self._waiting))
            self._pages.move_to_end(name)
            if monotonic() >= kept.due:
                if not kept.asked:
                    kept.asked = True
                    self._asked.append((name, kept))
                    self._news.notify_all()
                self._news.wait_for(lambda: not kept.asked or self._closed, self._patience)
            if kept.missing:
                return None
            overdue = self._looking is not None and monotonic() - self._looking > self._overdue
            return kept.page(_AWAY if kept.asked and overdue else kept.trouble)

    def close(self) -> None:
        """End the thread."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(1)

    def _keep(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._asked or self._closed)
                if self._closed:
                    return
                name, kept = self._asked.popleft()
            self._read_anew(name, kept)

    def _read_anew(self, name: str, kept: _Kept) -> None:
        began, fresh, made, trouble = monotonic(), None, Made(""), ""
        try:
            fresh = self._look(name, kept.state)
            made = fresh.make() if fresh else made
        except NoSuchPage:
            kept.missing = True
        except Exception as error:  # whatever it is, the last page is worth more than none
            trouble = _trouble(error, said=kept.trouble)
        spent = monotonic() - began
        with self._news:
            if fresh and not trouble:
                kept.take(fresh.state, made)
            kept.trouble, kept.asked = trouble, False
            if not trouble:
                kept.good = datetime.now()
            rest = self._every * min(max(1.0, spent / _WORK), _SELDOM)
            kept.due = monotonic() + (rest if fresh is None or fresh.whole else 0.0)
            self._forget(name, kept)
            self._news.notify_all()

    def _look(self, name: str, state: object) -> Fresh | None:
        self._looking = monotonic()
        try:
            return self._renew(name, state)
        finally:
            self._looking = None

    def _forget(self, name: str, kept: _Kept) -> None:
        """Leave out a page that is none, and those of which there is no more room."""
        if kept.missing:
            self._pages.pop(name, None)
        size = sum(one.size for one in self._pages.values())
        for other, one in list(self._pages.items())[:-1]:
            if size <= self._most:
                return
            if not one.asked:
                size -= self._pages.pop(other).size


def _trouble(error: Exception, said: str) -> str:
    """An error in words that anyone may read; logged unless it was `said` already."""
    away = isinstance(error, StorageError)
    trouble = _AWAY if away else "This page could not be made anew."
    if trouble != said:
        told = str(error) if away else f"{type(error).__name__}: {error}"
        log.warning("the page is not up to date: %s", told.partition("\n")[0])
    return trouble


def _page(made: Made, trouble: str, good: datetime | None) -> Page:
    text = made.text.replace(NOTICE, _notice(trouble, good), 1)
    return Page(text.encode(), made.files)


def _notice(trouble: str, good: datetime | None) -> str:
    """The place for a notice stays, so that one that comes moves nothing else."""
    if not trouble:
        return '<p id="notice" class="notes" role="status" hidden></p>'
    text = trouble
    if good is not None:
        text += f" Below is what it showed on {good.day} {good:%B at %H:%M:%S}."
    return f'<p id="notice" class="notes" role="status">{escape(text)}</p>'
