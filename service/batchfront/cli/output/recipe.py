"""A recipe on standard output."""

from batchfront.cli.output.tables import print_json, print_tables
from batchfront.frontier.recipe import Recipe, recipe_facts
from batchfront.phrases import first_few
from batchfront.table import Column, Table, of_facts


def print_recipe(recipe: Recipe, format_: str) -> None:
    """Print as `table` or `json`."""
    if format_ == "json":
        print_json(recipe.to_dict())
        return
    # As they are: they are there to be copied.
    rows = [(name, repr(value)) for name, value in recipe.metaparameters.items()]
    columns = Column("metaparameter", words=True), Column("value", words=True, whole=True)
    below = [f"\n{note}" for note in recipe.notes]
    if recipe.reproduce is not None:
        below.append(f"\nThe same weights again: `{recipe.reproduce}`")
    title = f"{recipe.frontier.workload} at batch size {recipe.batch_size:,}: {_origin(recipe)}"
    print_tables([of_facts(recipe_facts(recipe), title), Table(columns, rows, notes=below)])


def _origin(recipe: Recipe) -> str:
    if recipe.measured:
        return f"trial {recipe.sources[0].number}, the {recipe.sources[0].what}"
    sizes = first_few([f"{trial.batch_size:,}" for trial in recipe.sources])
    return f"not measured, {recipe.derived} from {sizes}"
