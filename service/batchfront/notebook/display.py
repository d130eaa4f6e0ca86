"""The progress of a search below a notebook's cell."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from markupsafe import Markup

from batchfront.cli.output.lines import say
from batchfront.cli.output.progress import Shown, following, showing
from batchfront.cli.output.standing import Here, at_step, at_work, doing_at
from batchfront.cli.output.status import duration, left_in_a_cell, to_goal, total_left
from batchfront.displayed import as_html
from batchfront.frontier.curve.text import count
from batchfront.ledger.status import Status, StudyStatus
from batchfront.ledger.time_left import time_left
from batchfront.notebook.cells import shell
from batchfront.store.database import Storage
from batchfront.study.study import Filter
from batchfront.table import Column, Table
from batchfront.table_text import table_text


@contextmanager
def progress(storage: Storage, wanted: Filter, own: Here) -> Iterator[None]:
    """Show the progress of these studies while the block runs: as a table below a notebook's cell
    that changes, and elsewhere as `batchfront run` does.

    own -- what is known of this process's own workers
    """
    here = shell()
    if here is None or getattr(here, "kernel", None) is None:
        with showing(storage, wanted, own):
            yield
        return
    with following(storage, wanted, _below_a_cell(own)):
        yield


@contextmanager
def _below_a_cell(own: Here) -> Iterator[Shown]:
    from IPython.display import display

    began = monotonic()
    place: Any = None

    def update(status: Status) -> None:
        nonlocal place
        drawn = _drawn(status, own, monotonic() - began)
        if place is None:
            place = display(drawn, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            place.update(drawn, raw=True)

    yield Shown(update, say)


def _drawn(status: Status, own: Here, elapsed: float) -> dict[str, str]:
    """By kind, for whatever shows the notebook."""
    return {
        "text/html": as_html(progress_table(status, own, elapsed, _with_bar)),
        "text/plain": table_text(progress_table(status, own, elapsed, _counted)),
    }


def progress_table(
    status: Status, own: Here, elapsed: float, trials: Callable[[StudyStatus], str]
) -> Table:
    """A row for each study.

    own     -- what is known of this process's own workers
    elapsed -- seconds since it began
    trials  -- how it is shown how many of a study's are done
    """
    columns = (
        Column("batch size", count),
        Column("trials", trials, words=True),
        Column("best", count),
        Column("best now → goal", words=True),
        Column("at step"),
        Column("left"),
    )
    rows = [
        (
            study.batch_size,
            study,
            study.best,
            (doing_at(study, status) or to_goal(study)) if study.running else None,
            at_step(study) or None,
            left_in_a_cell(time_left(study, status).shared_by(study.workers))
            if study.open
            else None,
        )
        for study in status.studies
    ]
    names = ", ".join(dict.fromkeys(study.workload for study in status.studies))
    stands = f"{at_work(status, own)} · {duration(elapsed)}{total_left(status)}"
    return Table(columns, rows, names, [stands])


def _counted(study: StudyStatus) -> str:
    return f"{study.done:,} of {study.total:,}"


def _with_bar(study: StudyStatus) -> str:
    bar = Markup('<progress value="{}" max="{}"></progress> {}')
    return bar.format(study.done, study.total, _counted(study))
