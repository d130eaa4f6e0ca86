"""The notebooks of the documentation run, and find what they say."""

from pathlib import Path

import nbformat
import pytest

from tests.docs.notebooks import NOTEBOOKS, executed, kept, shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_finds_what_it_shows(path: Path, tmp_path: Path) -> None:
    stored = shown(nbformat.read(path, as_version=4))  # type: ignore[no-untyped-call]
    found = shown(kept(executed(path, tmp_path)))
    assert [one.partition("\n")[0] for one in found] == [one.partition("\n")[0] for one in stored]
    # Steps are the same on every machine; the curve's last digits needn't be.
    assert found[-2:] == stored[-2:]
    assert path.stat().st_size < 100_000


def test_there_is_one() -> None:
    assert NOTEBOOKS
