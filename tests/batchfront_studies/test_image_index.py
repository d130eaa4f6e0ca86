"""The list of a folder's images: kept, shared, and made anew when it has to be."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batchfront_studies.datasets import image_index as module
from batchfront_studies.datasets.derived import BESIDE, places
from batchfront_studies.datasets.image_index import ImageIndex, image_index


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in two folders and beside them, and what is none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "data" / "train"
    for name in ("b/2.jpeg", "b/10.JPG", "a/1.JPEG", "a/notes.txt", "0.png", "b/._1.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    (root / ".batchfront").mkdir()
    return root


def files(index: ImageIndex) -> list[str]:
    return [str(index.path(i).relative_to(index.folder)) for i in range(len(index))]


def refuse_to_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> list[str]:
        raise AssertionError("the folder is listed")

    monkeypatch.setattr(module, "_images", refuse)


def test_images_stand_in_the_order_of_folders_and_names(folder: Path) -> None:
    index = image_index(folder)
    assert files(index) == ["0.png", "a/1.JPEG", "b/10.JPG", "b/2.jpeg"]
    assert index.subfolders == ("", "a", "b")
    assert index.in_subfolder().tolist() == [0, 1, 2, 2]


def test_a_folder_is_listed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = image_index(folder)
    refuse_to_list(monkeypatch)
    second = image_index(folder)
    assert (files(second), second.checksum) == (files(first), first.checksum)


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "folder"])
def test_it_is_listed_anew_when_it_has_changed(folder: Path, change: str) -> None:
    before = image_index(folder)
    if change == "added":
        (folder / "a" / "0.jpg").write_bytes(b"new")
    elif change == "removed":
        (folder / "b" / "2.jpeg").unlink()
    elif change == "renamed":
        (folder / "b" / "2.jpeg").rename(folder / "b" / "3.jpeg")
    else:
        shutil.copytree(folder / "a", folder / "c")
    after = image_index(folder)
    assert files(after) != files(before)
    assert after.checksum != before.checksum


def test_its_checksum_is_of_names_and_sizes_wherever_the_files_lie(
    folder: Path, tmp_path: Path
) -> None:
    first = image_index(folder).checksum
    shutil.copytree(folder, tmp_path / "elsewhere" / "other")
    assert image_index(tmp_path / "elsewhere" / "other").checksum == first
    (tmp_path / "elsewhere" / "other" / "a" / "1.JPEG").write_bytes(b"longer than it was")
    shutil.rmtree(tmp_path / "elsewhere" / BESIDE)
    assert image_index(tmp_path / "elsewhere" / "other").checksum != first


@pytest.mark.parametrize("damage", [b"", b"ARROW1\0\0", None])
def test_a_damaged_list_is_made_anew(folder: Path, damage: bytes | None) -> None:
    first = image_index(folder)
    path = places(folder)[0] / "train-index.arrow"
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    assert files(image_index(folder)) == files(first)


def test_where_nothing_can_be_written_beside_the_data_it_is_kept_in_the_users_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.parent / BESIDE).write_text("in the way, for root may write into any folder")
    first = image_index(folder)
    assert list((tmp_path / "cache" / "batchfront").rglob("train-index.arrow"))
    refuse_to_list(monkeypatch)
    assert files(image_index(folder)) == files(first)


def test_where_it_can_be_kept_nowhere_it_is_made_each_time_and_the_log_says_so(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.parent / BESIDE).write_text("in the way")
    (tmp_path / "cache").write_text("in the way")
    assert len(image_index(folder)) == len(image_index(folder)) == 4
    assert "can't be kept" in caplog.text


def test_all_who_list_it_at_once_find_the_same_and_leave_one_whole_list(folder: Path) -> None:
    with ThreadPoolExecutor(8) as at_once:
        checksums = {index.checksum for index in at_once.map(image_index, [folder] * 40)}
    assert checksums == {image_index(folder).checksum}
    assert [p.name for p in (folder.parent / BESIDE).iterdir()] == ["train-index.arrow"]


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        image_index(tmp_path / "missing")
