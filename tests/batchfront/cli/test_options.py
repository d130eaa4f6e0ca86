"""A field that is an option is a flag, an environment variable, and a line of the help."""

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from batchfront.cli import options
from batchfront.cli import plan as planning
from batchfront.cli import work as working
from batchfront.errors import UsageError
from batchfront.options import DURATION, at_least, check, option, options_of
from batchfront.plan.options import SearchOptions
from batchfront.vocabulary import Count
from batchfront.worker.options import WorkerOptions


@dataclass(frozen=True)
class Options:
    trials: int | None = option(int, "Trials.", must=at_least(1), fallback=32)
    count: str | None = option(str, "What counts.", choices=tuple(Count), fallback=Count.ALL)
    longest: float = option(DURATION, "How long.", default=5400.0)
    stay: bool = option(bool, "Stay.", flags="--stay/--go", otherwise="stay", default=True)
    old: int | None = option(int, "Trials.", superseded="--trials")
    share: float | None = option(float, "How much.", otherwise="all")
    left_out: int | None = option(int, "Not here.")

    def __post_init__(self) -> None:
        check(self)


@click.command()
@options.told(Options, "taken", without=("left_out",))
@click.argument("name")
def command(name: str, taken: Options) -> None:
    """Take them."""
    click.echo(f"{name} {taken}")


def test_the_command_takes_them_as_one() -> None:
    told = ["--trials", "4", "--count", "feasible", "--longest", "2h", "--go", "--old", "1", "me"]
    expected = Options(4, Count.FEASIBLE, 7200.0, stay=False, old=1)
    assert CliRunner().invoke(command, told).output == f"me {expected}\n"
    assert CliRunner().invoke(command, ["me"]).output == f"me {Options()}\n"


def test_the_environment_says_what_the_command_line_does_not() -> None:
    runner = CliRunner(env={"BATCHFRONT_LONGEST": "30s", "BATCHFRONT_STAY": "no"})
    assert runner.invoke(command, ["me"]).output == f"me {Options(longest=30.0, stay=False)}\n"


def test_what_an_option_has_not_is_refused() -> None:
    assert isinstance(CliRunner().invoke(command, ["--trials", "0", "me"]).exception, UsageError)
    refused = CliRunner().invoke(command, ["--longest", "soon", "me"])
    assert "'soon' is not a duration; write 90s, 30m, 12h or 1d" in refused.output
    refused = CliRunner().invoke(command, ["--count", "none", "me"])
    assert "'none' is not one of 'all', 'feasible'" in refused.output


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("3%", "'3%' is not a number; write 0.03"),
        ("97 %", "; write 0.97"),
        (".5%", "; write 0.005"),
        ("-3%", "; write -0.03"),
        ("0,03", "; write 0.03"),
        ("0,125", "; write 0.125"),
        ("1,000", "'1,000' is not a number\n"),  # which may be a thousand
        ("%", "'%' is not a number\n"),
        ("soon", "'soon' is not a number\n"),
    ],
)
def test_of_a_number_written_otherwise_it_is_said_how_it_is_written(
    written: str, says: str
) -> None:
    assert says in CliRunner().invoke(command, [f"--share={written}", "me"]).output


def test_the_help_has_what_is_said_of_each_and_its_default() -> None:
    shown = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for line in (
        "--trials INTEGER Trials. [default: 32]",
        "--count [all|feasible] What counts. [default: all]",
        "--longest DURATION How long. [default: 90m]",
        "--stay / --go Stay. [default: stay]",
    ):
        assert line in shown
    assert "--old" not in shown
    assert "--left-out" not in shown


@pytest.mark.parametrize(
    ("taker", "kind"), [(planning.command, SearchOptions), (working.command, WorkerOptions)]
)
def test_every_option_of_a_search_or_a_worker_is_one_of_the_command_line(
    taker: click.Command, kind: type
) -> None:
    there = {parameter.name: parameter for parameter in taker.params}
    for name, said in options_of(kind).items():
        flag = there[name]
        assert isinstance(flag, click.Option)
        assert flag.hidden == bool(said.superseded)
        assert said.help in (flag.help or "")
        assert said.help.endswith(".")
