"""A small archive in the format of the public one, with all that is awkward in it."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLUMNS = tuple(
    f"{split}/{metric}_error"
    for split in ("train", "val", "test")
    for metric in ("cross_entropy", "classification")
)

CONFIGS: Mapping[str, Any] = {
    "learning_rate": {
        "max_value": 10.0,
        "min_value": 0.0001,
        "scale": "LOG_SCALE",
        "type": "DOUBLE",
    },
    "label_smoothing": {"feasible_points": [0.0, 0.01, 0.1], "type": "DISCRETE"},
    "learning_rate_decay_steps": {
        "max_value": 600000,
        "min_value": 300000,
        "scale": "",
        "type": "INTEGER",
    },
    "momentum": {
        "max_value": 0.9999,
        "min_value": 0.9,
        "scale": "REVERSE_LOG_SCALE",
        "type": "DOUBLE",
    },
}


@dataclass
class Written:
    """A trial as it was written: its metadata, and (step, column to value) rows."""

    number: int
    status: str
    steps: int
    params: Mapping[str, Any]
    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)


def trial(
    number: int,
    rows: list[tuple[int, dict[str, float]]],
    status: str = "COMPLETE",
    steps: int = 600,
) -> Written:
    """A trial with some draw of the metaparameters."""
    draw = random.Random(number)
    params = {
        "learning_rate": 10 ** draw.uniform(-4, 1),
        "label_smoothing": draw.choice([0.0, 0.01, 0.1]),
        "learning_rate_decay_steps": draw.randint(300000, 600000),
        "momentum": 1 - 10 ** draw.uniform(-4, -1),
    }
    return Written(number, status, steps, params, rows)


def write_study(
    root: Path,
    workload: str,
    batch_size: int,
    trials: list[Written],
    columns: Sequence[str] = COLUMNS,
    **changed: Any,
) -> Path:
    """Write a study's folder; `changed` goes into study.json."""
    dataset, model, optimizer = workload.split("/")[-3:]
    folder = root / workload / str(batch_size)
    folder.mkdir(parents=True)
    config = {
        "batch_size": batch_size,
        "dataset": dataset,
        "early_stopping": False,
        "model": model,
        "optimizer": optimizer,
        "parameter_configs": CONFIGS,
        "train_steps": 600,
        **changed,
    }
    (folder / "study.json").write_text(json.dumps(config))
    for written in trials:
        write_trial(folder / str(written.number), written, columns)
    return folder


def write_trial(folder: Path, written: Written, columns: Sequence[str] = COLUMNS) -> None:
    """Write a trial's folder."""
    folder.mkdir()
    about = {
        "_internal_study_name": "é",
        "_internal_trial_id": written.number,
        "parameters": written.params,
        "status": written.status,
        "steps": written.steps,
        "trial_id": written.number,
    }
    (folder / "metadata.json").write_text(json.dumps(about))
    lines = [",".join(["step", *columns])]
    for step, values in written.rows:
        lines.append(",".join([str(step), *(repr(values[name]) for name in columns)]))
    (folder / "measurements.csv").write_text("\n".join(lines) + "\n")


def random_trials(
    seed: int, count: int, columns: Sequence[str], typical: float = 0.35
) -> list[Written]:
    """Trials of every status, with gaps in their ids, metrics on a coarse grid (so that goals are
    met exactly, and steps are tied), NaN here and there, and rows at uneven steps."""
    draw = random.Random(seed)
    trials, number = [], 0
    for _ in range(count):
        number += draw.choice([1, 1, 1, 2, 5])
        status = draw.choices(["COMPLETE", "INFEASIBLE", "INCOMPLETE"], [8, 1, 1])[0]
        step, rows = 0, []
        level = draw.uniform(0, 2 * typical)
        for _ in range(draw.randint(1, 12)):
            values = {name: _value(draw, level) for name in columns}
            if step == 0:  # untrained: as bad as can be
                values = {name: 1.0 if name.endswith("error") else 0.0 for name in columns}
            rows.append((step, values))
            step += draw.choice([10, 10, 10, 20, 50])
        trials.append(trial(number, rows, status))
    return trials


def _value(draw: random.Random, level: float) -> float:
    if draw.random() < 0.05:
        return draw.choice([math.nan, math.inf])
    return round(level + draw.choice([-0.1, -0.05, 0.0, 0.05, 0.1]), 2)
