"""How a race stands, in words: the same for the live display and for plain lines."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from batchfront.cli.output.status import to_goal, total_left
from batchfront.ledger.status import Status, StudyStatus
from batchfront.vocabulary import WorkerState

_SILENT_SECONDS = 60.0

_NAMED = 3  # batch sizes in a plain line


@dataclass(frozen=True)
class Here:
    """What the process that shows the progress knows of workers of its own.

    running  -- how many are alive, also before they have said so in the database
    stopping -- whether they have been told to stop
    """

    running: Callable[[], int] = lambda: 0
    stopping: Callable[[], bool] = lambda: False


NOWHERE = Here()
"""Of a process that has started no workers."""


def at_work(status: Status, here: Here) -> str:
    """What the workers are at: "2 workers: 1 training, 1 comparing engines"."""
    if status.finished:
        return "all trials done"
    doing = Counter(_doing(status))
    if starting := max(here.running() - doing.total(), 0):
        doing["starting"] += starting
    many = doing.total()
    workers = "1 worker" if many == 1 else f"{many:,} workers"
    if here.stopping():
        return f"stopping: {workers} saving trials in hand" if many else "stopping"
    if not many:
        return "no workers" if any(study.steps for study in status.studies) else "no workers yet"
    if len(doing) == 1:
        return f"{workers} {next(iter(doing))}"
    return f"{workers}: {', '.join(f'{number} {what}' for what, number in doing.most_common())}"


def _doing(status: Status) -> list[str]:
    found = []
    for worker in status.workers:
        if worker.silent > _SILENT_SECONDS:
            found.append("silent")
        elif worker.phase is not None:
            found.append(worker.phase.in_words)
        else:
            found.append("training" if worker.state == WorkerState.BUSY else "waiting")
    return found


def doing_at(study: StudyStatus, status: Status) -> str:
    """What is done at a study that isn't training, if its workers do nothing else; or empty."""
    mine = [worker for worker in status.workers if worker.study == study.name]
    phases = {worker.phase for worker in mine}
    first = next(iter(phases), None)
    return first.in_words if len(phases) == 1 and first is not None else ""


def at_step(study: StudyStatus) -> str:
    """How far the foremost of the trials in hand is, and may go: "1,200/16,000"; or empty."""
    if not study.running:
        return ""
    last = study.budget if study.cap is None else study.cap
    return f"{study.lead:,}" if last is None else f"{study.lead:,}/{last:,}"


def in_a_line(status: Status, here: Here) -> str:
    """All of it: "12 of 320 trials done · b64 at step 1,200/16,000, best now 0.061 → goal 0.05 · 2
    workers training · about 4 min 10 s left"."""
    done, total = (sum(getattr(s, name) for s in status.studies) for name in ("done", "total"))
    racing = [study for study in status.studies if study.running]
    named = [_racing(study, status) for study in racing[:_NAMED]]
    more = [f"{len(racing) - _NAMED} more"] if len(racing) > _NAMED else []
    parts = [f"{done:,} of {total:,} trials done", *named, *more, at_work(status, here)]
    return " · ".join(parts) + total_left(status)


def _racing(study: StudyStatus, status: Status) -> str:
    doing = doing_at(study, status)
    if doing:
        return f"b{study.batch_size} {doing}"
    near = f", best now {said}" if (said := to_goal(study).replace("→", "→ goal")) else ""
    return f"b{study.batch_size} at step {at_step(study)}{near}"
