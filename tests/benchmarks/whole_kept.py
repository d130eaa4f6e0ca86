"""Results of `whole_search`, kept in a file, so that a run goes on from where one was ended."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.whole_tasks import Result, Spent, Task


class Kept:
    """Results by task, contender and seed.

    path -- a file of JSON lines, each a search and its result, of which the last counts; several
            processes may add to it. None: they are kept in memory
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._all: dict[str, Result] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                search, found = json.loads(line)
                self._all[search] = _result(**found)

    def get(self, task: Task, name: str, seed: int) -> Result | None:
        """Returns what is kept of a search; None if nothing is."""
        return self._all.get(_key(task, name, seed))

    def put(self, task: Task, name: str, seed: int, search: Callable[[], Result]) -> Result:
        """Search, and keep the result in place of what there was.

        Returns the result.
        """
        key = _key(task, name, seed)
        print(f"{key} …", file=sys.stderr)
        result = self._all[key] = search()
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps([key, asdict(result)]) + "\n")
        return result


def _key(task: Task, name: str, seed: int) -> str:
    return f"{task.name}: {name}: seed {seed}"


def _result(spent: list[dict[str, Any]], **rest: Any) -> Result:
    return Result(tuple(Spent(**one) for one in spent), **rest)
