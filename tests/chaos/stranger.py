"""Another user of the same Optuna storage, with a study and trials that are nobody else's."""

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

NAME = "a stranger's"


class Stranger:
    """Asks for a trial, and tells how one ended, each time that it acts. A trial's value follows
    from its number, so that whoever finds it later knows whether it is the stranger's."""

    def __init__(self, url: str) -> None:
        self._storage = _opened(url)
        optuna.create_study(study_name=NAME, storage=self._storage, load_if_exists=True)

    def act(self) -> None:
        """Do something; nothing, while the database is away."""
        try:
            study = optuna.load_study(study_name=NAME, storage=self._storage)
            waiting = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            for trial in waiting[:-2]:
                study.tell(trial.number, value_of(trial.number))
            study.ask()
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, KeyError, ValueError):
            self._storage.engine.dispose()

    def move(self, url: str) -> None:
        """Go on with another server."""
        self.close()
        self._storage = _opened(url)

    def close(self) -> None:
        """Give its connections back."""
        self._storage.engine.dispose()


def value_of(number: int) -> float:
    """What a trial of this number has as its value."""
    return 1000.0 + number


def _opened(url: str) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(url, {"pool_pre_ping": True}, skip_table_creation=True)
