"""What devices can be had: the machines of a TOML file, with their prices and networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchfront.advice.options import MOST_PRICE
from batchfront.errors import UsageError
from batchfront.workload.toml_table import Table, read_toml, shown

_MOST = 1e15
"""Of bytes/s, and of seconds: what is more is a slip."""

_SUCH_AS = '[[machine]] with name = "8 x H100", devices = 8 and price = 2.5'


@dataclass(frozen=True)
class Machine:
    """A kind of machine, as many of which can be had as are asked for.

    devices           -- of one machine, a node
    price             -- of a device for an hour; None: unknown
    device            -- its kind of device, as timings name it; None: the one that was timed
    bandwidth_within  -- between the devices of a node, bytes/s each way; None: unknown, and what
                         was timed stands
    latency_within    -- of a message between them, seconds
    bandwidth_between -- between two nodes, bytes/s each way; None: unknown, and several nodes are
                         refused
    latency_between   -- of a message between them, seconds
    memory            -- of a device, bytes; None: that of the device that was timed
    """

    name: str
    devices: int
    price: float | None = None
    device: str | None = None
    bandwidth_within: float | None = None
    latency_within: float | None = None
    bandwidth_between: float | None = None
    latency_between: float | None = None
    memory: int | None = None


def load_machines(file: Path) -> list[Machine]:
    """The machines of a TOML file, in its order.

    Raises UsageError, in one line that names file, machine and key, for what can't be: no machine,
    two of one name, a key that isn't known, a value of another type, one below 0, and a bandwidth
    without its latency.
    """
    top = read_toml(file)
    entries = top.take("machine", [])
    top.close()
    if not isinstance(entries, list):
        raise top.refuse("machine", f"is no list of machines; write {_SUCH_AS}")
    if not entries:
        raise UsageError(f"{file}: holds no machine; write {_SUCH_AS}")
    found: list[Machine] = []
    for number, entry in enumerate(entries, start=1):
        machine = _machine(str(file), number, entry)
        if any(one.name == machine.name for one in found):
            raise UsageError(f'{file}: two machines are called "{machine.name}"')
        found.append(machine)
    return found


def _machine(file: str, number: int, entry: Any) -> Machine:
    if not isinstance(entry, dict):
        raise UsageError(f"{file}: machine {number} is {shown(entry)}; write {_SUCH_AS}")
    table = Table(file, f"machine {number}", entry)
    name = table.text("name", such_as='"8 x H100"')
    table = Table(file, f"machine {number}, {name}", entry)
    machine = Machine(
        name=table.text("name", such_as='"8 x H100"'),
        devices=table.whole("devices", least=1, such_as=8),
        price=_no_less(table, "price", "2.5", MOST_PRICE),
        device=table.text("device", None, such_as='"NVIDIA H100"'),
        bandwidth_within=_above(table, "bandwidth_within", "450e9"),
        latency_within=_no_less(table, "latency_within", "5e-6"),
        bandwidth_between=_above(table, "bandwidth_between", "50e9"),
        latency_between=_no_less(table, "latency_between", "20e-6"),
        memory=table.whole("memory", None, least=1, such_as=80_000_000_000),
    )
    table.close()
    for where in ("within", "between"):
        bandwidth, latency = (f"{what}_{where}" for what in ("bandwidth", "latency"))
        given, other = getattr(machine, bandwidth), getattr(machine, latency)
        if (given is None) != (other is None):
            missing = latency if other is None else bandwidth
            raise table.refuse(missing, f"is missing; {bandwidth} and {latency} tell it together")
    return machine


def _no_less(table: Table, key: str, such_as: str, most: float = _MOST) -> float | None:
    value: float | None = table.number(key, None, such_as=such_as)
    if value is not None and value < 0:
        raise table.refuse(key, f"{value:g} is below 0")
    if value is not None and value > most:
        raise table.refuse(key, f"{value:g} is more than {most:g}")
    return value


def _above(table: Table, key: str, such_as: str) -> float | None:
    value = _no_less(table, key, such_as)
    if value == 0:
        raise table.refuse(key, f"must be more than 0, such as {such_as}")
    return value
