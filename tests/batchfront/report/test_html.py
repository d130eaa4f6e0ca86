"""Links to the Optuna dashboard."""

import pytest

from batchfront.errors import UsageError
from batchfront.report.html import DASHBOARD, Dashboard


def test_a_trial_has_a_page_of_its_own() -> None:
    usual = Dashboard(DASHBOARD)
    assert usual.trial(7, 12) == "http://127.0.0.1:8080/dashboard/studies/7/trials?numbers=12"
    behind = Dashboard("https://host.example/optuna/")
    assert behind.trial(1, 0) == "https://host.example/optuna/dashboard/studies/1/trials?numbers=0"


def test_a_link_opens_beside_the_page_and_cannot_reach_back() -> None:
    link = Dashboard('http://host/"><script>').link(1, 2, 64)
    assert "<script>" not in link
    assert 'target="_blank" rel="noopener"' in link
    assert 'aria-label="trial 2 at batch size 64, in the Optuna dashboard">2</a>' in link


def test_a_trial_is_a_plain_number_where_there_is_no_dashboard() -> None:
    assert Dashboard().link(1, 2, 64) == "2"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "host:8080", "http://", "file:///x", ""])
def test_only_http_is_linked_to(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a dashboard; write it like http://"):
        Dashboard(url)
