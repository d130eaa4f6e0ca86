"""What a server tells Prometheus, in OpenMetrics: how the search goes, who works on it, and what
the database is asked.

Names and units follow https://prometheus.io/docs/practices/naming.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from sqlalchemy import Connection, Engine, event, text

from batchfront import __version__
from batchfront.ledger.counts import SILENT, WorkloadCounts, load_counts
from batchfront.printable import printable
from batchfront.report.web.answers import answer
from batchfront.report.web.latest import Latest
from batchfront.store import schema
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.vocabulary import Outcome, SlotState, WorkerState

METRICS = "/metrics"

MOST = 50
"""Workloads that have series of their own; those of all others are summed up."""

OTHERS = "(others)"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

_OPEN = [state for state in SlotState if state is not SlotState.DONE]

_WORKERS = (WorkerState.BUSY, WorkerState.IDLE, SILENT, WorkerState.LOST)


def with_metrics(
    app: WSGIApplication,
    storage: Storage,
    workloads: Sequence[str] = (),
    every: float = 5.0,
    patience: float = 5.0,
) -> WSGIApplication:
    """Answers /metrics, of these workloads or of all, and leaves everything else to `app`.

    every    -- seconds between two reads of the database, at least: so old may the numbers be
    patience -- seconds that the database may take to answer; it is down otherwise
    """
    registry, wanted = CollectorRegistry(), Filter(tuple(workloads))
    latest = Latest(lambda: _load(storage, wanted), every, patience)
    registry.register(_FromDatabase(latest, storage.engine.dialect.name))
    _time_statements(storage.engine, registry)
    ProcessCollector(registry=registry)

    def asking(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != METRICS or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return app(environ, start)
        body, kind = _written(registry, environ.get("HTTP_ACCEPT", ""))
        return answer(environ, start, body, kind, headers=[("Cache-Control", "no-store")])

    return asking


def _written(registry: CollectorRegistry, accepted: str) -> tuple[bytes, str]:
    """All samples and their content type: OpenMetrics, or Prometheus's older text for who asks for
    other formats alone, as a browser does."""
    if accepted in ("", "*/*") or "application/openmetrics-text" in accepted:
        body = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return body, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8"


def _time_statements(engine: Engine, registry: CollectorRegistry) -> None:
    """Time every statement of this process's, but for those that fail."""
    seconds = Histogram(
        "batchfront_statement_duration_seconds",
        "Time that the database took for the statements of this server.",
        registry=registry,
        buckets=_SECONDS,
    )

    @event.listens_for(engine, "before_cursor_execute")
    def begin(conn: Connection, *_: Any) -> None:
        conn.info["batchfront_began"] = perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def end(conn: Connection, *_: Any) -> None:
        seconds.observe(perf_counter() - conn.info["batchfront_began"])


@dataclass(frozen=True)
class _Server:
    """What PostgreSQL says of the work of all who use this database."""

    commits: int
    rollbacks: int
    connections: int
    active_seconds: float | None  # since PostgreSQL 14


@dataclass(frozen=True)
class _Found:
    """What one read of the database gave."""

    workloads: Mapping[str, WorkloadCounts]
    workers: Mapping[str, int]
    lease_age: float | None
    server: _Server | None


def _load(storage: Storage, wanted: Filter) -> _Found:
    with storage.read() as moment:
        counts = load_counts(moment, wanted)
        server = _load_server(moment) if moment.dialect.name == "postgresql" else None
    return _Found(_labelled(counts.workloads), counts.workers, counts.lease_age, server)


def _load_server(moment: Connection) -> _Server:
    query = text(
        "SELECT xact_commit, xact_rollback, numbackends, "
        "(to_jsonb(d) ->> 'active_time')::double precision / 1000 "
        "FROM pg_stat_database AS d WHERE datname = current_database()"
    )
    return _Server(*moment.execute(query).one())


def _labelled(workloads: Mapping[str, WorkloadCounts]) -> dict[str, WorkloadCounts]:
    """The workloads by the label of their series: those with trials still to run come first, then
    those whose trials ended last."""

    def rank(name: str) -> tuple[bool, float, str]:
        counts = workloads[name]
        return not sum(counts.by_state.values()), -(counts.last_result or 0.0), name

    groups: dict[str, list[WorkloadCounts]] = {}
    for place, name in enumerate(sorted(workloads, key=rank)):
        label = printable(name) if place < MOST else OTHERS
        groups.setdefault(label, []).append(workloads[name])
    return {label: _summed(group) for label, group in groups.items()}


def _summed(group: Sequence[WorkloadCounts]) -> WorkloadCounts:
    by_state: Counter[str] = Counter()
    by_outcome: Counter[str] = Counter()
    for counts in group:
        by_state.update(counts.by_state)
        by_outcome.update(counts.by_outcome)
    ended = (counts.last_result for counts in group if counts.last_result is not None)
    return WorkloadCounts(by_state, by_outcome, max(ended, default=None))


class _FromDatabase:
    """Collects what the database says; without it, that it doesn't answer, and nothing else."""

    def __init__(self, latest: Latest[_Found], kind: str) -> None:
        self._latest, self._kind = latest, kind

    def collect(self) -> Iterator[Metric]:
        about = {"version": __version__, "schema": str(schema.VERSION), "database": self._kind}
        yield InfoMetricFamily("batchfront_build", "The server's version.", value=about)
        found = self._latest.get()
        up = "Whether the database answers."
        yield GaugeMetricFamily("batchfront_database_up", up, value=float(found is not None))
        if found is not None:
            yield from _of_slots(found.workloads)
            yield from _of_workers(found)
            yield from _of_server(found.server)

    def describe(self) -> Iterator[Metric]:
        """Says nothing, so that being registered reads nothing."""
        return iter(())


def _of_slots(workloads: Mapping[str, WorkloadCounts]) -> Iterator[Metric]:
    slots = GaugeMetricFamily(
        "batchfront_slots",
        "Slots, each of one trial, by state, and those that are done by outcome.",
        labels=("workload", "state", "outcome"),
    )
    last = GaugeMetricFamily(
        "batchfront_last_result_timestamp_seconds",
        "When a trial last ended, by the database's clock.",
        labels=("workload",),
        unit="seconds",
    )
    for workload, counts in workloads.items():
        for state in _OPEN:
            slots.add_metric((workload, state, ""), counts.by_state.get(state, 0))
        for outcome in Outcome:
            slots.add_metric((workload, SlotState.DONE, outcome), counts.by_outcome.get(outcome, 0))
        if counts.last_result is not None:
            last.add_metric((workload,), counts.last_result)
    yield from (slots, last)


def _of_workers(found: _Found) -> Iterator[Metric]:
    workers = GaugeMetricFamily(
        "batchfront_workers",
        "Workers that haven't stopped. The lease of a silent one has run out, and a lost one has "
        "been given up by another.",
        labels=("state",),
    )
    for state in _WORKERS:
        workers.add_metric((state,), found.workers.get(state, 0))
    age = GaugeMetricFamily(
        "batchfront_lease_age_seconds",
        "Time since the lease of a leased slot was renewed, of the one where that is longest.",
        value=found.lease_age or 0.0,
        unit="seconds",
    )
    yield from (workers, age)


def _of_server(server: _Server | None) -> Iterator[Metric]:
    if server is None:
        return
    transactions = CounterMetricFamily(
        "batchfront_database_transactions",
        "Transactions of all who use this database, as PostgreSQL counts them.",
        labels=("end",),
    )
    transactions.add_metric(("commit",), server.commits)
    transactions.add_metric(("rollback",), server.rollbacks)
    yield transactions
    if server.active_seconds is not None:
        yield CounterMetricFamily(
            "batchfront_database_active_seconds",
            "Time that PostgreSQL has spent on statements of all who use this database.",
            value=server.active_seconds,
            unit="seconds",
        )
    yield GaugeMetricFamily(
        "batchfront_database_connections",
        "Connections to this database.",
        value=server.connections,
    )
