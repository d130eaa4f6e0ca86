"""The `batchfront` command: its subcommands, and how errors become one line and an exit code."""

import logging
import os
import platform
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from batchfront import __version__
from batchfront.cli.help import Formatter
from batchfront.cli.output.lines import LOG_LINES, LogHandler, complain, put
from batchfront.cli.streams import close_output, give_up_output, open_streams
from batchfront.errors import BatchfrontError, OutputLost
from batchfront.extras import installed, missing_for_training

_COMMANDS = {  # in the order in which --help shows them
    "run": "Plan, race and report a workload on this machine.",
    "new": "Write a program, a loop or a workload to start from.",
    "plan": "Create a workload's studies, without running any trial.",
    "init": "Make a database's tables, or upgrade them.",
    "work": "Run trials of planned studies until none is left.",
    "launch": "Start workers on this machine, Slurm, Ray or Kubernetes.",
    "status": "Show how far the studies are, and who works on them.",
    "logs": "Print what a trial's program has printed.",
    "frontier": "Print steps to target against batch size.",
    "analyze": "Compare workloads, and look at one more closely.",
    "confirm": "Run each winner again with fresh seeds.",
    "curve": "Fit the curve, and say how far a larger batch helps.",
    "time": "Time the parts of training on this machine.",
    "probe": "Foretell how far a larger batch helps, from one run.",
    "recipe": "Print how to train at a batch size.",
    "advise": "Say on how many devices to train, how long, for how much.",
    "model": "Write the model that won, with its recipe.",
    "replay": "Run a trial again by itself, and write its weights.",
    "report": "Write the interactive report page.",
    "import": "Bring in trials and numbers from elsewhere.",
    "export": "Write studies, trials, measurements and frontier as tables.",
    "track": "Write trials to MLflow, W&B, TensorBoard or trackio.",
    "delete": "Delete a workload's studies, with all that was run.",
    "workloads": "List the workloads there are, or show one.",
    "doctor": "Look for what keeps a search from going on.",
    "dashboard": "Open the Optuna dashboard on the studies.",
}


click.Context.formatter_class = Formatter  # of all commands, whatever their class

_TELLING = (  # which engine a heat gets, and that a loop is tried
    "batchfront.worker.engine_choice",
    "batchfront.training.vectorized.engine",
    "batchfront.training.loops.preflight",
)


def command(name: str) -> click.Command:
    """A subcommand, from the module of its name."""
    module = import_module(f"batchfront.cli.{name}{'_' if iskeyword(name) else ''}")
    found: click.Command = module.command
    return found


class _Commands(click.Group):
    """Imports a subcommand's module only when it is asked for: some take seconds to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command(cmd_name) if cmd_name in _COMMANDS else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=about)
            for name, about in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        options = click.Command.shell_complete(self, ctx, incomplete)  # a group's imports them all
        return [*commands, *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        beside = {"torch": installed("torch"), "Optuna": installed("optuna")}
        versions = [f"{name} {known or 'not installed'}" for name, known in beside.items()]
        put(f"batchfront {__version__}")
        put(", ".join([f"Python {platform.python_version()}", *versions]))
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: batchfront run digits/mlp/momentum",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version, with those of Python, torch and Optuna, and exit.",
)
def cli() -> None:
    """How far does a larger batch speed up training?

    batchfront tunes a workload's metaparameters afresh at every batch size, racing the trials of
    each to the goal, and prints the fewest steps to target against batch size.

    Options can also be set in the environment: --storage as BATCHFRONT_STORAGE, and so on.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 where
    whoever read standard output has gone."""
    if os.environ.get(_COMPLETE, "").endswith("_complete"):
        _complete()
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments or os.environ.get("BATCHFRONT_DEBUG", "") not in ("", "0")
    if open_streams():
        sys.excepthook = _uncaught
        threading.excepthook = lambda told: _uncaught(*told[:3])
    handler = LogHandler()
    handler.setFormatter(LOG_LINES)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)
    for noisy in ("optuna", "matplotlib", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if not debug:  # what is told once, and isn't a warning
        for name in _TELLING:
            logging.getLogger(name).setLevel(logging.INFO)
    sys.exit(_run([a for a in arguments if a != "--debug"], debug))


_COMPLETE = "_BATCHFRONT_COMPLETE"  # by which click is asked, and for what


def _complete() -> NoReturn:
    """Answer a shell that completes a command, and exit: in the middle of what somebody types,
    there is no place for an error."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere), suppress(Exception):
        cli.main([], prog_name="batchfront", complete_var=_COMPLETE)
    sys.exit(0)


def work_here(arguments: Sequence[str]) -> None:
    """Run `batchfront work` in this process, and raise what it raises."""
    cli.main(["work", *arguments], prog_name="batchfront", standalone_mode=False)


def work_as_command(arguments: Sequence[str]) -> None:
    """Run `batchfront work` in this process as a command, and exit."""
    main(["work", *arguments])


def _run(arguments: list[str], debug: bool) -> int:
    try:
        result: Any = cli.main(
            arguments, prog_name="batchfront", standalone_mode=False, obj=tuple(arguments)
        )
        close_output()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "batchfront"
        _say(f"{error.format_message()} ({path} --help explains)")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except OutputLost as error:
        give_up_output()
        if not error.reader_left:
            _say(str(error))
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        if missing := missing_for_training(error):
            _say(missing)
            return 1
        if isinstance(error, BatchfrontError):
            _say(str(error))
            return error.exit_code
        # Late, with what it brings; of a user's own code, its line says more than the kind does.
        from batchfront.workload.user_error import error_in, error_said, own_line

        if own_line(error) is not None:
            _say(f"{error_in(error)} (--debug shows all of it)")
        else:
            _say(f"unexpected {error_said(error)} (--debug shows where)")
        return 1


def _uncaught(*error: Any) -> None:
    """Say what nothing has caught, such as with --debug, as all else is said."""
    logging.getLogger(__name__).error("%s", error[1], exc_info=error)


def _say(message: str) -> None:
    complain(message, level=logging.ERROR)


if __name__ == "__main__":
    main()
