"""The commands about the model that won, as a user types them."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
from safetensors.torch import load_file

from batchfront.cli.main import main
from batchfront.frontier.frontier import load_frontier
from tests.batchfront.cli.conftest import WORKLOAD, Result
from tests.programs import NAME as PROGRAM
from tests.programs import write_sweep

NAME = "blobs/linear/momentum"
SMALL = ("--trials", "6", "--workers", "1", "--batch-sizes")
Batchfront = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a workload has been searched at two batch sizes."""
    place = tmp_path_factory.mktemp("made")
    (place / "my_workload.py").write_text(WORKLOAD)
    told = ("./my_workload.py:my_workload", *SMALL, "2,8", "--engine", "sequential")
    with chdir(place), pytest.raises(SystemExit) as ended:
        main(["run", *told])
    assert not ended.value.code
    return place


@pytest.fixture
def ran(batchfront: Batchfront, folder: Path, made: Path) -> Batchfront:
    """The command, in a copy of that folder."""
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return batchfront


def advised(text: str) -> list[str]:
    """The arguments of the command that a message advises last."""
    program, *told = shlex.split(re.findall(r"`([^`]+)`", text)[-1])
    assert program == "batchfront"
    return told


def test_a_model_is_weights_a_recipe_and_the_line_that_makes_them_again(
    ran: Batchfront, folder: Path
) -> None:
    done = ran("model", NAME, "--batch-size", "8", "--output", "model")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (folder / "model").iterdir()) == [
        "recipe.json",
        "weights.safetensors",
    ]
    recipe = json.loads((folder / "model" / "recipe.json").read_text())
    assert {*recipe["metaparameters"]} == {"learning_rate", "momentum"}
    assert recipe["schedule"] == {"name": "Constant"}
    assert recipe["goal"]["value"] == 0.1
    assert recipe["value"] < 0.1
    assert recipe["steps_low"] < recipe["steps"]
    assert {"batchfront", "torch", "device", "source", "engine"} == {*recipe["versions"]}
    assert recipe["data"]["train"]["checksum"]
    assert {
        name: list(t.shape) for name, t in load_file(folder / "model/weights.safetensors").items()
    }
    again = ran(*advised(done.out))
    assert again.code == 0, again.err
    assert "the same to the bit" in again.out
    assert f"`{recipe['reproduce']}`" in done.out
    kept, made = (
        load_file(folder / p) for p in ("model/weights.safetensors", "weights.safetensors")
    )
    assert all(kept[name].equal(tensor) for name, tensor in made.items())


def test_where_none_were_kept_the_line_that_it_prints_makes_them(
    batchfront: Batchfront, workload_file: Callable[..., str], folder: Path
) -> None:
    batchfront("run", workload_file(), *SMALL, "8", "--keep-model", "none")
    assert not list(folder.rglob("*.safetensors"))
    done = batchfront("model", NAME, "--batch-size", "8", "--output", "my model")
    assert done.code == 1
    assert "no weights are kept of trial" in done.err
    assert len(done.err.splitlines()) == 1
    assert (folder / "my model" / "recipe.json").exists()
    made = batchfront(*advised(done.err))
    assert made.code == 0, made.err
    assert load_file(folder / "my model" / "weights.safetensors")


def test_weights_of_something_else_are_not_taken_for_the_winners(
    ran: Batchfront, folder: Path
) -> None:
    first, second = sorted(folder.rglob("*.safetensors"))
    first.write_bytes(second.read_bytes())
    done = ran("model", NAME, "--batch-size", "2", "--output", "model")
    assert done.code == 1
    assert "is not of trial" in done.err
    first.write_bytes(b"?")
    done = ran("model", NAME, "--batch-size", "2", "--output", "model2")
    assert done.code == 1
    assert "can't be read" in done.err


def test_a_recipe_is_the_same_for_people_and_programs(ran: Batchfront) -> None:
    shown = ran("recipe", NAME, "--batch-size", "8", "--devices", "2", "--micro-batch", "3")
    assert shown.code == 0, shown.err
    plain = json.loads(
        ran(
            *("recipe", NAME, "--batch-size", "8", "--devices", "2", "--micro-batch", "3"),
            *("--format", "json"),
        ).out
    )
    assert plain["derived"] == "measured"
    layout = {"devices": 2, "per_device_batch": 4, "micro_batch": 2, "accumulation": 2}
    assert plain["layout"] == layout
    assert repr(plain["metaparameters"]["learning_rate"]) in shown.out
    assert "8 = 2 examples at once x 2 accumulated x 2 devices" in shown.out
    assert advised(shown.out)[0] == "replay"


@pytest.mark.parametrize(
    ("told", "code", "says"),
    [
        (("recipe", "no/such/one", "--batch-size", "8"), 2, "no studies of 'no/such/one'"),
        (("model", "no/such/one", "--batch-size", "8", "--output", "m"), 2, "no studies of"),
        (("replay", "no/such/one", "--batch-size", "8", "--save", "w"), 2, "no studies of"),
        (("model", NAME, "--batch-size", "4", "--output", "m"), 2, "there are: 2, 8"),
        (("replay", NAME, "--batch-size", "4", "--save", "w"), 2, "there are: 2, 8"),
        (("recipe", NAME, "--batch-size", "4"), 2, "no curve to say its steps"),
        (("recipe", NAME, "--batch-size", "0"), 2, "must be at least 1"),
        (
            ("recipe", NAME, "--batch-size", "99"),
            2,
            "are for 1 to 16",
        ),
        (("recipe", NAME, "--batch-size", "8", "--devices", "3"), 2, "one of 6 or 9 does"),
        (("recipe", NAME, "--batch-size", "8", "--devices", "16"), 2, "one of 16 does"),
        (("recipe", NAME, "--batch-size", "8", "--micro-batch", "0"), 2, "at least 1"),
        (("replay", NAME, "--batch-size", "8", "--trial", "77", "--save", "w"), 2, "trials 0 to 5"),
        (("replay", NAME, "--batch-size", "8", "--save", "my_workload.py"), 2, "exists"),
        (
            ("replay", NAME, "--batch-size", "8", "--save", "no/w"),
            2,
            "the folder no does not",
        ),
        (("replay", NAME, "--batch-size", "8", "--save", "w", "--device", "gpu"), 2, "gpu"),
        (("model", NAME, "--batch-size", "8", "--output", "."), 2, "is not empty"),
        (("model", NAME, "--batch-size", "8", "--output", "my_workload.py"), 2, "is a file"),
        (
            ("model", NAME, "--batch-size", "8", "--output", "no/m"),
            2,
            "the folder no does not",
        ),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_what_cannot_be_is_said_in_one_line(
    ran: Batchfront, told: tuple[str, ...], code: int, says: str
) -> None:
    done = ran(*told)
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1


def test_a_trial_that_did_not_reach_the_goal_has_no_weights(ran: Batchfront) -> None:
    point = load_frontier("sqlite:///batchfront.db", NAME).points[1]
    reached = {one.number for one in point.finishers}
    other = str(min({*range(6)} - reached))
    done = ran("replay", NAME, "--batch-size", "8", "--trial", other, "--save", "w")
    assert done.code == 2
    assert "it has not reached the goal (capped), and weights" in done.err
    (these,) = re.findall(r"these have: (.*)\n", done.err)
    assert {*map(int, these.split(", "))} == reached


def test_a_program_has_a_recipe_and_no_model(batchfront: Batchfront, folder: Path) -> None:
    write_sweep(folder)
    done = batchfront("run", "./sweep.toml", "--trials", "4", "--workers", "1")
    assert done.code == 0, done.err
    shown = batchfront("recipe", PROGRAM, "--batch-size", "8", "--format", "json")
    assert shown.code == 0, shown.err
    recipe = json.loads(shown.out)
    assert recipe["metaparameters"]
    assert recipe["command"]
    assert recipe["reproduce"] is None
    for told in (("model", "--output", "m"), ("replay", "--save", "w")):
        refused = batchfront(told[0], PROGRAM, "--batch-size", "8", *told[1:])
        assert refused.code == 2
        assert "it is a program, which keeps its model itself" in refused.err
        assert batchfront(*advised(refused.err)).code == 0
    assert not (folder / "m").exists()


LOOP = """
import torch
from torch import nn

from batchfront import Goal, Log, Loop

inputs = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
targets = inputs.sum(1, keepdim=True)


def train(trial):
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), trial["learning_rate"], momentum=0.5)
    KEEP
    for step, batch in trial.batches(80):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(inputs[batch]), targets[batch]).backward()
        optimizer.step()
        if trial.evaluates(step):
            yield trial.measured(step, nn.functional.mse_loss(net(inputs), targets).item())


loop = Loop(
    name="sums/linear/sgd",
    train=train,
    goal=Goal("error", 0.1, better="lower"),
    search_space={"learning_rate": Log(0.01, 0.1)},
    step_budget=200,
    batch_sizes=(8,),
)
"""


def test_a_loop_that_keeps_its_model_alone_has_one_to_give(
    batchfront: Batchfront, folder: Path
) -> None:
    (folder / "sums.py").write_text(LOOP.replace("KEEP", "trial.keep(net)  # not the momentum"))
    assert batchfront("run", "./sums.py:loop", "--trials", "2").code == 0
    told = "sums/linear/sgd", "--batch-size", "8"
    written = batchfront("model", *told, "--output", "m")
    assert written.code == 0, written.err
    again = batchfront(*advised(written.out))
    assert (again.code, "the same to the bit" in again.out) == (0, True), again.err


def test_a_loop_that_keeps_nothing_has_a_recipe_without_a_line(
    batchfront: Batchfront, folder: Path
) -> None:
    (folder / "sums.py").write_text(LOOP.replace("KEEP", ""))
    assert batchfront("run", "./sums.py:loop", "--trials", "2").code == 0
    told = "sums/linear/sgd", "--batch-size", "8"
    recipe = json.loads(batchfront("recipe", *told, "--format", "json").out)
    assert recipe["reproduce"] is None
    for one in (("model", "--output", "m"), ("replay", "--save", "w")):
        refused = batchfront(one[0], *told, *one[1:])
        assert (refused.code, "none are kept of its loop" in refused.err) == (2, True)
        assert batchfront(*advised(refused.err)).code == 0
