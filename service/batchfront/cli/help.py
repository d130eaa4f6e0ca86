"""How `--help` lays out what a command can be told: many options under headings, and what a group's
commands do in whole sentences."""

import re
import shutil
from collections.abc import Iterable

import click

_FEW = 12  # options that need no headings

HEADINGS = {
    "What is searched": (
        *("batch_sizes", "trials", "until", "max_trials", "goal", "seed", "precision"),
        *("variant", "accept_changes", "extend"),
    ),
    "How trials are sampled and raced": (
        *("sampler", "together", "warm_start", "count", "finishers", "after_goal", "continuing"),
        *("extrapolate", "evaluate"),
    ),
    "What is run again": ("rule", "recommended", "seeds", "candidates"),
    "Where trials run": (
        *("workers", "device", "devices_per_trial", "engine", "code", "max_outage", "plan_only"),
        *("image", "gpus_per_worker", "cpus_per_worker", "memory", "partition", "time", "sbatch"),
    ),
    "When it ends": ("max_time", "max_steps", "until_done", "notify"),
    "Where things are kept": (
        *("storage", "data_dir", "checkpoint_dir", "keep_model", "trial_dir", "log_dir"),
    ),
    "What is said and written": (
        *("report", "noise_scale", "profile", "quiet", "format_", "log_format", "save"),
    ),
}
"""The options of commands that have many, by the heading that they stand under."""


_NARROW = 60  # columns, below which what an option does stands under its name


class Formatter(click.HelpFormatter):
    """Fits a narrow terminal too: click takes none to have fewer than 52 columns."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        there = shutil.get_terminal_size().columns
        self._narrow = width is None and there < _NARROW
        super().__init__(indent_increment, max(there - 2, 20) if self._narrow else width, max_width)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write options or commands, and what each does."""
        if self._narrow:
            room = self.width - self.current_indent
            rows, col_max = [(_folded(name, room), said) for name, said in rows], 2
        super().write_dl(rows, col_max, col_spacing)


def _folded(name: str, room: int) -> str:
    """An option with what it takes, which may be many words, in lines of so many columns."""
    lines = [""]
    for part in re.split(r"(?<=[ |])", name):
        if len(lines[-1] + part.rstrip()) > room:
            lines.append(" " * 4)
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


class Command(click.Command):
    """One whose options stand under headings, where there are many."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them, those without a heading of theirs last."""
        options = (p for p in self.get_params(ctx) if isinstance(p, click.Option))
        records = {one.name: one.get_help_record(ctx) for one in options}
        shown = {name: record for name, record in records.items() if record is not None}
        headings = HEADINGS if len(shown) > _FEW else {}
        for heading, names in headings.items():
            found = [shown.pop(name) for name in names if name in shown]
            if found:
                with formatter.section(heading):
                    formatter.write_dl(found)
        with formatter.section("Options" if not headings else "Help"):
            formatter.write_dl([*shown.values()])


class Group(click.Group):
    """One that says of each of its commands what it does in a whole sentence."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, _sentence(one.help or "")) for name, one in found if one is not None]
            )


def _sentence(text: str) -> str:
    """The first sentence of a help text, in one line."""
    return re.split(r"(?<=\.)\s(?=[A-Z])", " ".join(text.split()), maxsplit=1)[0]
