"""Machines are read from a file, and whatever can't be is refused in one line that names it."""

from pathlib import Path

import pytest

from batchfront.advice.machines import Machine, load_machines
from batchfront.errors import UsageError

FILE = """\
[[machine]]
name = "8 x H100"
devices = 8
price = 2.5
device = "NVIDIA H100"
bandwidth_within = 450e9
latency_within = 5e-6
bandwidth_between = 50e9
latency_between = 20e-6
memory = 80_000_000_000

[[machine]]
name = "desk"
devices = 1
"""


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "machines.toml"
    file.write_text(FILE)
    large = Machine("8 x H100", 8, 2.5, "NVIDIA H100", 450e9, 5e-6, 50e9, 20e-6, 80_000_000_000)
    assert load_machines(file) == [large, Machine("desk", 1)]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("price = 2.5", "prize = 2.5", "prize: is no key that is known; did you mean price?"),
        ("price = 2.5", "price = -1", "[machine 1, 8 x H100] price: -1 is below 0"),
        ("price = 2.5", "price = 1e308", "price: 1e+308 is more than 1e+12"),
        ("price = 2.5", 'price = "2.5"', '"2.5" is no number; without quotes'),
        ("devices = 8", "devices = 0", "0 is too small; the least is 1"),
        ("devices = 8", "devices = 1.5", "1.5 is no whole number"),
        ("latency_within = 5e-6", "", "bandwidth_within and latency_within tell it together"),
        ("bandwidth_between = 50e9", "bandwidth_between = 0", "must be more than 0"),
        ("memory = 80_000_000_000", "memory = 0", "the least is 1"),
        ("= 80_000_000_000", "= '80GB'", '"80GB" is no whole number; write memory = 80000000000'),
        ('name = "desk"', 'name = "8 x H100"', 'two machines are called "8 x H100"'),
        ('name = "desk"', "", "[machine 2] name: is missing"),
        ("[[machine]]", "[[machines]]", "did you mean machine?"),
        (FILE, "[machine]\nname = 'desk'\n", "is no list of machines; write [[machine]]"),
        (FILE, "machine = [1]", "machine 1 is 1; write [[machine]]"),
        (FILE, "", "holds no machine; write [[machine]]"),
        (FILE, "[[machine", "isn't TOML"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    file = tmp_path / "machines.toml"
    file.write_text(FILE.replace(before, after))
    with pytest.raises(UsageError) as error:
        load_machines(file)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{file}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file .*machines\.toml"):
        load_machines(tmp_path / "machines.toml")
