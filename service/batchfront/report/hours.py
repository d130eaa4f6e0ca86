"""What is known of a workload in hours and money: an advice for each kind of device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from batchfront.advice.advise import Advice, advise, in_precision
from batchfront.advice.options import AdviceOptions
from batchfront.advice.timings import Timing
from batchfront.errors import BatchfrontError, UsageError
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.reruns import Confirmations


@dataclass(frozen=True)
class Hours:
    """What can be said, and what can't.

    advices -- one for each kind of device that was timed, or one that compares the machines of a
               file
    refused -- why there is none for some, a sentence each
    """

    advices: tuple[Advice, ...] = ()
    refused: tuple[str, ...] = ()


def hours(
    frontier: Frontier, reruns: Confirmations, timings: Sequence[Timing], asked: AdviceOptions
) -> Hours:
    """What the timings of a workload say. Never fails: an advice may be refused."""
    if not timings or not frontier.reached:
        return Hours()
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
