"""Where the time of a database's workers went, and what would make them faster."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from sqlalchemy import select

from batchfront.phase_timer import Part
from batchfront.store.database import Storage
from batchfront.store.schema import workers
from batchfront.store.snapshot import Source, snapshot

_SENTENCES = 3  # at most: what helps most comes first

_NAMED = 0.05  # of the time, from which a part is named

# From these shares of the time on, there is something to say.
_EVALUATION, _WAITING, _SET_UP, _DATA, _STORAGE, _TRAINING = 0.3, 0.2, 0.25, 0.15, 0.1, 0.7

_SAMPLING = 0.1


@dataclass(frozen=True)
class Profile:
    """The time of `workers` workers together, by part, in seconds."""

    workers: int
    seconds: Mapping[Part, float]

    @property
    def all_seconds(self) -> float:
        """The workers' lives, added up."""
        return sum(self.seconds.values())

    def share(self, part: Part) -> float:
        """Of all their time; 0 where there is none."""
        whole = self.all_seconds
        return self.seconds.get(part, 0.0) / whole if whole else 0.0

    def in_words(self) -> str:
        """The largest parts, and what would help most: "data 70%, evaluation 15%. Loading ..."."""
        shares = sorted(((self.share(part), part) for part in get_args(Part)), reverse=True)
        named = [f"{part} {share:.0%}" for share, part in shares if share >= _NAMED]
        return f"{', '.join(named)}. {self.advice()[0]}"

    def advice(self) -> list[str]:
        """One to three sentences on what would make it faster: the largest part first."""
        said = {
            part: sentence for part, sentence in self._sentences() if sentence and self.share(part)
        }
        if not said:
            return ["No part stands out: there is little to gain but by more or faster devices."]
        return [said[part] for part in sorted(said, key=self.share, reverse=True)][:_SENTENCES]

    def _sentences(self) -> list[tuple[Part, str]]:
        took = {part: f"{self.share(part):.0%}" for part in get_args(Part)}
        many = self.workers > 1
        each = self.seconds.get("set-up", 0.0) / max(self.workers, 1)
        busy = self.workers * (1 - self.share("waiting"))
        rules: list[tuple[Part, float, str]] = [
            (
                "training",
                _TRAINING,
                f"Training took {took['training']}: only more or faster devices, fewer --trials "
                "or an easier --goal shorten it much.",
            ),
            (
                "evaluation",
                _EVALUATION,
                f"Evaluation took {took['evaluation']}: a workload's "
                "grid=EvaluationGrid(spacing=...) with twice the spacing evaluates half as often, "
                "and finds steps to target less finely; a larger look=... asks for fewer whole "
                "evaluations.",
            ),
            (
                "waiting",
                _WAITING,
                f"{self.workers} workers waited {took['waiting']} of their time for trials that "
                f"others held, {busy:.1f} of them were busy on average: fewer --workers do as "
                "well, and more --batch-sizes or --trials in one run keep them busy.",
            )
            if many
            else (
                "waiting",
                _WAITING,
                f"The worker waited {took['waiting']} of its time for trials that workers "
                "elsewhere held.",
            ),
            (
                "set-up",
                _SET_UP,
                f"Set-up took {took['set-up']}, {each:.1f} s a worker: that is paid once by each, "
                "so it is less in a run of more --batch-sizes or --trials"
                + (", or with fewer --workers." if many else "."),
            ),
            (
                "sampling",
                _SAMPLING,
                f"Sampling metaparameters took {took['sampling']}: a search planned with a larger "
                "--together samples less often, and learns less often.",
            ),
            (
                "data",
                _DATA,
                f"Loading data took {took['data']}: Examples.of(dataset) decodes in processes of "
                "their own and keeps what fits into memory; batches are waited for less with a "
                "faster disk under --data-dir, more of them loaded ahead (Examples.ahead), or "
                + ("fewer --workers for the same cores" if many else "more cores")
                + "; what each worker loads once weighs less in a longer run.",
            ),
            (
                "storage",
                _STORAGE,
                f"The database and checkpoints took {took['storage']}: a database nearer to the "
                "workers (--storage), checkpoints on a faster disk (--checkpoint-dir)"
                + (", or fewer --workers on it shorten it." if many else " shorten it."),
            ),
        ]
        return [(part, text if self.share(part) >= least else "") for part, least, text in rules]


def load_profile(source: Source, since: float = 0.0) -> Profile:
    """Add up the time of all workers that started at `since` or later, by the database's clock. Of
    those still at work, or killed, it is known up to their last heartbeat."""
    query = select(workers.c.seconds).where(
        workers.c.seconds.is_not(None), workers.c.started_at >= since
    )
    with snapshot(source) as conn:
        known = [json.loads(row) for row in conn.execute(query).scalars()]
    parts: tuple[Part, ...] = get_args(Part)
    return Profile(
        len(known), {part: round(sum(one.get(part, 0.0) for one in known), 3) for part in parts}
    )


def time_of(storage: Storage) -> float:
    """The database's clock now, in seconds since 1970."""
    with storage.read() as conn:
        return float(conn.execute(select(storage.now)).scalar_one())
