"""An advice in a sentence says what to train on, what it takes, and why that."""

from dataclasses import replace
from typing import Any

import pytest

from batchfront.advice.advise import Advice, AdviceOptions
from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.advice.text import headline, launched, recommended, set_for, shared_out
from batchfront.frontier.frontier import Frontier
from batchfront.frontier.recipe import lay_out


def choice(devices: int, hours: float, **more: Any) -> Choice:
    """Of 64 examples a device, in micro-batches of 32, at a price of 2.5."""
    took = Interval.around(hours, 0.1)
    made = Choice(
        devices=devices,
        batch_size=64 * devices,
        layout=lay_out(64 * devices, devices, 32),
        steps=Interval.around(1000.0, 0.1),
        seconds_per_step=Interval.around(3.6 * hours),
        hours=took,
        cost=took.times(2.5 * devices),
    )
    return replace(made, **more)


ONE, TWO, FOUR = choice(1, 10.0), choice(2, 5.5), choice(4, 5.2)
ALL = (ONE, TWO, FOUR)


def advice(*choices: Choice, asked: AdviceOptions | None = None, **answers: Any) -> Advice:
    """An advice about no frontier, on so many H200."""
    return Advice(
        frontier=Frontier("a/b/c", ()),
        device="NVIDIA H200",
        options=asked or AdviceOptions(),
        choices=choices,
        **{"fastest": choices[-1], "cheapest": choices[0], **answers},
    )


def test_unasked_it_is_as_many_devices_as_pay_and_what_twice_as_many_would_take() -> None:
    assert headline(advice(*ALL, knee=TWO)).replace("\u00a0", " ") == (
        "Train on 2 x NVIDIA H200 with batch size 128 (64 on each): 5.5 hours (90 % interval 4.67 "
        "to 6.48) at a cost of 27.5 (23.3 to 32.4); twice as many devices would take 5 % less time "
        "for 89 % more money."
    )


def test_without_a_price_it_tells_device_hours_of_several_devices() -> None:
    unpriced = [replace(one, cost=None) for one in ALL]
    said = headline(advice(*unpriced, knee=unpriced[1]))
    assert "5.5 hours" in said
    assert ", 11 device-hours in all;" in said
    assert "cost" not in said
    assert "89\u00a0% more device-hours" in said
    assert "in all" not in headline(advice(*unpriced, knee=unpriced[0]))


@pytest.mark.parametrize(
    ("asked", "answers", "expected"),
    [
        ({}, {"knee": TWO}, "knee"),
        ({}, {}, "fastest"),
        ({"deadline": 36000.0}, {"knee": TWO, "by_deadline": TWO}, "by_deadline"),
        ({"deadline": 3600.0}, {"knee": TWO}, "fastest"),
        ({"budget": 30.0}, {"knee": TWO, "within_budget": ONE}, "within_budget"),
        ({"budget": 1.0}, {"knee": TWO}, "cheapest"),
        ({"deadline": 3600.0, "budget": 30.0}, {"within_budget": ONE}, "within_budget"),
    ],
)
def test_what_was_asked_decides_or_what_comes_closest_to_it(
    asked: dict[str, Any], answers: dict[str, Any], expected: str
) -> None:
    why_not = dict.fromkeys(("by_deadline", "within_budget"), "none does")
    found = advice(*ALL, asked=AdviceOptions(**asked), why_not=why_not, **answers)
    assert recommended(found) == expected
    kept = answers.get(expected) is not None or not asked
    assert headline(found).startswith("Train on") == (kept and len(asked) < 2)


def test_the_cheapest_under_a_deadline_may_not_keep_the_budget() -> None:
    asked = AdviceOptions(deadline=36000.0, budget=28.0)
    said = headline(advice(*ALL, asked=asked, by_deadline=TWO, within_budget=ONE))
    assert said.endswith("probability, which does not keep the budget of 28.")
    asked = replace(asked, budget=50.0)
    said = headline(advice(*ALL, asked=asked, by_deadline=TWO, within_budget=TWO))
    assert said.endswith("probability, and the budget of 50.")


def test_where_no_more_devices_were_compared_it_says_so() -> None:
    assert "more devices were not compared" in headline(advice(*ALL, knee=FOUR))
    assert "no other number of devices was compared" in headline(advice(ONE))
    odd = choice(3, 5.0)
    assert "; 3 devices would take" in headline(advice(ONE, TWO, odd, knee=TWO))


def test_a_batch_is_told_in_the_terms_of_launchers_and_trainers() -> None:
    assert shared_out(FOUR) == "256 = 4 devices x 32 examples at once x 2 accumulated"
    assert set_for(FOUR) == "per-device batch size 32, gradient accumulation steps 2"
    assert launched(FOUR).endswith("torchrun --nproc-per-node 4")
    nodes = replace(choice(16, 1.0), machine="p5", nodes=2)
    assert launched(nodes).endswith("torchrun --nnodes 2 --nproc-per-node 8")
    assert launched(ONE) == "one process"
