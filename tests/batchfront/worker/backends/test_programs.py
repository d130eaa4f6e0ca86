"""Programs in a race: real processes, worked on by real workers."""

import json
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from batchfront.errors import IdentityError, UsageError, WorkloadError
from batchfront.plan.reruns import plan_confirmations
from batchfront.store.url import Storage
from batchfront.study.study import Study
from batchfront.worker.backends import programs
from batchfront.worker.options import WorkerOptions
from batchfront.worker.worker import Settings, Worker
from batchfront.workload.sweep_file import read_sweep_file
from tests.batchfront.worker.conftest import Prompt
from tests.programs import NAME, alone, planned, steps_done, write_sweep
from tests.searches import rows
from tests.waiting import eventually


def work(storage: Storage, folder: Path, stop: Event | None = None, **options: Any) -> None:
    told = WorkerOptions(
        **{"trial_dir": str(folder / "trials"), "code": (str(folder.parent),), **options}
    )
    Worker(storage, Settings("one", "cpu", options=told), stop or Event()).run()


REPORTS = (("output = 'step (?P<step>\\d+): .*val_loss (?P<value>\\S+)'", 'output = "report"'),)


def crossing(told: list[tuple[int, float]], goal: float) -> tuple[int, int] | None:
    """The first step past the goal, and the evaluated one before."""
    before = 0
    for step, value in told:
        if value < goal:
            return step, before
        before = step
    return None


def expected(path: Path, study: Study, storage: Storage) -> dict[int, tuple[int, int] | None]:
    goal = read_sweep_file(path).program.goal.value
    return {row.number: crossing(alone(path, study, row), goal) for row in rows(storage)}


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        ((), ""),
        ((("at_once = 3", "at_once = 1"),), ""),
        ((("at_once = 3", "at_once = 3\nmax_pause = 0"),), ""),
        ((("at_once = 3", 'at_once = 6\nmax_pause = "0.05s"'),), "every = 5 + told.seed % 4"),
        ((("at_once = 3", "at_once = 4\ntty = true"),), "every = 5 + told.seed % 4"),
        (REPORTS, "every = 10**9\n    if step % 10 == 0: batchfront.report(step, weight**2)"),
    ],
    ids=["waves", "one-by-one", "never-paused", "paused-briefly", "own-steps", "reports"],
)
def test_the_winner_is_that_of_every_program_run_to_its_end(
    storage: Storage, tmp_path: Path, changes: tuple[tuple[str, str], ...], every: str
) -> None:
    path = write_sweep(tmp_path, *changes, every=every)
    (study,) = planned(storage, path)
    work(storage, tmp_path)
    raced = steps_done(path)
    truth = expected(path, study, storage)
    best = min(step for step, _ in filter(None, truth.values()))
    found = {row.number: row for row in rows(storage)}
    winners = {n for n, reached in truth.items() if reached is not None and reached[0] == best}
    first = {n for n, row in found.items() if row.steps_to_target == best}
    assert first
    assert first <= winners
    for number, row in found.items():
        assert row.state == "done"
        if row.steps_to_target is not None:
            assert (row.steps_to_target, row.steps_lower) == truth[number]
        else:
            assert truth[number] is None or row.steps >= best
    if changes == REPORTS:  # which wait exactly where they are told to
        assert raced == sum(row.steps for row in found.values())
        assert raced < steps_done(path) - raced


def test_others_take_the_places_of_those_that_end(storage: Storage, tmp_path: Path) -> None:
    half = "weight = float('nan') if told.seed % 2 else 9.0"
    path = write_sweep(
        tmp_path,
        ("at_once = 3", "at_once = 2"),
        REPORTS[0],
        every=f"""{half}
    every = 10**9
    if step % 10 == 0: batchfront.report(step, weight**2)""",
    )
    planned(storage, path, trials=8)
    work(storage, tmp_path)
    log = [line.split() for line in (tmp_path / "steps.log").read_text().splitlines()]
    assert {row.outcome for row in rows(storage)} == {"diverged", "exhausted"}
    before_an_end = log[: next(at for at, (_, step) in enumerate(log) if step == "90")]
    assert len({rate for rate, _ in before_an_end}) > 2


def test_what_it_shows_is_stored_and_its_output_kept(storage: Storage, tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    (study,) = planned(storage, path, trials=2)
    work(storage, tmp_path)
    row = rows(storage)[0]
    told = alone(path, study, row)
    (folder,) = [p for p in (tmp_path / "trials").rglob("0") if p.is_dir()]
    given = json.loads((folder / "metaparameters.json").read_text())
    assert given == {
        "batch_size": 8,
        "seed": study.trial_seed(0) % 2**31,
        "long_seed": study.trial_seed(0),
        "step_budget": 90,
    } | json.loads(row.params)
    assert f"step {told[0][0]}: " in (folder / "output.log").read_text()
    assert json.loads(row.versions)["engine"] == "program"
    assert "torch" not in json.loads(row.versions)


@pytest.mark.parametrize(
    ("change", "every", "outcome", "reason"),
    [
        ((), "weight = float('nan')", "diverged", "val_loss nan at step 10"),
        (("goal = 0.2", "goal = 0.2\ndiverged_beyond = 50"), "weight = 9.0", "diverged", "beyond"),
        ((), "weight = 9.0", "exhausted", "step budget of 90 spent"),
        (
            (),
            "weight = 9.0\n    if step == 35: break",
            "exhausted",
            "ended by itself after step 30",
        ),
        ((), "weight = 9.0\n    if step == 35: 1 / 0", "failed", "ended with exit code 1"),
        ((), "if step == 35: os.kill(os.getpid(), 9)\n    weight = 9.", "failed", "signal 9"),
        ((), "weight = 9.0 + step\n    if step == 35: step = 5\n    every = 5", "failed", "step 5"),
        ((), "if step == 12: print('step 12: a b val_loss high')", "failed", "high"),
    ],
)
def test_a_program_ends_as_it_should(
    storage: Storage, tmp_path: Path, change: Any, every: str, outcome: str, reason: str
) -> None:
    path = write_sweep(tmp_path, *([change] if change else []), every=every)
    planned(storage, path, trials=1)
    work(storage, tmp_path)
    (row,) = rows(storage)
    assert row.outcome == outcome
    assert reason in row.reason.splitlines()[0]
    if outcome == "failed":
        assert row.attempts == 3
        assert "step 10: train_loss" in row.reason  # the last lines are kept


def test_one_that_is_silent_for_too_long_has_failed(storage: Storage, tmp_path: Path) -> None:
    limit = ("at_once = 3", 'at_once = 3\ntimeout_without_output = "0.3s"')
    path = write_sweep(tmp_path, limit, every="if step == 12: signal.pause()\n    weight = 9.0")
    planned(storage, path, trials=1)
    work(storage, tmp_path)
    (row,) = rows(storage)
    assert "printed nothing for 0.3 s; its last line: step 10" in row.reason


def test_one_that_never_tells_an_evaluation_is_no_trial_that_failed(
    storage: Storage, tmp_path: Path
) -> None:
    path = write_sweep(tmp_path, ("val_loss (?P", "loss_of_val (?P"))
    planned(storage, path)
    with pytest.raises(WorkloadError, match="ended without a line that") as refused:
        work(storage, tmp_path)
    assert "its last lines: step 70: train_loss" in str(refused.value)
    assert " | step 90: train_loss" in str(refused.value)
    assert {row.state for row in rows(storage)} == {"free"}
    assert {row.attempts for row in rows(storage)} == {0}


def interrupted(storage: Storage, path: Path, folder: Path, at: int) -> None:
    """Work until so many steps are done, and stop."""
    stop = Event()
    working = Thread(target=work, args=(storage, folder, stop))
    working.start()
    eventually(lambda: steps_done(path) >= at)
    stop.set()
    working.join()


def test_an_interrupted_one_starts_again_with_the_same_result(
    storage: Storage, second_storage: Storage, tmp_path: Path
) -> None:
    path = write_sweep(tmp_path, every="__import__('time').sleep(0.002)")
    planned(storage, path)
    planned(second_storage, path)
    interrupted(storage, path, tmp_path, 60)
    assert {row.state for row in rows(storage)} <= {"free", "done"}
    work(storage, tmp_path)
    work(second_storage, tmp_path / "undisturbed")
    both = storage, second_storage
    best = [min(r.steps_to_target for r in rows(s) if r.steps_to_target) for s in both]
    assert best[0] == best[1]  # where others are capped hangs on when they came in


def test_one_that_says_how_goes_on_from_its_checkpoint(
    storage: Storage, second_storage: Storage, tmp_path: Path
) -> None:
    resume = ("goal = 0.2", 'goal = 0.0\nresume = "--resume {checkpoint}"')
    kept = ("at_once = 3", 'at_once = 3\nenv = {CHECKPOINT = "{checkpoint}"}')
    slow = ("[1e-3, 2.0]", "[1e-3, 1e-2]")
    path = write_sweep(tmp_path, resume, kept, slow, every="__import__('time').sleep(0.002)")
    planned(storage, path, trials=3)
    planned(second_storage, path, trials=3)
    for at in (60, 150):
        interrupted(storage, path, tmp_path, at)
    work(storage, tmp_path)
    assert steps_done(path) == 3 * 90
    work(second_storage, tmp_path / "undisturbed")
    shown = [[(r.outcome, r.metric, r.steps) for r in rows(s)] for s in (storage, second_storage)]
    assert shown[0] == shown[1]


def test_those_that_resume_take_turns_where_not_all_fit(
    storage: Storage, second_storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "STRETCH", 0.0)
    monkeypatch.setattr("batchfront.worker.worker.Heartbeat", Prompt)
    resume = ("goal = 0.2", 'goal = 0.2\nresume = "--resume {checkpoint}"')
    kept = ("at_once = 3", 'at_once = 2\nenv = {CHECKPOINT = "{checkpoint}"}')
    slow = ("[1e-3, 2.0]", "[1e-2, 3e-2]")
    path = write_sweep(tmp_path, resume, kept, slow, every="__import__('time').sleep(0.002)")
    planned(storage, path, trials=4)
    work(storage, tmp_path)
    starts = len(list((tmp_path / "trials").rglob("output.log*")))
    assert starts > 4
    planned(second_storage, path, trials=4)
    work(second_storage, tmp_path / "undisturbed")
    raced, undisturbed = rows(storage), rows(second_storage)
    best = min(row.steps_to_target for row in undisturbed if row.steps_to_target)
    assert best == min(row.steps_to_target for row in raced if row.steps_to_target)


def test_a_worker_runs_only_a_sweep_file_that_it_has_itself(
    storage: Storage, tmp_path: Path
) -> None:
    path = write_sweep(tmp_path)
    planned(storage, path, trials=2)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "of_mine").mkdir(parents=True)
    text = path.read_text()
    path.unlink()
    with pytest.raises(
        UsageError, match=r"there is no .*/sweep\.toml here.*name its folder by --code"
    ):
        work(storage, tmp_path, code=(str(tmp_path),))
    copied = write_sweep(elsewhere / "of_mine")
    copied.write_text(text.replace("--lr", "--seed 1 --lr"))
    with pytest.raises(IdentityError, match="command was"):
        work(storage, tmp_path, code=(str(elsewhere),))
    copied.write_text(f"# A comment changes nothing.\n{text}")
    (copied.parent / "train.py").write_text("print('other')")
    with pytest.raises(IdentityError, match=r"train\.py"):
        work(storage, tmp_path, code=(str(elsewhere),))
    assert {row.state for row in rows(storage)} == {"free"}
    write_sweep(elsewhere / "of_mine")
    (elsewhere / "another").mkdir()
    (elsewhere / "another" / "sweep.toml").write_text("[workload]")
    work(storage, tmp_path, code=(str(elsewhere),))
    assert {row.state for row in rows(storage)} == {"done"}


def test_no_program_is_started_of_code_that_has_changed_meanwhile(
    storage: Storage, tmp_path: Path
) -> None:
    path = write_sweep(
        tmp_path,
        ("at_once = 3", "at_once = 2\nmax_pause = 0"),
        every="""weight = 9.0
    if not os.path.exists('changed') or told.seed % 2: open(__file__, 'a').write('#')
    open('changed', 'w')
    if told.seed % 2: weight = float('nan')""",
    )
    planned(storage, path, trials=8)
    with pytest.raises(IdentityError, match=r"it differs in train\.py"):
        work(storage, tmp_path)
    ended = [row for row in rows(storage) if row.state == "done"]
    assert len(ended) == 2
    assert {row.state for row in rows(storage) if row not in ended} == {"free"}


def test_a_workload_that_can_not_go_on_here_is_free_for_others_at_once(
    storage: Storage, tmp_path: Path
) -> None:
    path = write_sweep(tmp_path, ("val_loss (?P", "loss_of_val (?P"))
    planned(storage, path)
    stop = Event()
    forever = {"until_done": False}
    working = Thread(target=work, args=(storage, tmp_path, stop), kwargs=forever)
    working.start()
    try:
        eventually(lambda: {row.fence for row in rows(storage)} != {0})
        eventually(lambda: {row.state for row in rows(storage)} == {"free"})
    finally:
        stop.set()
        working.join()


def test_a_line_of_a_file_that_was_cut_off_counts_for_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    path = write_sweep(
        tmp_path,
        (
            "output = 'step (?P<step>\\d+): .*val_loss (?P<value>\\S+)'",
            'output_file = "{trial_dir}/told.csv"',
        ),
        ("--lr", "--resume {trial_dir}/told.csv --lr"),
        every="""if step == 1: out = open(told.resume, 'w'); out.write('step,value\\n')
    if step == 10: out.write('10,0.9\\n20,0.1'); out.flush(); os.kill(os.getpid(), 9)""",
    )
    text = (tmp_path / "train.py").read_text()
    (tmp_path / "train.py").write_text(text.replace("if told.resume:", "if False:"))
    planned(storage, path, trials=1)
    work(storage, tmp_path)
    (row,) = rows(storage)
    assert (row.outcome, row.steps, row.metric) == ("failed", 10, 0.9)


def test_a_program_that_is_told_no_seed_is_not_confirmed(storage: Storage, tmp_path: Path) -> None:
    planned(storage, write_sweep(tmp_path, ("--seed {seed}", "--seed 1")))
    work(storage, tmp_path)
    before = rows(storage)
    with pytest.raises(UsageError, match=r"tells its program a seed.*write \{seed\} in the"):
        plan_confirmations(storage, NAME)
    assert rows(storage) == before


def test_winners_run_again_with_seeds_of_their_own(storage: Storage, tmp_path: Path) -> None:
    planned(storage, write_sweep(tmp_path), trials=3)
    work(storage, tmp_path)
    plan_confirmations(storage, NAME, seeds=2, candidates=1)
    work(storage, tmp_path)
    again = [row for row in rows(storage) if row.repeats is not None]
    assert len(again) == 2
    given = [p for p in (tmp_path / "trials").rglob("metaparameters.json") if "confirm" in str(p)]
    assert len({json.loads(p.read_text())["seed"] for p in given}) == 2
