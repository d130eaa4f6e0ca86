"""How `--help` lays out what a command can be told: many options under headings, and what a group's
commands do in whole sentences."""

import re

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
