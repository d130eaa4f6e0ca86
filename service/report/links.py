"""Links from the page to the Optuna dashboard."""

from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from service.errors import UsageError

DASHBOARD = "http://127.0.0.1:8080"
"""Where `batchfront dashboard` listens unless told otherwise."""


@dataclass(frozen=True)
class Dashboard:
    """An Optuna dashboard on the database of the page, at an http(s) URL.

    Raises UsageError for any other URL: a page must not carry a link that runs something.
    """

    url: str = DASHBOARD

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise UsageError(
                f"dashboard {self.url!r}: not the address of a dashboard; "
                f"write it like {DASHBOARD} or https://HOST/PREFIX"
            )

    @property
    def studies(self) -> str:
        """What the address of every study begins with."""
        return f"{self.url.rstrip('/')}/dashboard/studies/"

    def trial(self, study_id: int, number: int) -> str:
        """The address of a trial's page. `study_id` is Optuna's, `number` the trial's in it."""
        return f"{self.studies}{study_id}/trials?numbers={number}"

    def link(self, study_id: int, number: int) -> str:
        """A trial's number as a link to it."""
        address = escape(self.trial(study_id, number))
        return f'<a href="{address}" target="_blank" rel="noopener">{number}</a>'
