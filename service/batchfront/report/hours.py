"""What is known of a workload in hours and money: an advice for each kind of device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchfront.advice.advise import Advice, advise, in_precision
from batchfront.advice.options import AdviceOptions
from batchfront.advice.text import headline
from batchfront.advice.timings import Timing, load_timings
from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.queries import load_reruns
from batchfront.frontier.reruns import Confirmations, confirmations
from batchfront.store.snapshot import Source, snapshot


@dataclass(frozen=True)
class Hours:
    """What can be said, and what can't.

    advices -- one for each kind of device that was timed, or one that compares the machines of a
               file
    refused -- why there is none for some, a sentence each
    """

    advices: tuple[Advice, ...] = ()
    refused: tuple[str, ...] = ()

    def recommended(self, by_steps: str) -> str:
        """Which batch size to train with, a sentence for each kind of device that was timed; where
        none was, what steps and examples alone say."""
        return " ".join(headline(advice) for advice in self.advices) or by_steps


NOT_TIMED = Hours()


def load_hours(source: Source, frontier: Frontier) -> Hours:
    """What the timings of a frontier's workload say. Never fails, as `hours`."""
    with snapshot(source) as moment:
        try:
            timings = load_timings(moment, frontier.workload)
        except BatchfrontError as error:
            return Hours(refused=(f"{error}.",))
        if not timings:
            return NOT_TIMED
        reruns = confirmations(frontier, load_reruns(moment, frontier.workload))
    return hours(frontier, reruns, timings, AdviceOptions())


def hours(
    frontier: Frontier, reruns: Confirmations, timings: Sequence[Timing], asked: AdviceOptions
) -> Hours:
    """What the timings of a workload say. Never fails: an advice may be refused."""
    if not timings or not frontier.reached:
        return NOT_TIMED
    try:
        timed = in_precision(frontier, timings)
    except UsageError as error:
        return Hours(refused=(f"{error}.",))
    kinds = dict.fromkeys(one.device for one in timed) if asked.machines is None else (None,)
    advices, refused = [], []
    for kind in kinds:
        try:
            advices.append(advise(frontier, reruns, timings, replace(asked, device=kind)))
        except BatchfrontError as error:
            refused.append(f"{error}.")
    return Hours(tuple(advices), tuple(dict.fromkeys(refused)))
