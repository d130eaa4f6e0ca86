"""What must hold of a database once its plan is done, however often workers came and went."""

import optuna

from batchfront.store.database import Storage
from tests.batchfront.launch.test_local import states


def every_slot_ended_once(storage: Storage, trials: int) -> None:
    """All slots are done, and Optuna has as many trials as there are slots, all ended."""
    assert states(storage) == {"done"}
    url = storage.url.render_as_string(hide_password=False)
    kept = optuna.storages.RDBStorage(url, skip_table_creation=True)
    for study in kept.get_all_studies():
        found = kept.get_all_trials(study._study_id, deepcopy=False)
        assert [trial.state.is_finished() for trial in found] == [True] * trials
        assert {trial.user_attrs["outcome"] for trial in found} <= {"reached", "capped", "diverged"}
    kept.engine.dispose()
