"""The weights of a study's best trial so far, kept while its trials race."""

import logging
from collections.abc import Mapping

from batchfront.extras import missing_for_training
from batchfront.ledger.ledger import Ledger
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.kept_models import KeptModels
from batchfront.training.memory import is_lost_device
from batchfront.training.run import Run

log = logging.getLogger(__name__)


class KeptWinner:
    """Keeps a trial's weights where it passes the goal, if it is the best of its study so far.

    versions -- what computes the trials

    That weights can't be kept, as a disk is full, costs a trial nothing but these.
    """

    def __init__(
        self, study: Study, models: KeptModels, ledger: Ledger, versions: Mapping[str, str]
    ) -> None:
        self._study, self._models, self._ledger, self._versions = study, models, ledger, versions
        self._best: tuple[int, int] | None = None  # its step and number, as far as known here
        self._unsettled = self._told = False

    def crossed(self, slot: Slot, run: Run) -> None:
        """Keep the weights of a run that has just passed the goal, before its result is written:
        whoever reads of a winner finds them."""
        crossing = run.goal_crossing
        assert crossing is not None
        place = crossing.step, slot.number
        if self._best is not None and place > self._best:
            return
        self._best, self._unsettled = place, True
        try:
            weights = run.weights()
            if weights is None:
                return
            facts = {
                "workload": self._study.workload,
                "batch_size": self._study.batch_size,
                "trial": slot.number,
                "step": crossing.step,
                "metaparameters": dict(slot.params or {}),
                "seed": self._study.trial_seed(slot.number),
                "versions": {**self._versions, "engine": run.engine},
            }
            self._models.keep(self._study.id, slot.number, crossing.step, weights, facts)
        except Exception as error:  # each file system has its own
            if is_lost_device(error):
                raise
            self._tell(f"the weights of trial {slot.number} are not kept: {_line(error)}")

    def settle(self) -> None:
        """Now that results are written, remove the weights of those that have lost."""
        if not self._unsettled:
            return
        reached = self._ledger.steps_to_target(self._study)
        self._unsettled = False
        if reached:
            self._best = min((step, number) for number, step in reached.items())
        try:
            self._models.settle(self._study.id, reached)
        except FileNotFoundError:  # none was ever kept
            pass
        except Exception as error:
            self._tell(f"the weights of trials that have lost are still there: {_line(error)}")

    def _tell(self, what: str) -> None:
        if not self._told:  # a full disk is full for each of them
            log.warning("%s: %s", self._study.name, what)
        self._told = True


def _line(error: Exception) -> str:
    missing = missing_for_training(error)
    return missing or (str(error).strip().splitlines() or [type(error).__name__])[0]
