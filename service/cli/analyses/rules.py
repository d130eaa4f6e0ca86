"""Prints winners' rates against the scaling rules, and what following these costs."""

from collections.abc import Callable, Sequence
from typing import Any

from service.analysis.censoring import in_words
from service.analysis.rules import Exponent, Followed, Rules, Winner
from service.cli.analyses.output import NOTHING, multiple, print_as, short, table, whole
from service.cli.tables import number
from service.scaling_rules import RULES


def print_rules(found: Rules, format_: str, run: str | None) -> None:
    """Rates by batch size, exponents, and the losses by batch size and rule.

    run -- the command that runs a rule
    """
    records = [_record(found, winner) for winner in found.winners]
    print_as(format_, found, records, lambda show: _show(found, show, run))


def _record(found: Rules, winner: Winner) -> dict[str, Any]:
    plain = ("batch_size", "trial", "steps", "learning_rate", "momentum", "effective")
    record: dict[str, Any] = {"workload": found.workload}
    record |= {name: getattr(winner, name) for name in plain}
    for rule in RULES:
        name = rule.replace("-", "_")
        one = _of(found.followed, rule, winner.batch_size)
        record |= {
            f"{name}_learning_rate": winner.ruled[rule],
            f"{name}_effective": winner.effective_ruled.get(rule),
            f"{name}_source": one.source if one else None,
            f"{name}_at_least": one.needed.at_least if one and one.needed else None,
            f"{name}_at_most": one.needed.at_most if one and one.needed else None,
            f"{name}_loss": one.loss if one else None,
            f"{name}_distance": one.nearest[0].distance if one and one.nearest else None,
        }
    return record


def _of(followed: Sequence[Followed], rule: str, batch_size: int) -> Followed | None:
    return next((f for f in followed if (f.rule, f.batch_size) == (rule, batch_size)), None)


def _show(found: Rules, show: Callable[..., None], run: str | None) -> None:
    if found.reason:
        show(f"{found.workload}: nothing to compare with the rules, {found.reason}.")
        return
    show(f"\n{found.workload}: rates of the frontier, and what the rules make of the first\n")
    show(table(_RATE_TITLES, [_rates(winner) for winner in found.winners]))
    for exponent in found.exponents:
        show(_exponent(exponent))
    if found.followed:
        show("\nSteps that following a rule takes, in multiples of the frontier's\n")
        titles = ("batch size>", *(f"{rule}>" for rule in RULES), *(f"by ({r})" for r in RULES))
        sizes = dict.fromkeys(followed.batch_size for followed in found.followed)
        show(table(titles, [_losses(found.followed, size) for size in sizes]))
        show(_NOTE + (f" {run} runs a rule itself." if run else ""))


_RATE_TITLES = (
    "batch size>",
    "learning rate>",
    "linear>",
    "square root>",
    "momentum>",
    "effective>",
    "linear>",
    "square root>",
)
_NOTE = (
    "Distances are in the unit cube of the search space: 1 is the whole range of a metaparameter. "
    "A trial marked ! is so far from the rule's point that it says little."
)


def _rates(winner: Winner) -> list[str]:
    effective = winner.effective_ruled
    return [
        whole(winner.batch_size),
        short(winner.learning_rate),
        *(short(winner.ruled[rule]) for rule in RULES),
        NOTHING if winner.momentum is None else number(winner.momentum),
        short(winner.effective),
        *(short(effective.get(rule)) for rule in RULES),
    ]


def _exponent(fit: Exponent) -> str:
    error = "" if fit.error is None else f" ± {fit.error:.2f}"
    return (
        f"{fit.name} ~ batch size ^ {fit.value:.2f}{error}, from {fit.points} batch sizes "
        "(1: linear, 0.5: square root)"
    )


def _losses(followed: Sequence[Followed], batch_size: int) -> list[str]:
    both = [_of(followed, rule, batch_size) for rule in RULES]
    return [whole(batch_size), *map(_loss, both), *map(_by, both)]


def _loss(one: Followed | None) -> str:
    if one is None:
        return NOTHING
    if one.needed is None or one.loss is None:
        return "never" if one.outcomes else NOTHING
    return multiple(one.needed, one.loss)


def _by(one: Followed | None) -> str:
    if one is None or not one.outcomes:
        return "no trial"
    if one.source == "run":
        return f"run: {in_words(one.outcomes)}"
    near = one.nearest[0]
    mark = "!" if one.far else ""
    outside = f", {' and '.join(one.outside)} outside the space" if one.outside else ""
    return f"trial {near.number} {near.outcome}, {near.distance:.2f} away{mark}{outside}"
