"""A thread that keeps a worker's leases alive while its main thread trains."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from threading import Event, Lock, Thread

from service.ledger import Ledger, News

log = logging.getLogger(__name__)

RENEW_SECONDS = 0.5
"""Between renewals: also how long a winner elsewhere goes unnoticed."""


class LeaseKeeper:
    """Renews the leases of a study's slots until closed, and keeps the latest news.

    The training thread publishes how far each slot is with `hold`; it never waits for the
    database.
    """

    def __init__(self, ledger: Ledger, study_id: int, every: float = RENEW_SECONDS) -> None:
        self._ledger, self._study_id, self._every = ledger, study_id, every
        self._lock = Lock()
        self._held: dict[int, tuple[int, int]] = {}
        self._news = News(cap=None, lost=frozenset(), idle=0, free=0)
        self._closed = Event()
        self._thread = Thread(target=self._keep, name="lease-keeper", daemon=True)

    def __enter__(self) -> "LeaseKeeper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def hold(self, slots: Mapping[int, tuple[int, int]]) -> None:
        """From now on these slots are held: id to (fence, steps trained so far)."""
        with self._lock:
            self._held = dict(slots)

    @property
    def news(self) -> News:
        """The latest news; `lost` only names slots that are still held here."""
        with self._lock:
            return replace(self._news, lost=self._news.lost & self._held.keys())

    def _keep(self) -> None:
        while not self._closed.wait(self._every):
            with self._lock:
                held = dict(self._held)
            try:
                news = self._ledger.renew(self._study_id, held)
            except Exception as error:
                # The lease outlives a short outage; a longer one shows when results are written.
                log.warning("leases not renewed: %s", error)
                continue
            with self._lock:
                self._news = news
