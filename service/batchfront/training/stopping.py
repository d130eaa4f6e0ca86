"""When is a trial given up? Asked at full evaluations, from what the trial itself has shown."""

import math
from collections.abc import Sequence

from batchfront.outcomes import Evaluation
from batchfront.vocabulary import Outcome
from batchfront.workload.goal import Goal
from batchfront.workload.stopping_rules import StoppingRules


def judge(
    evaluations: Sequence[Evaluation],
    untrained_loss: float | None,
    rules: StoppingRules,
    goal: Goal,
) -> tuple[Outcome, str] | None:
    """The outcome and its reason, if the rules say that a trial with these evaluations is over."""
    step, loss, metric, _ = evaluations[-1]
    if not math.isfinite(metric) or (loss is not None and not math.isfinite(loss)):
        told = "" if loss is None else f"training loss {loss:g}, "
        return Outcome.DIVERGED, f"{told}{goal.metric.name} {metric:g} at step {step}"
    bound = rules.diverged_beyond
    if bound is not None and goal.metric_worse(metric, bound):
        return Outcome.DIVERGED, f"{goal.metric.name} {metric:g} at step {step}, beyond {bound:g}"
    if step < rules.patience:
        return None
    # Of a loss that starts at or below 0, no multiple says anything.
    if loss is not None and untrained_loss is not None and untrained_loss > 0:
        untrained = f"untrained {untrained_loss:.4g}"
        if loss > rules.diverged_at * untrained_loss:
            return Outcome.DIVERGED, f"training loss {loss:.4g} at step {step}, {untrained}"
        earlier = _mean_loss(evaluations, step // 4, step // 2)
        later = _mean_loss(evaluations, step // 2, step)
        if min(earlier, later) > (1 + rules.worse_by) * untrained_loss:
            return (
                Outcome.STALLED,
                f"training loss {later:.4g} at steps {step // 2}-{step}, {untrained}",
            )
    lowest = min(
        ((one.loss, one.step) for one in evaluations if one.loss is not None), default=None
    )
    best, better = _best_step(evaluations, goal), f"better {goal.metric.name}"
    if lowest is not None:
        best, better = max(best, lowest[1]), f"lower training loss or {better}"
    if best * rules.stale_after < step:
        return Outcome.STALLED, f"no {better} since step {best}"
    return None


def _mean_loss(evaluations: Sequence[Evaluation], after: int, until: int) -> float:
    """The mean training loss of the stretches between evaluations that end in (after, until], of
    those of which it is told; NaN if there are none."""
    total, steps, previous = 0.0, 0, 0
    for step, loss, *_ in evaluations:
        if after < step <= until and loss is not None:
            total, steps = total + loss * (step - previous), steps + step - previous
        previous = step
    return total / steps if steps else math.nan


def _best_step(evaluations: Sequence[Evaluation], goal: Goal) -> int:
    sign = 1 if goal.metric.better == "lower" else -1
    return min(evaluations, key=lambda one: (sign * one.metric, one.step)).step
