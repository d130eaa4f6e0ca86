"""Everything that is wrong with a launcher's settings is said at once."""

import pytest

from batchfront.errors import UsageError
from batchfront.launch.launcher import place_problems, refuse


def test_every_problem_is_named_in_one_error() -> None:
    with pytest.raises(UsageError) as refused:
        refuse(place_problems(workers=0, gpus=2, cpus=0))
    assert str(refused.value) == (
        "--workers 0: must be at least 1; --cpus-per-worker 0: must be at least 1; "
        "--gpus-per-worker 2: a worker uses one GPU or none; use 0 or 1"
    )


def test_a_part_of_a_gpu_is_for_launchers_that_can_share_one() -> None:
    assert place_problems(1, 0.25, 1, shared=True) == []
    assert place_problems(1, 1.5, 1, shared=True) != []
    assert place_problems(1, 0.25, 1) != []


def test_several_devices_for_a_trial_are_as_many_gpus_or_none() -> None:
    assert place_problems(1, 4, 1, devices=4) == place_problems(1, 0, 1, devices=4) == []
    assert place_problems(1, 4, 1, devices=4, shared=True) == []
    assert place_problems(1, 1, 1, devices=4) == [
        "--gpus-per-worker 1: a worker uses a GPU for each of 4 devices, or none; use 0 or 4"
    ]
    assert place_problems(1, 0.5, 1, devices=4, shared=True) != []


def test_without_problems_nothing_is_refused() -> None:
    refuse(place_problems(8, 1, 4))
