"""Decoded images that are kept: given back exactly, or not at all."""

import errno
import logging
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from batchfront_studies.datasets.derived import BESIDE
from batchfront_studies.datasets.pixel_cache import PixelCache, Pixels, pixel_cache

SHAPE = (4, 4, 3)


def image(number: int) -> Pixels:
    return np.random.default_rng(number).integers(0, 256, SHAPE, dtype=np.uint8)


def held(cache: PixelCache, number: int) -> bool:
    """Whether image `number` is there, as it was written."""
    pixels = np.zeros(SHAPE, np.uint8)
    found = cache.read(number, pixels)
    assert not found or (pixels == image(number)).all()
    return found


def test_what_was_written_is_read_by_all_who_open_the_file(tmp_path: Path) -> None:
    one, other = (PixelCache(tmp_path / "pixels", 5, SHAPE) for _ in range(2))
    assert not held(one, 2)
    one.write(2, image(2))
    assert held(one, 2)
    assert held(other, 2)
    assert [number for number in range(5) if held(other, number)] == [2]
    assert held(PixelCache(tmp_path / "pixels", 5, SHAPE), 2)


def test_black_is_an_image_and_a_hole_is_none(tmp_path: Path) -> None:
    cache, found = PixelCache(tmp_path / "pixels", 2, SHAPE), image(0)
    cache.write(0, np.zeros(SHAPE, np.uint8))
    assert cache.read(0, found)
    assert not found.any()
    assert not cache.read(1, found)


def test_it_takes_no_room_before_anything_is_written(tmp_path: Path) -> None:
    PixelCache(tmp_path / "pixels", 100_000, SHAPE)
    assert (tmp_path / "pixels").stat().st_size > 5_000_000
    assert (tmp_path / "pixels").stat().st_blocks * 512 < 100_000


@pytest.mark.parametrize("place", [0, 47, 48, 55])
def test_an_image_with_a_wrong_byte_is_not_there(tmp_path: Path, place: int) -> None:
    cache = PixelCache(tmp_path / "pixels", 2, SHAPE)
    cache.write(0, image(0))
    cache.write(1, image(1))
    content = bytearray((tmp_path / "pixels").read_bytes())
    content[place] ^= 1
    (tmp_path / "pixels").write_bytes(content)
    again = PixelCache(tmp_path / "pixels", 2, SHAPE)
    assert not held(again, 0)
    assert held(again, 1)


def test_one_in_the_place_of_another_is_not_there(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path / "pixels", 2, SHAPE)
    cache.write(0, image(0))
    content = (tmp_path / "pixels").read_bytes()[:56]
    (tmp_path / "pixels").write_bytes(content * 2)
    assert not held(PixelCache(tmp_path / "pixels", 2, SHAPE), 1)


def test_a_file_cut_short_is_made_whole_again(tmp_path: Path) -> None:
    PixelCache(tmp_path / "pixels", 3, SHAPE).write(0, image(0))
    with (tmp_path / "pixels").open("r+b") as file:
        file.truncate(60)
    cache = PixelCache(tmp_path / "pixels", 3, SHAPE)
    assert held(cache, 0)
    cache.write(2, image(2))
    assert held(cache, 2)


def test_a_full_disk_ends_the_keeping_and_not_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = PixelCache(tmp_path / "pixels", 2, SHAPE)
    full = os.open("/dev/full", os.O_RDWR)  # the system's own file that is always full
    os.dup2(full, cache._file)
    os.close(full)
    cache.write(0, image(0))
    cache.write(1, image(1))
    assert not held(cache, 0)
    assert caplog.text.count("no longer kept") == 1


@pytest.mark.parametrize("problem", [errno.EACCES, errno.EROFS], ids=["file", "file system"])
def test_where_it_may_only_be_read_what_it_holds_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: int
) -> None:
    PixelCache(tmp_path / "pixels", 2, SHAPE).write(0, image(0))
    open_any = os.open

    def open_to_read(path: Path, flags: int, *rest: int) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(problem, os.strerror(problem))
        return open_any(path, flags, *rest)

    monkeypatch.setattr(os, "open", open_to_read)
    cache = PixelCache(tmp_path / "pixels", 2, SHAPE)
    cache.write(1, image(1))
    assert held(cache, 0)
    assert not held(cache, 1)
    with (tmp_path / "pixels").open("r+b") as file:
        file.truncate(0)
        file.truncate(112)
    with pytest.raises(OSError, match=os.strerror(problem)):  # another place has to do
        PixelCache(tmp_path / "pixels", 2, SHAPE)


# Where it is kept


def test_it_lies_beside_the_data_else_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "data" / "val"
    source.mkdir(parents=True)
    with caplog.at_level(logging.INFO):
        beside = pixel_cache(source, "p", 2, SHAPE)
    assert beside is not None
    assert beside.path == tmp_path.resolve() / "data" / BESIDE / "p"
    assert "0.0 GB when all are" in caplog.text
    shutil.rmtree(tmp_path / "data" / BESIDE)
    (tmp_path / "data" / BESIDE).write_text("in the way, for root may write into any folder")
    in_cache = pixel_cache(source, "p", 2, SHAPE)
    assert in_cache is not None
    assert in_cache.path.is_relative_to(tmp_path / "cache")


def test_without_room_there_is_none_and_the_log_says_how_much_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    usage = namedtuple("usage", "total used free")(10**10, 10**10 - 10**9, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    (tmp_path / "val").mkdir()
    assert pixel_cache(tmp_path / "val", "p", 50_000, (224, 224, 3)) is None
    assert "they need 7.5 GB" in caplog.text
    assert "1.0 GB free" in caplog.text
