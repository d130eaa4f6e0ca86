"""The weights of a study's best trial so far, kept while its trials race."""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from batchfront.extras import missing_for_training
from batchfront.ledger.ledger import Ledger
from batchfront.study.slots import Slot
from batchfront.study.study import Study
from batchfront.training.kept_models import KeptModels
from batchfront.training.memory import is_lost_device
from batchfront.training.run import Run
from batchfront.workload.search_space import Value

log = logging.getLogger(__name__)


class _Drawn(Protocol):
    """A trial, as a slot or as the database has it."""

    @property
    def number(self) -> int: ...
    @property
    def params(self) -> Mapping[str, Value] | None: ...


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
            facts = facts_of(self._study, slot, run, self._versions)
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


def facts_of(study: Study, trial: _Drawn, run: Run, versions: Mapping[str, str]) -> dict[str, Any]:
    """What the weights are of, of a run that has passed the goal."""
    assert run.goal_crossing is not None
    return {
        "workload": study.workload,
        "batch_size": study.batch_size,
        "trial": trial.number,
        "step": run.goal_crossing.step,
        "value": run.goal_crossing.metric,
        "metaparameters": dict(trial.params or {}),
        "seed": study.trial_seed(trial.number),
        "versions": {**versions, "engine": run.engine},
    }


def _line(error: Exception) -> str:
    missing = missing_for_training(error)
    return missing or (str(error).strip().splitlines() or [type(error).__name__])[0]
