"""MLflow: an experiment for each workload, with a run for each trial."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from batchfront.errors import UsageError
from batchfront.exchange.trackers.finished import (
    FinishedRun,
    last_at_each_step,
    what_track_wrote,
)
from batchfront.exchange.trackers.runs import TrackedRun
from batchfront.phrases import first_few
from batchfront.printable import shell_line

_KEY = "batchfront.run"
_METRICS = 1000  # of a request
_PARAMS = 100
_LONGEST = 5000  # characters of a tag or parameter
_PAGE = 1000  # runs of an answer


class _MLflow:
    def __init__(self, where: str) -> None:
        self._where, self._client = where, open_client(where)
        self._experiments: dict[str, tuple[str, set[str]]] = {}

    def has(self, run: TrackedRun) -> bool:
        return run.key in self._experiment(run.workload)[1]

    def write(self, run: TrackedRun) -> None:
        experiment, there = self._experiment(run.workload)
        tags = {**run.tags, "group": run.group, _KEY: run.key}
        began, ended = int(run.started * 1000), int(run.finished * 1000)
        made = self._client.create_run(
            experiment,
            start_time=began,
            run_name=run.name,
            tags={name: text[:_LONGEST] for name, text in tags.items() if text},
        )
        params = [Param(_name(name), str(value)[:_LONGEST]) for name, value in run.config.items()]
        metrics = [Metric(_name(name), value, ended, 0) for name, value in run.summary.items()]
        for name, curve in run.curves.items():
            metrics += [Metric(_name(name), value, ended, step) for step, value in curve]
        for at in range(0, max(len(params), 1), _PARAMS):
            self._client.log_batch(made.info.run_id, params=params[at : at + _PARAMS])
        for at in range(0, len(metrics), _METRICS):
            self._client.log_batch(made.info.run_id, metrics=metrics[at : at + _METRICS])
        self._client.set_terminated(made.info.run_id, "FINISHED", ended)
        there.add(run.key)

    def _experiment(self, workload: str) -> tuple[str, set[str]]:
        """The experiment of this name, made if it isn't there, and the keys of its whole runs.
        Those that were not written whole are deleted."""
        if workload not in self._experiments:
            found = self._client.get_experiment_by_name(workload)
            if found is not None and found.lifecycle_stage != "active":
                raise UsageError(
                    f"mlflow: the experiment {workload!r} was deleted there; restore it"
                )
            made = found.experiment_id if found else self._client.create_experiment(workload)
            there = set()
            for run in runs_of(self._client, made):
                key = run.data.tags.get(_KEY)
                if key and run.info.status == "RUNNING":
                    self._client.delete_run(run.info.run_id)
                elif key:
                    there.add(key)
            self._experiments[workload] = made, there
        return self._experiments[workload]

    def close(self) -> str:
        if "://" in self._where:  # which may have a password in it
            return "each workload is an experiment there"
        look = shell_line(["mlflow", "ui", "--backend-store-uri", self._where])
        return f"look at them with: MLFLOW_ALLOW_FILE_STORE=true {look}"


def open_tracker(where: str) -> _MLflow:
    """A folder, or the URI of a server or a database."""
    return _MLflow(where)


def open_client(where: str) -> Any:
    """Raises UsageError where nothing can be had there."""
    if "://" not in where and Path(where).is_file():
        raise UsageError(
            f"mlflow: {where}: is a file; give a folder, or sqlite:///{where} if it is a database"
        )
    uri = _uri(where)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by itself it tries for minutes
    if uri.startswith("file:"):  # the user has named the folder; MLflow wants to be told so
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        if _is_batchfronts(uri):
            raise UsageError(
                f"mlflow: {where}: is a database of batchfront's; give MLflow one of its own"
            )
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    except (MlflowException, OSError, ImportError) as error:
        raise UsageError(f"mlflow: {where}: {str(error).splitlines()[0]}") from None
    return client


def _is_batchfronts(uri: str) -> bool:
    """Whether MLflow would make its tables among those of a search, and then fail on them."""
    if not uri.startswith(("sqlite:", "postgresql:", "postgresql+")):
        return False
    with suppress(SQLAlchemyError):
        engine = create_engine(uri)
        try:
            return inspect(engine).has_table("bf_measurements")
        finally:
            engine.dispose()
    return False


def _is_there(url: str) -> bool:
    """Whether the file of an SQLite database exists."""
    try:
        return Path(make_url(url).database or "").is_file()
    except ArgumentError:
        return True  # MLflow says what is wrong with it


def _uri(where: str) -> str:
    return where if "://" in where or where.startswith("file:") else Path(where).resolve().as_uri()


def runs_of(client: Any, experiment: str) -> Iterator[Any]:
    """All runs of an experiment that aren't deleted, in the order in which they began."""
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _name(text: str) -> str:
    """A name with the characters that MLflow allows in it."""
    return re.sub(r"[^\w\-. /]", "_", text)


def read_runs(where: str, experiment: str) -> list[FinishedRun]:
    """The runs of an experiment that have ended. Raises UsageError where it can't be had."""
    if "://" not in where and not Path(where).is_dir():
        raise UsageError(f"mlflow: {where}: no such folder")
    if where.startswith("sqlite:") and not _is_there(where):  # MLflow would make it
        raise UsageError(f"mlflow: {where}: no such database")
    client = open_client(where)
    try:
        found = client.get_experiment_by_name(experiment)
        if found is None:
            known = first_few([one.name for one in client.search_experiments()])
            raise UsageError(f"mlflow: {where} has no experiment {experiment!r}; there is {known}")
        ended = (run for run in runs_of(client, found.experiment_id) if run.info.status in _ENDED)
        return [_finished(client, run) for run in ended]
    except (MlflowException, OSError) as error:
        raise UsageError(f"mlflow: {where}: {str(error).splitlines()[0]}") from None


_ENDED = ("FINISHED", "FAILED", "KILLED")


def _finished(client: Any, run: Any) -> FinishedRun:
    of = run.info.run_id
    curves = {name: client.get_metric_history(of, name) for name in run.data.metrics}
    params, aside = run.data.params, ""
    if _KEY in run.data.tags:
        params, aside = what_track_wrote(params, run.data.tags.get("purpose", ""))
    return FinishedRun(
        of,
        run.info.run_name or of,
        params,
        {
            name: tuple(last_at_each_step((one.step, one.value) for one in curve))
            for name, curve in curves.items()
        },
        failed=run.info.status != "FINISHED",
        aside=aside,
    )
