"""What identifies a data set of files: their names, sizes and classes, wherever they lie."""

from pathlib import Path
from typing import Any

from batchfront.workload.dataset_identity import describe_dataset, spread


class Files:
    """As torchvision's folders list them; nothing of it may be decoded."""

    def __init__(self, root: Path, transform: Any = None) -> None:
        self.root, self.transform = root, transform
        self.samples = [(str(file), int(file.parent.name)) for file in sorted(root.rglob("*.jpg"))]

    def __len__(self) -> int:
        return len(self.samples)


class Scaled:
    """A transform that prints itself with its address."""


def folder(root: Path, sizes: dict[str, int]) -> Path:
    for name, size in sizes.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * size)
    return root


SIZES = {"0/a.jpg": 3, "1/b.jpg": 4, "1/c.jpg": 5}


def described(data: Files, **given: Any) -> dict[str, Any]:
    def contents(_: list[int]) -> list[Any]:
        raise AssertionError("an example is decoded")

    return describe_dataset(data, given.get("collate"), given.get("augment"), contents)


def test_the_same_files_are_the_same_wherever_they_lie(tmp_path: Path) -> None:
    one = described(Files(folder(tmp_path / "one", SIZES), Scaled()))
    assert described(Files(folder(tmp_path / "other", SIZES), Scaled())) == one


def test_names_sizes_classes_and_transforms_tell_files_apart(tmp_path: Path) -> None:
    known = described(Files(folder(tmp_path / "known", SIZES)))
    renamed = Files(folder(tmp_path / "renamed", {**SIZES, "1/d.jpg": 5}))
    longer = Files(folder(tmp_path / "longer", {**SIZES, "1/c.jpg": 6}))
    relabelled = Files(folder(tmp_path / "relabelled", SIZES))
    relabelled.samples = [(path, 1 - kind) for path, kind in relabelled.samples]
    transformed = Files(tmp_path / "known", Scaled())
    for other in (renamed, longer, relabelled, transformed):
        assert described(other) != known
    assert described(Files(tmp_path / "known"), augment=sorted) != known
    assert described(Files(tmp_path / "known"), collate=list) != known


def test_what_is_spread_has_both_ends() -> None:
    assert spread(3, 16) == [0, 1, 2]
    assert spread(1, 16) == [0]
    assert spread(1_001, 3) == [0, 500, 1_000]
