"""What the guide to monitoring tells Prometheus is what a server answers."""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read

from batchfront.report.web.metrics import METRICS, MOST, OTHERS, with_metrics
from batchfront.store.database import Storage
from tests.docs.pages import PAGES, blocks, prose
from tests.searches import planned
from tests.web import ask, served

GUIDE = "docs/guides/monitoring.md"


def done(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [])
    return []


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_it_names_every_metric_with_its_labels_and_no_other(storage: Storage) -> None:
    planned(storage)
    with served(with_metrics(done, storage)) as address:
        families = list(read(ask(address, METRICS).text))
    samples = {sample.name: sample.labels for family in families for sample in family.samples}
    ours = {f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in families}
    ours = {name for name in ours if name.startswith("batchfront_")} - {"batchfront_build"}
    listed = dict(re.findall(r"`(batchfront_[a-z_]+)(?:\{(.*?)\})?`", prose(GUIDE)))
    assert set(listed) == {*ours, "batchfront_build_info"}
    for name, labels in listed.items():
        if name in samples:
            assert set(filter(None, labels.split(", "))) == set(samples[name])
    used = set(
        re.findall(r"\b(batchfront_[a-z_]+)\b", "".join(re.findall(r"(?s)```.*?```", PAGES[GUIDE])))
    )
    assert used <= {*samples, "batchfront_last_result_timestamp_seconds"}
    assert len(used) > 6


def test_its_examples_are_prometheus_s_configuration() -> None:
    scraping, rules = map(yaml.safe_load, blocks(GUIDE, "yaml"))
    (job,) = scraping["scrape_configs"]
    assert set(job) == {"job_name", "static_configs", "authorization"}
    (group,) = rules["groups"]
    assert len(group["rules"]) >= 3
    for rule in group["rules"]:
        assert set(rule) <= {"alert", "expr", "for", "annotations"}
        assert rule["annotations"]["summary"]


def test_it_says_how_many_workloads_have_series_of_their_own() -> None:
    assert f"The {MOST} workloads" in prose(GUIDE)
    assert f'workload="{OTHERS}"' in prose(GUIDE)
