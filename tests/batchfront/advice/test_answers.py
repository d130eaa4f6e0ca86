"""The answers among choices that are made by hand."""

import pytest

from batchfront.advice import answers
from batchfront.advice.choices import Choice
from batchfront.advice.intervals import Interval
from batchfront.frontier.recipe import Layout


def choice(
    devices: int, hours: float, price: float | None = 2.0, machine: str | None = None
) -> Choice:
    """One whose hours are known to within 10 % either way."""
    took = Interval(hours, 0.9 * hours, 1.1 * hours)
    return Choice(
        devices=devices,
        batch_size=64 * devices,
        layout=Layout(devices, 64, 1),
        steps=Interval.around(1000),
        seconds_per_step=took.times(3.6),
        hours=took,
        cost=None if price is None else took.times(devices * price),
        machine=machine,
    )


ALL = [choice(1, 100), choice(2, 52), choice(4, 30), choice(8, 26), choice(16, 27)]


def test_the_fastest_and_the_cheapest_are_by_their_medians() -> None:
    assert answers.fastest(ALL).devices == 8
    assert answers.cheapest(ALL).devices == 1


def test_without_a_price_device_hours_are_compared() -> None:
    assert answers.cheapest([choice(1, 100, None), choice(2, 49, None)]).devices == 2


def test_what_has_no_price_is_not_taken_for_free() -> None:
    assert answers.cheapest([choice(1, 1, None), choice(2, 49)]).devices == 2


def test_nothing_on_the_front_is_worse_in_both() -> None:
    assert [one.devices for one in answers.pareto(ALL)] == [8, 4, 2, 1]


def test_the_knee_is_where_a_doubling_saves_too_little() -> None:
    found, _ = answers.knee(ALL, saves=0.10, costs_more=9.0)
    assert found is not None
    assert found.devices == 8
    found, _ = answers.knee(ALL, saves=0.20, costs_more=9.0)
    assert found is not None
    assert found.devices == 4


def test_or_where_it_costs_too_much_more() -> None:
    found, _ = answers.knee(ALL, saves=0.01, costs_more=0.5)
    assert found is not None
    assert found.devices == 4
    found, _ = answers.knee(ALL, saves=0.01, costs_more=0.1)
    assert found is not None
    assert found.devices == 2


def test_what_is_no_doubling_is_judged_as_if_it_were() -> None:
    fourfold = [choice(1, 100), choice(4, 64)]  # 20 % for each doubling, and 60 % more each
    found, _ = answers.knee(fourfold, saves=0.19, costs_more=0.7)
    assert found is not None
    assert found.devices == 4
    found, _ = answers.knee(fourfold, saves=0.21, costs_more=0.7)
    assert found is not None
    assert found.devices == 1


def test_one_number_of_devices_has_no_knee() -> None:
    found, why = answers.knee(ALL[:1], 0.1, 0.5)
    assert (found, why) == (None, "only one number of devices can be compared")


def test_the_knee_is_of_the_cheapest_machine_that_has_several_numbers_of_devices() -> None:
    one, dear = choice(1, 1, machine="one"), [choice(n, 100 / n, 9, "dear") for n in (1, 2)]
    cheap = [choice(1, 90, machine="cheap"), choice(2, 89, machine="cheap")]
    found, _ = answers.knee([one, *dear, *cheap], 0.1, 0.5)
    assert found == cheap[0]


def test_a_deadline_is_kept_at_the_upper_end_by_the_cheapest() -> None:
    found, _ = answers.by_deadline(ALL, 57.3)
    assert found is not None
    assert found.devices == 2
    found, _ = answers.by_deadline(ALL, 57.1)  # 52 hours, but perhaps 57.2
    assert found is not None
    assert found.devices == 4


def test_a_deadline_that_none_keeps_says_the_best_chance() -> None:
    found, why = answers.by_deadline(ALL, 26)
    assert found is None
    assert why == (
        "none is over by then with 95 % probability; the likeliest, 8 devices, is with 50 %"
    )


def test_of_a_deadline_out_of_reach_the_likeliest_is_the_fastest() -> None:
    _, why = answers.by_deadline(ALL, 1e-6)
    assert why is not None
    assert why.endswith("the likeliest, 8 devices, is with less than 1 %")


def test_a_budget_is_kept_at_the_upper_end_by_the_fastest() -> None:
    found, _ = answers.within_budget(ALL, 240 * 1.1 + 0.1)  # 4 devices, 30 hours, 2 each
    assert found is not None
    assert found.devices == 4
    found, why = answers.within_budget(ALL[::-1], 1)
    assert found is None
    assert why is not None
    assert why.endswith("the likeliest, 1 device, does with less than 1 %")


def test_a_choice_says_its_device_hours_and_its_training_alone() -> None:
    found = choice(4, 30)
    assert found.device_hours.median == 120
    assert found.training_hours == pytest.approx(30)
    assert found.to_dict()["layout"]["per_device_batch"] == 64
