"""Runs the documentation's notebooks and keeps what they show: python -m tests.docs.notebooks"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def executed(path: Path, folder: Path) -> Any:
    """A notebook, run from its first cell to its last in a folder, by this Python."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    kernel = KernelManager()
    spec = kernel.kernel_spec
    assert spec is not None
    spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, km=kernel, timeout=300, resources=where).execute(cleanup_kc=True)
    return notebook


def kept(notebook: Any) -> Any:
    """What is kept of a notebook that was run: no times, nor what this machine is."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
        cell.get("outputs", [])[:] = [
            one for one in cell.get("outputs", ()) if one.output_type != "stream"
        ]
    return notebook


def shown(notebook: Any) -> list[str]:
    """What its cells have as their results, as text."""
    results = (
        one.data["text/plain"]
        for cell in notebook.cells
        for one in cell.get("outputs", ())
        if one.output_type == "execute_result"
    )
    return list(results)


if __name__ == "__main__":
    for path in NOTEBOOKS:
        with TemporaryDirectory() as folder:
            nbformat.write(kept(executed(path, Path(folder))), path)  # type: ignore[no-untyped-call]
