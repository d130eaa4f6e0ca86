"""A sweep of Weights & Biases, its YAML, as a sweep file to go on from.

What it says is translated, what it can't say (when training is good enough, where the program tells
its evaluations) is left for its user to write, and what has no equal here is said in comments.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from batchfront.errors import UsageError
from batchfront.workload.placeholders import BATCH_SIZE, PLACEHOLDERS, SEED, is_name
from batchfront.workload.program import TAKEN

_BATCH_SIZE = re.compile(r"(train_?)?batch_?size|bs|batch", re.IGNORECASE)
_DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_PROGRAM = "train.py"  # of a sweep that is begun in Python, and names none
_FEW = 32  # values of a quantized range that are listed


@dataclass
class _Translation:
    """What has been found of the sweep so far.

    space     -- dimension or value of each metaparameter, in TOML
    options   -- of the command: the name of each parameter there, and its text with a placeholder
    fixed     -- values of those that never change
    remarks   -- what couldn't be translated as it is, by the table that it concerns
    """

    space: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    texts: set[str] = field(default_factory=set)
    batch_sizes: Sequence[int] = ()
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def remark(self, table: str, text: str) -> None:
        self.remarks.setdefault(table, []).append(text)


def sweep_file_from(path: Path) -> str:
    """The text of a sweep file that says what the sweep in a YAML file does.

    Raises UsageError, in a line, if it isn't the YAML of a sweep.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: isn't UTF-8, at byte {error.start}") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter of a date that isn't one
        raise UsageError(f"{path}: isn't YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UsageError(f"{path}: its lists and mappings lie too deep in one another") from None
    _require_modest(path, config)
    if not isinstance(config, dict) or not isinstance(config.get("parameters"), dict):
        raise UsageError(f"{path}: is no sweep of Weights & Biases, which has `parameters`")
    return "\n".join(_lines(config, path.name)) + "\n"


def _require_modest(path: Path, config: object) -> None:
    """Raise UsageError for a YAML whose aliases make it endless, or far larger than any sweep."""
    held, left = 0, [config]
    while left:
        one = left.pop()
        inner = [*one, *one.values()] if isinstance(one, dict) else one
        left += inner if isinstance(inner, list) else []
        held += 1
        if held > _MOST:
            raise UsageError(f"{path}: holds more than {_MOST:,} values, as no sweep does")


_MOST = 100_000


def _lines(config: Mapping[str, Any], source: str) -> Iterator[str]:
    found = _Translation()
    _parameters(found, config["parameters"])
    command = _command(found, config)
    metric = config.get("metric") if isinstance(config.get("metric"), dict) else {}
    assert isinstance(metric, dict)
    name = str(metric.get("name", "")) or "val_loss"
    yield f"# From {source}, a sweep of Weights & Biases. What it doesn't say is yours to write,"
    yield "# in the lines that begin with #!; what could not be translated as it was follows #?."
    yield ""
    yield "[workload]"
    yield f"name = {_toml(_name(config))}  # dataset/model/optimizer, under which results are kept"
    if config.get("description"):
        yield f"description = {_toml(' '.join(str(config['description']).split()))}"
    program = config.get("program")
    asked = "" if isinstance(program, str) or "command" in config else "#! "
    yield f"{asked}command = ["
    yield from (f"{asked}    {_toml(word)}," for word in command)
    yield f"{asked}]"
    yield f"{'' if isinstance(program, str) else '#! '}code = {_toml([program or _PROGRAM])}"
    yield "# How a line that the program prints says its step and the metric; or a file that it"
    yield '# writes, by output_file = "{trial_dir}/..."; or output = "report".'
    yield f"#! output = 'step (?P<step>\\d+) .*{re.escape(name)} (?P<value>\\S+)'"
    yield f"metric = {_toml(name)}"
    yield f"better = {_toml('higher' if metric.get('goal') == 'maximize' else 'lower')}"
    if isinstance(metric.get("target"), int | float):
        yield f"goal = {_toml(metric['target'])}"
    else:
        yield f"#! goal = 0.5  # the value of {name} that is good enough"
    yield from _batch_sizes(found)
    yield "#! step_budget = 5000  # the updates after which a trial is given up"
    yield from _remarks(found, "workload")
    yield ""
    yield "[search_space]"
    yield from _remarks(found, "search_space")
    for metaparameter, dimension in found.space.items():
        yield f"{_key(metaparameter)} = {dimension}"
    yield ""
    yield "[search]"
    yield from _search(config)


def _name(config: Mapping[str, Any]) -> str:
    stem = PurePath(str(config.get("program") or _PROGRAM)).stem
    parts = (config.get("project") or "data", stem, config.get("name") or "sweep")
    return "/".join(re.sub(r"[^\w.-]+", "_", str(part)).strip("_") or "x" for part in parts)


def _batch_sizes(found: _Translation) -> Iterator[str]:
    if found.batch_sizes:
        yield f"batch_sizes = {_toml(list(found.batch_sizes))}"
        return
    yield "#! batch_sizes = [8, 32, 128]"
    if BATCH_SIZE not in found.options.values():
        yield "#? the sweep has no batch size: tell the program by {batch_size} in the command"


def _remarks(found: _Translation, table: str) -> Iterator[str]:
    for remark in found.remarks.get(table, ()):
        yield f"#? {remark}"


def _search(config: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(config.get("run_cap"), int):
        yield f"trials = {config['run_cap']}  # for each batch size"
    method = config.get("method")
    if method == "bayes":
        yield 'sampler = "tpe"  # the sweep\'s method is bayes'
    elif method == "grid":
        yield "#? the method is grid; points are quasi-random, and cover the space as well"
    if "early_terminate" in config:
        yield "#? early_terminate isn't needed: trials race, and end when they can't win any more"


# -- parameters


def _parameters(found: _Translation, parameters: Mapping[str, Any], inside: str = "") -> None:
    """Translate parameters, those of a nested table by their path."""
    for key, said in parameters.items():
        name = f"{inside}{key}"
        if not isinstance(said, dict):
            found.remark("search_space", f"{name}: {said!r} is no parameter; left out")
        elif isinstance(said.get("parameters"), dict):
            found.remark(
                "search_space",
                f"{name} is nested, and given to the program as --{name}.NAME=VALUE here",
            )
            _parameters(found, said["parameters"], f"{name}.")
        elif _BATCH_SIZE.fullmatch(str(key)) and not found.batch_sizes:
            found.options[name] = BATCH_SIZE
            found.batch_sizes = _sizes(found, name, said)
        elif str(key) == SEED:
            found.options[name] = SEED
            found.remark("search_space", "seed is each trial's own, and not searched")
        else:
            _parameter(found, name, said)


def _parameter(found: _Translation, name: str, said: Mapping[str, Any]) -> None:
    try:
        dimension = _dimension(found, name, said)
    except (KeyError, TypeError, ValueError, OverflowError):
        shown = json.dumps(said, default=str)
        found.remark("search_space", f"{name}: {shown} could not be translated; left out")
        return
    ours = name if is_name(name) else re.sub(r"[^A-Za-z0-9_.-]", "_", f"p_{name}")
    if ours in PLACEHOLDERS or ours in TAKEN:
        ours = f"my_{ours}"
    if ours != name:
        found.remark("search_space", f"{name} is {ours} here, as {{{name}}} has another meaning")
    found.space[ours] = dimension
    found.options[name] = ours


def _sizes(found: _Translation, name: str, said: Mapping[str, Any]) -> list[int]:
    values = said.get("values", [said["value"]] if "value" in said else None)
    if values is None and {"min", "max"} <= said.keys():
        low, high = float(said["min"]), float(said["max"])
        if "log_uniform" in str(said.get("distribution")) and "values" not in said["distribution"]:
            low, high = math.exp(low), math.exp(high)
        values = [1 << n for n in range(40) if low <= 1 << n <= high]
        found.remark("workload", f"{name} was a range; these are the powers of two in it")
    sizes = sorted({v for v in values or () if isinstance(v, int) and not isinstance(v, bool)})
    return [size for size in sizes if size >= 1]


def _dimension(found: _Translation, name: str, said: Mapping[str, Any]) -> str:
    """A dimension or a value in TOML; what differs from the sweep's becomes a remark.

    Raises KeyError, TypeError or ValueError for what is no parameter that is known.
    """
    if "probabilities" in said:
        found.remark("search_space", f"{name}: its values are equally likely here")
    kind = str(said.get("distribution") or _implied(said))
    if kind == "constant":
        return _fixed(found, name, said["value"])
    if kind in ("categorical", "categorical_w_probabilities"):
        values = [_scalar(value) for value in said["values"]]
        if len(values) == 1:
            return _fixed(found, name, values[0])
        if any(isinstance(value, str) for value in values):
            found.texts.add(name)
        return f"{{choice = {_toml(values)}}}"
    if kind in ("normal", "q_normal", "log_normal", "q_log_normal"):
        return _around(found, name, kind, said)
    low, high = float(said["min"]), float(said["max"])
    if kind in ("log_uniform", "q_log_uniform"):
        low, high = _short(math.exp(low)), _short(math.exp(high))
    elif kind == "inv_log_uniform":
        low, high = _short(math.exp(-high)), _short(math.exp(-low))
    return _range(found, name, kind, low, high, said.get("q", 1 if kind.startswith("q_") else None))


def _implied(said: Mapping[str, Any]) -> str:
    """The distribution of a parameter that names none, as Weights & Biases takes it."""
    if "value" in said:
        return "constant"
    if "values" in said:
        return "categorical"
    if "mu" in said:
        return "normal"
    whole = all(isinstance(said[end], int) for end in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _range(
    found: _Translation, name: str, kind: str, low: float, high: float, step: float | None
) -> str:
    log = "log" in kind
    if kind not in _UNIFORM:
        raise ValueError(kind)
    if not low < high:
        return _fixed(found, name, low)
    if kind == "int_uniform" or (step == 1 and math.ceil(low) < math.floor(high)):
        ends = _toml([math.ceil(low), math.floor(high)])
        return f"{{integer = {ends}{', log = true' if log else ''}}}"
    if step is not None and not log and (high - low) / step < _FEW:
        return f"{{choice = {_toml(_steps(low, high, step))}}}"
    if step is not None:
        found.remark("search_space", f"{name} isn't rounded to multiples of {step:g} here")
    if not log and low > 0 and high / low >= 100:
        found.remark("search_space", f"{name} spans decades: {{log = [...]}} suits such a range")
    return f"{{{'log' if log else 'linear'} = {_toml([low, high])}}}"


_UNIFORM = {
    "int_uniform",
    "uniform",
    "q_uniform",
    *(f"{q}log_uniform{values}" for q in ("", "q_", "inv_") for values in ("", "_values")),
}


def _steps(low: float, high: float, step: float) -> list[float]:
    """The multiples of `step` from one end to the other, as they are written."""
    digits = max(0, -math.floor(math.log10(step)) + 2)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, digits) for n in range(first, last + 1)]


def _around(found: _Translation, name: str, kind: str, said: Mapping[str, Any]) -> str:
    """The range of two standard deviations, instead of a normal distribution."""
    mean, spread = float(said.get("mu", 0)), float(said.get("sigma", 1))
    found.remark(
        "search_space",
        f"{name} was {kind}(mu {mean:g}, sigma {spread:g}); here it is even, within two sigma",
    )
    low, high = mean - 2 * spread, mean + 2 * spread
    if "log" in kind:
        low, high = math.exp(low), math.exp(high)
    ends = _toml([_short(low), _short(high)])
    return f"{{{'log' if 'log' in kind else 'linear'} = {ends}}}"


def _short(number: float) -> float:
    return float(f"{number:.6g}")


def _scalar(value: object) -> bool | int | float | str:
    """A value that a metaparameter can have. YAML takes 1e-4, without a point, for a text.

    Raises TypeError for any other.
    """
    if not isinstance(value, bool | int | float | str):
        raise TypeError(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+[eE][+-]?\d+", value):
        return float(value)
    return value


def _fixed(found: _Translation, name: str, value: object) -> str:
    value = _scalar(value)
    found.fixed[name] = value
    if isinstance(value, str):
        found.texts.add(name)
    return _toml(value)


# -- the command


def _command(found: _Translation, config: Mapping[str, Any]) -> list[str]:
    said = config.get("command")
    words = [str(word) for word in said] if isinstance(said, list) else [*_DEFAULT_COMMAND]
    return [
        text
        for word in words
        for text in _words(found, word, str(config.get("program") or _PROGRAM))
    ]


def _words(found: _Translation, word: str, program: str) -> list[str]:
    """What stands in a command for one of the sweep's words."""
    options = {name: f"{{{ours}}}" for name, ours in found.options.items()}
    macro = word.removeprefix("${").removesuffix("}") if word.startswith("${") else ""
    if macro == "env":
        return []  # which finds the interpreter on PATH, as it is found anyway
    if macro == "interpreter":
        return ["python"]
    if macro == "program":
        return [_literal(program)]
    if macro in ("args", "args_no_hyphens"):
        _write_flags_as_python(found)
        dashes = "--" if macro == "args" else ""
        return [f"{dashes}{name}={placeholder}" for name, placeholder in options.items()]
    if macro == "args_no_boolean_flags":
        return list(_without_flags(found, options))
    if macro == "args_json":
        return [_json(found, options)]
    if macro == "args_json_file":
        found.remark("workload", "the JSON file has batch_size, seed and step_budget too here")
        return ["{metaparameters}"]
    if "${" in word:
        found.remark("workload", f"{word} in the command could not be translated")
    return [_literal(word)]


def _write_flags_as_python(found: _Translation) -> None:
    """Have what is true or false be texts, which the program is given as its sweep gave them."""
    for name, dimension in found.space.items():
        if dimension in (*_FLAGS, "true", "false"):
            found.space[name] = re.sub("true|false", lambda f: f'"{f[0].title()}"', dimension)


def _without_flags(found: _Translation, options: Mapping[str, str]) -> Iterator[str]:
    """Options, of which those that are true stand alone and those that are false are left out."""
    for name, placeholder in options.items():
        value = found.fixed.get(name)
        if isinstance(value, bool):
            del found.space[found.options[name]]  # it stands in the command
            if value:
                yield f"--{name}"
            continue
        if found.space.get(found.options[name]) in _FLAGS:
            found.remark("workload", f"--{name} was a flag: it is --{name}=true or =false here")
        yield f"--{name}={placeholder}"


_FLAGS = ("{choice = [true, false]}", "{choice = [false, true]}")


def _json(found: _Translation, options: Mapping[str, str]) -> str:
    """An object of JSON, with placeholders for its values."""
    entries = [
        f"{json.dumps(name)}: " + (f'"{text}"' if name in found.texts else text)
        for name, text in options.items()
    ]
    return f"{{{{{', '.join(entries)}}}}}"


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


# -- TOML


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    """A value as TOML writes it. Raises TypeError for what it has none for."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    raise TypeError(value)
