"""A workload's fingerprint: it sees what can change a result, names it, and nothing else."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from batchfront.workload import catalog
from batchfront.workload.code import walk as code_walk
from batchfront.workload.code.fingerprint import Fingerprint
from batchfront.workload.code.versions import changes, digest
from batchfront.workload.data import Split, Splits
from batchfront.workload.goal import Goal
from batchfront.workload.metrics import Metric
from batchfront.workload.user_file import function_in
from tests.toy import clouds, splits

FILE = '''
"""A workload that uses most of what Python has."""
import functools
import math
import os
from dataclasses import dataclass, replace

import torch
from torch import nn

import helpers
from helpers import Base, halved as half, scale
from parts.layers import Gate
from batchfront import (
    Goal, Metric, Schedule, Split, Splits, TorchOptimizer, Workload, cross_entropy,
)

WIDTH = 4
PAIRS = (1, 2)
SLOPE = float(os.environ.get("FINGERPRINT_SLOPE", "1"))
ACTIVATIONS = {}


def register(function):
    ACTIVATIONS[function.__name__] = function
    return function


@register
def squashed(x):
    return torch.tanh(x)


def seeded(function):
    @functools.wraps(function)
    def made():
        return function(torch.Generator().manual_seed(3))

    return made


@seeded
def data(generator):
    """Examples in the plane."""
    inputs = torch.randn(32, 2, generator=generator)
    split = Split(inputs, (inputs[:, 0] > 0).long())
    return Splits(split, split)


class Net(Base):
    """Two layers."""

    slope = 0.5

    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(2, width)
        self.last = nn.Linear(width, 2)
        self.gate = Gate()
        self.power = lambda x: x**1

    def forward(self, x):
        def bent(y):
            return y + self.slope

        hidden = ACTIVATIONS["squashed"](self.first(x))
        return self.gate(self.last(self.power(bent(hidden)) * scale() * helpers.shift() * SLOPE))


def net(*, width, depth):
    assert depth
    return Net(width)


def smoothed(amount):
    def loss(outputs, targets, *, bound=2.0):
        from helpers import margin

        return cross_entropy(outputs, targets) * amount + margin(bound)

    return loss


@dataclass(frozen=True)
class Halving(Schedule):
    every: int

    def metaparameters(self):
        return {}

    def factor(self, step, values):
        return half(step // self.every)


def adamw(parameters, *, learning_rate, beta=0.9):
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=(beta, 0.99))


def wrong(outputs, targets):
    return (outputs.argmax(dim=1) != targets).float() + 0 * len(PAIRS)


def unrelated(x):
    return x + 1


def workload() -> Workload:
    return Workload(
        name="a/b/adamw",
        data=data,
        model=functools.partial(net, width=WIDTH, depth=1),
        loss=smoothed(1.0),
        algorithm=TorchOptimizer("adamw", adamw),
        goal=Goal(Metric("wrong", wrong, "lower", high=1.0), 0.1),
        search_space={"learning_rate": 0.1},
        step_budget=100,
        batch_sizes=(2, 4),
        schedule=Halving(10),
        weight=lambda targets: torch.ones(len(targets)),
    )


if __name__ == "__main__":
    print(workload())
'''

HELPERS = """
import torch
from torch import nn

FACTOR = 3


class Base(nn.Module):
    def extra(self):
        return 1


def halved(k):
    return 0.5**k


def doubled(k):
    return 2.0**k


def scale():
    return FACTOR / 3


def shift():
    return 1.0


def margin(bound):
    return 0.0


def unused():
    return 1
"""

LAYERS = """
from torch import nn
from torch.nn.functional import relu as bend


class Gate(nn.Module):
    def forward(self, x):
        return bend(x)
"""

Written = Callable[..., dict[str, str]]


@pytest.fixture
def code(tmp_path: Path) -> Written:
    """The code of the workload with some of its text replaced, each time in a folder anew."""

    def write(
        file: str = "", old: str = "", new: str = "", name: str = "mine.py"
    ) -> dict[str, str]:
        texts = {
            name: FILE,
            "helpers.py": HELPERS,
            "parts/__init__.py": "",
            "parts/layers.py": LAYERS,
        }
        if file:
            assert old in texts[file], old
            texts[file] = texts[file].replace(old, new)
        folder = tmp_path / f"version{len(list(tmp_path.iterdir()))}"
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        found = Fingerprint.of(catalog.load(f"{folder / name}:workload"))
        return {**found.parts, **found.data}

    return write


SEEN: Mapping[str, tuple[str, str, str, list[str]]] = {
    "forward": ("mine.py", "self.power(bent(hidden))", "bent(hidden)", ["mine.py:Net"]),
    "nested function": ("mine.py", "y + self.slope", "y - self.slope", ["mine.py:Net"]),
    "lambda in a class": ("mine.py", "x**1", "x**2", ["mine.py:Net"]),
    "class attribute": ("mine.py", "slope = 0.5", "slope = 0.6", ["mine.py:Net"]),
    "loss": ("mine.py", "* amount + margin", "* amount - margin", ["mine.py:smoothed.loss"]),
    "default argument": ("mine.py", "bound=2.0", "bound=3.0", ["mine.py:smoothed.loss"]),
    "closure's value": ("mine.py", "smoothed(1.0)", "smoothed(2.0)", ["mine.py:smoothed.loss"]),
    "partial's argument": ("mine.py", "depth=1", "depth=2", ["model"]),
    "constant in a partial": ("mine.py", "WIDTH = 4", "WIDTH = 5", ["model"]),
    "constant": ("mine.py", "PAIRS = (1, 2)", "PAIRS = (1, 3)", ["mine.py:PAIRS"]),
    "metric": ("mine.py", "!= targets", "== targets", ["mine.py:wrong"]),
    "metric's bounds": ("mine.py", "high=1.0", "high=2.0", ["metric"]),
    "optimizer factory": ("mine.py", "(beta, 0.99)", "(beta, 0.999)", ["mine.py:adamw"]),
    "factory's default": ("mine.py", "beta=0.9", "beta=0.8", ["mine.py:adamw"]),
    "schedule": ("mine.py", "step // self", "step % self", ["mine.py:Halving"]),
    "schedule's field": ("mine.py", "Halving(10)", "Halving(20)", ["schedule"]),
    "weight, a lambda": ("mine.py", "torch.ones", "torch.zeros", ["mine.py:workload.lambda"]),
    "data": ("mine.py", "torch.randn(32", "torch.rand(32", ["mine.py:data"]),
    "decorator": (
        "mine.py",
        "manual_seed(3)",
        "manual_seed(4)",
        ["mine.py:seeded", "mine.py:seeded.made"],
    ),
    "registered": ("mine.py", "torch.tanh", "torch.relu", ["mine.py:squashed"]),
    "function beside": ("helpers.py", "0.5**k", "0.4**k", ["helpers.py:halved"]),
    "module's attribute": ("helpers.py", "return 1.0", "return 2.0", ["helpers.py:shift"]),
    "imported when called": ("helpers.py", "return 0.0", "return 0.1", ["helpers.py:margin"]),
    "constant beside": ("helpers.py", "FACTOR = 3", "FACTOR = 4", ["helpers.py:FACTOR"]),
    "base class": ("helpers.py", "return 1\n\n\ndef h", "return 2\n\n\ndef h", ["helpers.py:Base"]),
    "package beside": ("parts/layers.py", "bend(x)", "-bend(x)", ["layers.py:Gate"]),
    "what an import brings": ("parts/layers.py", "relu as", "gelu as", ["layers.py:Gate"]),
    "which function is imported": (
        *("mine.py", "halved as half", "doubled as half"),
        ["mine.py:Halving", "helpers.py:doubled (new)", "helpers.py:halved (gone)"],
    ),
    "what a module does": (
        *("helpers.py", "FACTOR = 3", "FACTOR = 3\ntorch.set_printoptions(precision=3)"),
        ["helpers.py:what it does when it is imported (new)"],
    ),
    "a patched method": (
        *("mine.py", "def unrelated", "Net.forward = lambda self, x: x\n\n\ndef unrelated"),
        ["mine.py:Net", "mine.py:lambda"],
    ),
}


@pytest.mark.parametrize("kind", SEEN)
def test_whatever_can_change_a_result_is_seen_and_named(code: Written, kind: str) -> None:
    *edit, names = SEEN[kind]
    before, now = code(), code(*edit)
    assert digest(before) != digest(now)
    found = changes(before, now)
    assert set(names) <= set(found)
    others = [name for name in found if name not in names]
    assert all("what it does" in name for name in others), found


REGISTER = """
class Register:
    def __init__(self):
        self.known = {}

    def __call__(self, function):
        self.known[function.__name__] = function
        return function


REGISTER = Register()
"""

REACHED: Mapping[str, tuple[dict[str, str], list[tuple[str, str, str]], list[str]]] = {
    "in a register of the user's own": (
        {
            "one.py": f"{REGISTER}\n\n@REGISTER\ndef half(x):\n    return x / 2\n\n\n"
            "def loss(o, t):\n    return REGISTER.known['half'](o)\n"
        },
        [("one.py", "x / 2", "x / 3")],
        ["one.py:half"],
    ),
    "in a register of single dispatch": (
        {
            "one.py": "import functools\n\n\n@functools.singledispatch\ndef half(x):\n"
            "    return x\n\n\n@half.register\ndef _(x: int):\n    return x / 2\n\n\n"
            "def loss(o, t):\n    return half(1)\n"
        },
        [("one.py", "x / 2", "x / 3")],
        ["one.py:_"],
    ),
    "a subclass that its base knows": (
        {
            "one.py": "class Base:\n    known = {}\n\n    def __init_subclass__(cls):\n"
            "        Base.known[cls.__name__] = cls\n\n\nclass Half(Base):\n    by = 2\n\n\n"
            "def loss(o, t):\n    return o / Base.known['Half'].by\n"
        },
        [("one.py", "by = 2", "by = 3")],
        ["one.py:Half"],
    ),
    "by way of sys.modules": (
        {
            "one.py": "import sys\n\n\ndef half(x):\n    return x / 2\n\n\n"
            "def loss(o, t):\n    return getattr(sys.modules[__name__], 'ha' + 'lf')(o)\n"
        },
        [("one.py", "x / 2", "x / 3")],
        ["one.py:half"],
    ),
    "unless run as a script": (
        {
            "one.py": "BY = 1\nif __name__ != '__main__':\n    BY = 2\n\n\n"
            "def loss(o, t):\n    return o / BY\n"
        },
        [("one.py", "BY = 2", "BY = 3")],
        ["one.py:BY"],
    ),
    "numbers of a file, read at the import": (
        {
            "one.py": "import json\nfrom pathlib import Path\n\n"
            "with (Path(__file__).parent / 'by.json').open() as file:\n    BY = json.load(file)\n"
            "\n\ndef loss(o, t):\n    return o / BY['classes'][0]\n",
            "by.json": '{"classes": [2, 2]}',
        },
        [("by.json", "[2", "[3")],
        ["one.py:BY"],
    ),
    "a tensor, however it was made": (
        {
            "one.py": "import torch\nfrom pathlib import Path\n\n\ndef numbers():\n"
            "    return torch.tensor(eval((Path(__file__).parent / 'by.txt').read_text()))\n\n\n"
            "BY = numbers()\n\n\ndef loss(o, t):\n    return o / BY\n",
            "by.txt": "[2.0, 2.0]",
        },
        [("by.txt", "[2", "[3")],
        ["one.py:BY"],
    ),
    "which of two of one name": (
        {
            "one.py": "from first import net\nfrom second import other\n\n\n"
            "def loss(o, t):\n    return net(o) + other(o)\n",
            "first.py": "from left import half\n\n\ndef net(x):\n    return half(x)\n",
            "second.py": "from right import half\n\n\ndef other(x):\n    return -half(x)\n",
            "left.py": "def half(x):\n    return x / 2\n",
            "right.py": "def half(x):\n    return x / 3\n",
        },
        [("first.py", "left", "right"), ("second.py", "right", "left")],
        ["which half is used"],
    ),
}


@pytest.mark.parametrize("kind", REACHED)
def test_code_that_is_reached_in_a_roundabout_way_is_seen(tmp_path: Path, kind: str) -> None:
    texts, edits, names = REACHED[kind]

    def code(folder: str, texts: Mapping[str, str]) -> Mapping[str, str]:
        (tmp_path / folder).mkdir()
        for name, text in texts.items():
            (tmp_path / folder / name).write_text(text)
        loss = function_in(tmp_path / folder / "one.py", "loss")
        return Fingerprint.of(replace(clouds(), loss=loss)).parts  # type: ignore[arg-type]

    edited = dict(texts)
    for name, old, new in edits:
        assert old in edited[name]
        edited[name] = edited[name].replace(old, new)
    assert changes(code("before", texts), code("now", edited)) == names


IGNORED = {
    "comment": ("mine.py", "    def forward", "    # forwards\n    def forward"),
    "docstring": ("mine.py", '"""Two layers."""', '"""Two layers, and more."""'),
    "formatting": (
        "mine.py",
        "betas=(beta, 0.99)",
        "betas=(\n        beta,\n        0.990,\n    )",
    ),
    "annotation": (
        "mine.py",
        "def wrong(outputs, targets)",
        "def wrong(outputs: int, targets) -> int",
    ),
    "unrelated function": ("mine.py", "return x + 1", "return x + 2"),
    "another function": (
        "mine.py",
        "def unrelated",
        "def second():\n    return 2\n\n\ndef unrelated",
    ),
    "what is run as a script": ("mine.py", "print(workload())", "print(1)"),
    "unused beside": ("helpers.py", "def unused():\n    return 1", "def unused():\n    return 2"),
    "an import": ("mine.py", "import math\n", ""),
    "batch sizes": ("mine.py", "batch_sizes=(2, 4)", "batch_sizes=(2, 4, 8)"),
    "a name for an import": (
        "mine.py",
        "from parts.layers import Gate",
        "from parts.layers import Gate\n",
    ),
}


@pytest.mark.parametrize("kind", IGNORED)
def test_what_cant_change_a_result_is_not_seen(code: Written, kind: str) -> None:
    before, now = code(), code(*IGNORED[kind])
    assert (digest(before), changes(before, now)) == (digest(now), [])


def test_a_file_that_is_renamed_and_a_folder_that_is_moved_are_the_same_code(code: Written) -> None:
    assert digest(code()) == digest(code(name="renamed.py"))


def test_code_may_ask_where_it_lies(code: Written) -> None:
    asks = ("mine.py", "len(PAIRS)", "len(__name__ + __file__)")
    assert digest(code(*asks)) == digest(code(*asks))  # in another folder


def test_a_function_that_moves_to_another_file_is_the_same_code(code: Written) -> None:
    moved = code("mine.py", "from parts.layers import Gate", f"{LAYERS}\n")
    assert digest(code()) == digest(moved)


def test_a_constant_from_the_environment_is_seen_by_its_value(
    code: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = code()
    monkeypatch.setenv("FINGERPRINT_SLOPE", "2")
    assert changes(before, code()) == ["mine.py:SLOPE"]


def test_code_reached_by_a_name_that_is_not_written_counts_with_its_whole_module(
    code: Written,
) -> None:
    reach = ("mine.py", "scale() *", "getattr(helpers, 'un' + 'used')() * scale() *")
    before = code(*reach)
    assert "helpers.py:unused" in before
    assert "helpers.py:unused" not in code()


def test_the_version_of_a_package_that_a_loss_uses_counts(
    code: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    uses = (
        "mine.py",
        "return cross_entropy(",
        "import click.utils\n\n        return cross_entropy(",
    )
    before = code(*uses)
    assert "click" in before
    assert "click" not in code()
    monkeypatch.setattr(code_walk, "package_version", lambda _: "99")
    assert changes(before, code(*uses)) == [f"click ({before['click']}, now 99)"]


def test_how_data_are_made_counts_only_where_not_every_example_is_summed(code: Written) -> None:
    class Lazy(Split):
        pass

    found = Fingerprint.of(clouds())
    assert "toy.py:splits" not in found.code(splits())
    lazy = Lazy(splits().train.inputs, splits().train.targets)  # type: ignore[attr-defined]
    assert "toy.py:splits" in found.code(Splits(lazy, lazy))


def test_code_whose_source_is_gone_is_seen_all_the_same() -> None:
    """As of a notebook: what was compiled takes the place of what was written."""

    def made(body: str) -> Fingerprint:
        names = {"torch": torch, "__name__": "__main__"}
        exec(f"K = 2\ndef wrong(outputs, targets):\n    '''Doc.'''\n    return {body}", names)
        goal = Goal(Metric("wrong", names["wrong"], "lower"), 0.1)  # type: ignore[arg-type]
        return Fingerprint.of(replace(clouds(), goal=goal))

    one, same, other = (
        made("outputs[:, 0] * K"),
        made("outputs[:, 0] * K"),
        made("outputs[:, 1] * K"),
    )
    assert digest(one.parts) == digest(same.parts) != digest(other.parts)
    assert changes(one.parts, other.parts) == ["__main__:wrong"]


def test_a_file_edited_after_it_was_imported_is_not_taken_for_what_runs(tmp_path: Path) -> None:
    (tmp_path / "edited_late.py").write_text("def loss(o, t):\n    return (o - t).sum()\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import edited_late  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    workload = replace(clouds(), loss=edited_late.loss)
    (tmp_path / "edited_late.py").write_text("def loss(o, t):\n    return (o + t).sum()\n")
    late = Fingerprint.of(workload).parts
    (tmp_path / "edited_late.py").write_text("def loss(o, t):\n    return (o - t).sum()\n")
    ran = Fingerprint.of(workload).parts
    assert "edited_late.py:loss" in late
    assert late["edited_late.py:loss"] == ran["edited_late.py:loss"]  # what was first looked at


def test_code_that_calls_on_and_on_is_followed_to_its_end(tmp_path: Path) -> None:
    """Further than Python's own stack goes."""

    def code(last: str) -> Mapping[str, str]:
        calls = "".join(f"def f{n}(x, t=0):\n    return f{n + 1}(x)\n\n\n" for n in range(600))
        (tmp_path / f"calls{last}.py").write_text(f"{calls}def f600(x):\n    return x + {last}\n")
        loss = function_in(tmp_path / f"calls{last}.py", "f0")
        return Fingerprint.of(replace(clouds(), loss=loss)).parts  # type: ignore[arg-type]

    assert changes(code("1"), code("2")) == ["calls2.py:f600"]


def test_a_part_that_cant_be_looked_at_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Shy:
        def __call__(self, outputs: object, targets: object) -> None: ...

        @property
        def __dict__(self) -> dict[str, object]:  # type: ignore[override]
            raise OSError("not here")

    with caplog.at_level(logging.WARNING):
        found = Fingerprint.of(replace(clouds(), loss=Shy()))  # type: ignore[arg-type]
    assert found.parts["loss"] == "not followed"
    assert "changes in the code of the loss are not seen: " in caplog.text
    assert "OSError: not here" in caplog.text


def test_weights_that_a_model_begins_with_count() -> None:
    def begun(value: float) -> dict[str, str]:
        template = nn.Linear(2, 3)
        nn.init.constant_(template.weight, value)
        nn.init.zeros_(template.bias)
        return dict(Fingerprint.of(replace(clouds(), model=lambda: template)).parts)

    assert digest(begun(0.5)) == digest(begun(0.5)) != digest(begun(0.25))


def test_another_process_finds_the_same() -> None:
    """Whatever the order of sets and the ids of objects there."""
    program = (
        "import json\n"
        "from batchfront.workload import catalog\n"
        "from batchfront.workload.code.fingerprint import Fingerprint\n"
        "print(json.dumps(dict(Fingerprint.of(catalog.load('digits/mlp/adamw')).parts)))"
    )
    run = [sys.executable, "-c", program]
    there = json.loads(subprocess.run(run, capture_output=True, check=True, text=True).stdout)
    assert there == Fingerprint.of(catalog.load("digits/mlp/adamw")).parts
    assert {"digits.py:_adamw", "fully_connected.py:fully_connected"} <= there.keys()


def test_an_update_of_the_user_s_own_counts(tmp_path: Path) -> None:
    text = """
import torch
from torch import nn
from batchfront import ERROR_RATE, Goal, Log, Split, Splits, Workload

def update(model, batch, optimizer):
    loss = model(batch[0]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss

def workload():
    some = lambda: Split(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
    return Workload(
        name="a/b/c", data=lambda: Splits(some(), some()), model=lambda: nn.Linear(2, 2),
        update=update, algorithm=torch.optim.SGD, goal=Goal(ERROR_RATE, 0.1),
        search_space={"learning_rate": Log(0.1, 1.0)}, step_budget=9, batch_sizes=(2,),
    )
"""
    found = []
    for folder, edited in (("one", text), ("other", text.replace("square()", "abs()"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(edited)
        made = function_in(tmp_path / folder / "mine.py", "workload")
        assert callable(made)
        found.append(Fingerprint.of(made()).parts)
    assert changes(*found) == ["mine.py:update"]
