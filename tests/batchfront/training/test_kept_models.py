"""Winners' weights as files: whole or not at all, and read by `safetensors` as they are."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file
from sqlalchemy import make_url
from torch import Tensor, nn

from batchfront.errors import UsageError
from batchfront.training.kept_models import KeptModels, differing, models_beside, packed

FACTS = {"workload": "a/b/c", "trial": 3}


@pytest.fixture(params=["a folder", "memory://"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeptModels]:
    """A place of each kind."""
    if request.param == "a folder":
        yield KeptModels(tmp_path / "models", "a-database")
        return
    yield KeptModels(f"memory://models/{tmp_path.name}", "a-database")
    files = fsspec.filesystem("memory")
    if files.exists("/models"):
        files.rm("/models", recursive=True)


def keep(models: KeptModels, *places: tuple[int, int]) -> None:
    """The weights of these trials, by number and step."""
    for number, step in places:
        models.keep(1, number, step, {"w": torch.tensor([number, step])}, FACTS)


def there(models: KeptModels, *places: tuple[int, int]) -> list[tuple[int, int]]:
    return [place for place in places if models.find(1, *place) is not None]


def test_what_is_kept_is_found_with_what_it_is_of(models: KeptModels) -> None:
    keep(models, (3, 40))
    found = models.find(1, 3, 40)
    assert found is not None
    kept, facts = found
    assert facts == FACTS
    assert load(models.read(kept))["w"].tolist() == [3, 40]
    assert models.find(1, 3, 41) is None
    assert models.find(2, 3, 40) is None


def test_all_that_has_lost_is_removed_and_what_nobody_has_said_yet_stays(
    models: KeptModels,
) -> None:
    files = [(0, 50), (1, 40), (2, 40), (3, 30), (1, 44)]
    keep(models, *files)
    models.settle(1, {0: 50, 1: 40, 2: 40})
    # Trial 3 is about to be the winner, 1 is until then; at its step 44 it never was.
    assert there(models, *files) == [(1, 40), (3, 30)]
    models.settle(1, {0: 50, 1: 40, 2: 40, 3: 30})
    assert there(models, *files) == [(3, 30)]


def test_of_a_deleted_study_nothing_is_left(models: KeptModels) -> None:
    keep(models, (3, 40))
    models.drop_study(1)
    assert there(models, (3, 40)) == []
    models.drop_study(1)


def test_a_file_that_cannot_be_written_whole_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = KeptModels(tmp_path / "models", "a-database")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models._files, "mv", full)
    with pytest.raises(OSError, match="No space left"):
        keep(models, (3, 40))
    assert not (tmp_path / "models").exists()


class Tied(nn.Module):
    """Two layers of one weight, one that is not contiguous, and a buffer of whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.two.weight = self.one.weight
        self.turned = nn.Parameter(torch.randn(4, 2).t())
        self.small = nn.Parameter(torch.randn(5).to(torch.bfloat16))
        self.register_buffer("seen", torch.tensor(7))
        self.register_buffer("empty", torch.zeros(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x))


def test_a_module_finds_each_of_its_tensors_to_the_bit(tmp_path: Path) -> None:
    model, other = Tied(), Tied()
    (tmp_path / "weights.safetensors").write_bytes(packed(model.state_dict(), FACTS))
    loaded = load_file(tmp_path / "weights.safetensors")
    other.load_state_dict(loaded)
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(other.state_dict()[name], tensor), name
    with safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_a_part_of_a_stack_is_written_alone() -> None:
    stack = torch.randn(100, 50, 50)
    assert len(packed({"w": stack[3]}, FACTS)) < 2 * stack[3].nbytes


def test_what_is_nested_has_names_with_dots() -> None:
    state: dict[str, Any] = {
        "0": OrderedDict(w=torch.ones(2)),
        "1": {"groups": [{"rate": 0.1, "steps": 3, "on": True}], "seen": np.arange(3)},
    }
    found = {name: tensor.tolist() for name, tensor in load(packed(state, FACTS)).items()}
    groups = {"1.groups.0.rate": 0.1, "1.groups.0.steps": 3, "1.groups.0.on": True}
    assert found == {"0.w": [1, 1], **groups, "1.seen": [0, 1, 2]}


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"a": {"kind": "adam"}}, "a.kind is a str, which safetensors can't hold"),
        ({"a": None}, "a is a NoneType, which safetensors can't hold"),
        ({"a.b": torch.ones(1), "a": {"b": torch.ones(1)}}, "a.b stands for two of its values"),
    ],
)
def test_what_a_file_cannot_hold_is_named(weights: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as refused:
        packed(weights, FACTS)
    assert str(refused.value) == why


def test_two_files_differ_in_the_bits_of_their_tensors() -> None:
    one = {"same": torch.tensor([float("nan"), -0.0]), "other": torch.tensor([1.0, 2.0])}
    two = {"same": torch.tensor([float("nan"), -0.0]), "other": torch.tensor([1.0, 2.5])}
    assert differing(packed(one, FACTS), packed(one, {})) == {}
    assert differing(packed(one, FACTS), packed(two, FACTS)) == {"other": 0.5}
    assert list(differing(packed(one, FACTS), packed({"same": torch.zeros(1)}, FACTS))) == [
        "other",
        "same",
    ]


def test_they_lie_beside_an_sqlite_database_or_among_the_checkpoints(tmp_path: Path) -> None:
    sqlite, server = make_url(f"sqlite:///{tmp_path}/a.db"), make_url("postgresql://u@h/db")
    assert models_beside(sqlite, None) == f"{tmp_path}/a.db.models"
    assert models_beside(sqlite, "s3://bucket/kept") == f"{tmp_path}/a.db.models"
    assert models_beside(server, "s3://bucket/kept/") == "s3://bucket/kept/models"
    assert models_beside(server, None) is None
