"""A recipe on standard output."""

from batchfront.cli.output.tables import print_json, print_tables
from batchfront.frontier.recipe import Recipe, recipe_facts
from batchfront.phrases import first_few
from batchfront.table import Column, Table


def print_recipe(recipe: Recipe, format_: str) -> None:
    """Print as `table` or `json`."""
    if format_ == "json":
        print_json(recipe.to_dict())
        return
    facts = recipe_facts(recipe)
    width = max(map(len, facts)) + 2
    lines = [f"{name:<{width}}{value}" for name, value in facts.items()]
    # As they are: they are there to be copied.
    rows = [(name, repr(value)) for name, value in recipe.metaparameters.items()]
    columns = Column("metaparameter", words=True), Column("value", words=True)
    below = [f"\n{note}" for note in recipe.notes]
    if recipe.reproduce is not None:
        below.append(f"\nThe same weights again: `{recipe.reproduce}`")
    title = f"{recipe.frontier.workload} at batch size {recipe.batch_size:,}: {_origin(recipe)}"
    print_tables([Table(title=title, notes=lines), Table(columns, rows, notes=below)])


def _origin(recipe: Recipe) -> str:
    if recipe.measured:
        return f"trial {recipe.sources[0].trial}, the winner"
    sizes = first_few([f"{point.batch_size:,}" for point in recipe.sources])
    return f"not measured, {recipe.derived} from {sizes}"
