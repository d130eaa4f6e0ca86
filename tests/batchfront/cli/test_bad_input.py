"""Bad input gets one clear line and the right exit code, and what is stored stays."""

from collections.abc import Callable
from pathlib import Path

import pytest

from batchfront.cli.main import main
from tests.batchfront.cli.conftest import Result

Run = Callable[..., Result]
Write = Callable[..., str]


def refused(result: Result, *says: str, code: int = 2) -> None:
    """Exit code, one line on standard error, nothing on standard output."""
    lines = [line for line in result.err.splitlines() if not line.startswith("Planning ")]
    assert len(lines) == 1, result.err
    for text in says:
        assert text in lines[0]
    assert "Traceback" not in result.err
    assert result.code == code
    assert result.out == ""


def test_an_unknown_workload_is_refused_with_the_nearest_names(batchfront: Run) -> None:
    refused(batchfront("run", "digits/mlp/momentun"), "digits/mlp/momentum")


def test_a_file_without_the_function_is_refused_with_those_it_has(
    batchfront: Run, workload_file: Write
) -> None:
    workload_file()
    refused(batchfront("run", "./my_workload.py:other"), "no function 'other'", "my_workload")


def test_a_file_that_does_not_exist_is_refused(batchfront: Run) -> None:
    refused(batchfront("run", "./none.py:mine"), "no file")


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ("0", "the smallest is 1"),
        ("-4", "the smallest is 1"),
        ("two", "'two' is not a batch size"),
        ("8..2", "holds no power of two"),
        ("2,,8", "'' is not a batch size"),
        ("65", "larger than the training set of 64 examples"),
    ],
)
def test_a_batch_size_that_cannot_be_is_refused(
    batchfront: Run, workload_file: Write, sizes: str, says: str
) -> None:
    refused(batchfront("run", workload_file(), "--batch-sizes", sizes), says)


@pytest.mark.parametrize(
    ("dimension", "says"),
    [
        ("Log(1.0, 0.01)", "low must be less than high"),
        ("Log(0.1, 0.1)", "low must be less than high"),
        ("Log(0.0, 1.0)", "low must be above 0"),
        ("Log(0.1, float('nan'))", "not a finite number"),
    ],
)
def test_an_empty_or_inverted_range_is_refused(
    batchfront: Run, workload_file: Write, dimension: str, says: str
) -> None:
    refused(batchfront("run", workload_file(("Log(0.01, 1.0)", dimension))), says)


def test_a_metaparameter_that_nothing_takes_is_refused(
    batchfront: Run, workload_file: Write
) -> None:
    spec = workload_file(('"learning_rate": Log', '"learning_rte": 0.1, "learning_rate": Log'))
    refused(batchfront("run", spec), "nothing takes", "'learning_rte'", "momentum")


def test_a_model_that_does_not_accept_its_data_is_refused_before_any_slot_is_made(
    batchfront: Run, workload_file: Write
) -> None:
    spec = workload_file(("nn.Linear(4, 2)", "nn.Linear(5, 2)"))
    refused(batchfront("plan", spec), "does not accept inputs of shape (2, 4)", "2x4 and 5x2")
    refused(batchfront("frontier", "blobs/linear/momentum"), "no database batchfront.db", code=1)


def test_a_loss_that_is_not_scalar_is_refused(batchfront: Run, workload_file: Write) -> None:
    spec = workload_file(
        ("loss=cross_entropy", "loss=nn.CrossEntropyLoss(reduction='none')"),
    )
    refused(batchfront("run", spec), "must be a scalar", "shape (2)")


def test_an_error_of_the_users_own_code_is_told_by_its_line_in_it(
    batchfront: Run, workload_file: Write
) -> None:
    describing = (
        "class Mine(Split):\n    def describe(self):\n        return {}['rows']\n\n\ndef data"
    )
    spec = workload_file(("def data", describing), ("Splits(Split(", "Splits(Mine("))
    refused(batchfront("plan", spec), "my_workload.py, line 12: KeyError: 'rows'", code=1)


def test_a_function_that_exits_is_told_as_one_that_fails(
    batchfront: Run, workload_file: Write
) -> None:
    spec = workload_file(
        ("    inputs = torch", "    raise SystemExit('no data')\n    inputs = torch")
    )
    refused(batchfront("plan", spec), "its data can't be loaded: SystemExit: no data")


def test_a_goal_that_is_passed_before_training_is_refused(
    batchfront: Run, workload_file: Write
) -> None:
    refused(batchfront("run", workload_file(), "--goal", "1.0"), "already passed before training")
    refused(batchfront("run", workload_file(), "--goal", "1.5"), "lies between 0 and 1")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("oracle://x/y", "unknown scheme 'oracle'"),
        ("postgresql+nodriver://x/y", "driver"),
        ("batchfront.db", "is not a URL"),
        ("sqlite://", "name a file"),
    ],
)
def test_a_storage_url_that_cannot_be_meant_is_refused(
    batchfront: Run, workload_file: Write, url: str, says: str
) -> None:
    refused(batchfront("run", workload_file(), "--storage", url), says)


def test_a_database_in_a_folder_that_is_not_there_is_refused(
    batchfront: Run, workload_file: Write
) -> None:
    result = batchfront("run", workload_file(), "--storage", "sqlite:///none/batchfront.db")
    refused(result, "none/batchfront.db", "does not exist", code=1)


def test_a_database_that_can_not_be_opened_is_refused(
    batchfront: Run, workload_file: Write, folder: Path
) -> None:
    (folder / "batchfront.db").mkdir()
    refused(batchfront("run", workload_file()), "is a folder; name a file in it", code=1)


def test_a_corrupt_database_is_refused_and_left_as_it_is(
    batchfront: Run, workload_file: Write, folder: Path
) -> None:
    broken = b"this is no database at all, whatever its name says" * 100
    (folder / "batchfront.db").write_bytes(broken)
    refused(batchfront("run", workload_file()), "file is not a database", code=1)
    assert (folder / "batchfront.db").read_bytes() == broken


def test_reading_a_database_that_is_not_there_makes_none(batchfront: Run, folder: Path) -> None:
    for command in (["frontier", "x/y/z"], ["status"], ["report"], ["work"], ["dashboard"]):
        refused(batchfront(*command), "no database batchfront.db", code=1)
    assert list(folder.iterdir()) == []


def test_a_data_directory_without_the_data_is_refused(
    batchfront: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import datasets

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    (folder / "empty").mkdir()
    result = batchfront("run", "mnist/fc_256/sgd", "--data-dir", "empty")
    refused(result, str(folder / "empty"), "train-images-idx3-ubyte", "--data-dir", code=1)


@pytest.mark.parametrize("command", ["work", "status", "frontier", "report"])
def test_a_workload_without_studies_is_refused_with_those_there_are(
    batchfront: Run, workload_file: Write, command: str
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "1").code == 0
    refused(batchfront(command, "blobs/linear/sgd"), "'blobs/linear/sgd'", "blobs/linear/momentum")


def test_a_changed_definition_is_refused_with_the_difference_and_nothing_is_lost(
    batchfront: Run, workload_file: Write
) -> None:
    assert batchfront("plan", workload_file(), "--trials", "3").code == 0
    before = batchfront("status", "--format", "json").out
    changed = workload_file(("Log(0.01, 1.0)", "Log(0.01, 2.0)"))
    refused(batchfront("plan", changed), "search_space.learning_rate.high was 1.0, is 2.0")
    refused(batchfront("plan", workload_file(), "--seed", "7"), "search.seed was 0, is 7")
    refused(batchfront("plan", workload_file(), "--goal", "0.2"), "goal.value was 0.1, is 0.2")
    after = batchfront("status", "--format", "json").out
    assert [line for line in after.splitlines() if '"at"' not in line] == [
        line for line in before.splitlines() if '"at"' not in line
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--trials", "0"], "--trials 0"),
        (["--trials", "many"], "--trials"),
        (["--sampler", "best"], "--sampler"),
        (["--together", "0"], "--together 0: must be a whole number from 1 to 100,000"),
        (["--together", "some"], "'some' is no number of trials; write 8, or all"),
        (["--together", "--5"], "'--5' is no number of trials; write 8, or all"),
        (["--halving"], "--halving: is no option of new studies"),
        (["--workers", "0"], "--workers 0"),
        (["--max-time", "0"], "--max-time 0s: must be longer than 0; write 90s, 30m, 12h or 1d"),
        (["--max-time", "3 parsecs"], "'3 parsecs' is not a duration; write 90s, 30m, 12h or 1d"),
        (["--max-steps", "0"], "--max-steps 0: must be at least 1"),
        (["--device", "cuda:99"], "--device cuda:99"),
        (["--device", "abacus"], "--device 'abacus'"),
        (["--report", "none/report.html"], "the folder none does not exist"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    batchfront: Run, workload_file: Write, options: list[str], says: str
) -> None:
    refused(batchfront("run", workload_file(), *options), says)


def test_a_trial_that_raises_fails_alone_and_is_told(batchfront: Run, workload_file: Write) -> None:
    spec = workload_file(
        ("def model():", "def model(*, doomed=0):"),
        ("    return nn.Linear(4, 2)", "    if doomed:\n        raise ValueError('[/doomed] n!')\n"
         "    return nn.Linear(4, 2)"),
        ('{"learning_rate"', '{"doomed": Choice(1, 0), "learning_rate"'),
        ("ERROR_RATE, Goal", "Choice, ERROR_RATE, Goal"),
    )  # fmt: skip
    result = batchfront("run", spec, "--trials", "8", "--batch-sizes", "8", "--workers", "1")
    assert result.code == 0, result.err
    assert "1 reached" in result.out
    assert "failed" in result.out
    assert "ValueError: [/doomed] n!" in result.err
    assert "Traceback" not in result.err
    status = batchfront("status").out
    assert "ValueError: [/doomed] n!" in status


@pytest.mark.usefixtures("folder")
def test_debug_shows_where() -> None:
    with pytest.raises(Exception, match="no database"):
        main(["status", "--debug"])
