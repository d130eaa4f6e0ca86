"""What a curve is asked, and in which range each answer is a number."""

from math import exp, inf, log

from service.scaling.estimate import REACH, Question
from service.scaling.fits import Fit
from service.scaling.forms import Array
from service.scaling.sample import Sample


def ask(fit: Fit, sample: Sample, log_batch: Array, extra: float, share: float) -> list[Question]:
    """About s_min, e_min, half_efficiency, perfect_until and useful_until, in this order."""
    first, last = float(log_batch[0]), float(log_batch[-1])
    smallest, largest = f"{exp(first):.0f}", f"{exp(last):.0f}"
    lowest, highest = first - log(REACH), last + log(REACH)
    log_s_min, log_half = log(fit.s_min), log(fit.half_efficiency)
    steps_first, steps_last = fit.log_steps(log_batch[[0, -1]])
    no_flattening = f"no flattening is seen up to batch size {largest}"
    no_fall = f"steps hardly fall from batch size {smallest} on"
    shapes, drawn = fit.shapes, sample.shapes
    return [
        # At REACH times the largest batch size measured, 1 + REACH: what B_c there would mean.
        Question(log_s_min, sample.log_s_min, steps_last - log(1 + REACH), inf, no_flattening),
        Question(
            log_s_min + log_half,
            sample.log_s_min + drawn.log_half,
            first + steps_first - log(1 + REACH),
            last + steps_last,
            no_fall,
            no_flattening,
        ),
        Question(log_half, drawn.log_half, lowest, highest, no_fall, no_flattening),
        Question(
            float(shapes.log_perfect_until(extra, first)[0]),
            drawn.log_perfect_until(extra, first),
            first + log(2),
            highest,
            f"no near-perfect part is seen: the first doubling, from batch size {smallest}, may "
            f"already cost more than {100 * extra:.0f} % extra examples",
            f"near-perfect scaling may go on beyond batch size {largest}",
        ),
        Question(
            float(shapes.log_useful_until(share)[0]),
            drawn.log_useful_until(share),
            lowest,
            highest,
            f"doubling may save less than {100 * share:.0f} % of the steps from batch size "
            f"{smallest} on",
            f"doubling may still save {100 * share:.0f} % of the steps beyond batch size {largest}",
        ),
    ]
