"""What a curve is asked, and in which range each answer is a number."""

from collections.abc import Mapping
from dataclasses import replace
from math import exp, inf, log

import numpy as np

from service.scaling.bracket import ANYTHING, Bracket
from service.scaling.estimate import REACH, Question
from service.scaling.forms import Array
from service.scaling.sample import Sample


def ask(
    sample: Sample,
    log_batch: Array,
    extra: float,
    share: float,
    brackets: Mapping[str, Bracket],
) -> dict[str, Question]:
    """By the names of the answers; `brackets` has what the points say of some of them."""
    first, last = float(log_batch[0]), float(log_batch[-1])
    smallest, largest = f"{exp(first):,.0f}", f"{exp(last):,.0f}"
    lowest, highest = first - log(REACH), last + log(REACH)
    steps_first, steps_last = sample.median(log_batch[[0, -1]])
    no_flattening = f"no flattening is seen up to batch size {largest}"
    no_fall = f"steps hardly fall from batch size {smallest} on"
    shapes = sample.shapes
    questions = {
        # At REACH times the largest batch size measured, 1 + REACH: what B_c there would mean.
        "s_min": Question(
            np.maximum(sample.log_s_min, 0.0),  # no training takes less than a step
            steps_last - log(1 + REACH),
            inf,
            no_flattening,
        ),
        "e_min": Question(
            sample.log_s_min + shapes.log_half,
            first + steps_first - log(1 + REACH),
            last + steps_last,
            no_fall,
            no_flattening,
        ),
        "half_efficiency": Question(shapes.log_half, lowest, highest, no_fall, no_flattening),
        "perfect_until": Question(
            shapes.log_perfect_until(extra, first),
            first + log(2),
            highest,
            f"no near-perfect part is seen: the first doubling, from batch size {smallest}, may "
            f"already cost more than {100 * extra:.0f} % extra examples",
            f"near-perfect scaling may go on beyond batch size {largest}",
        ),
        "useful_until": Question(
            shapes.log_useful_until(share),
            lowest,
            highest,
            f"doubling may save less than {100 * share:.0f} % of the steps from batch size "
            f"{smallest} on",
            f"doubling may still save {100 * share:.0f} % of the steps beyond batch size {largest}",
        ),
    }
    return {
        name: replace(question, bracket=brackets.get(name, ANYTHING))
        for name, question in questions.items()
    }
