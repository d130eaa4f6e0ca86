"""Where workers' time went, for a person."""

from rich.console import Group, RenderableType
from rich.text import Text

from service.cli.progress import duration
from service.cli.tables import plain_table
from service.profile import Profile


def profile_view(profile: Profile) -> Group:
    """A table of the parts, the largest first, and what would make it faster under it."""
    whole = duration(profile.all_seconds)
    workers = "1 worker" if profile.workers == 1 else f"{profile.workers} workers together"
    table = plain_table("Part", "seconds>", "share>")
    for part, seconds in sorted(profile.seconds.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{seconds:,.1f}", f"{profile.share(part):.0%}")
    said: list[RenderableType] = [Text(sentence) for sentence in profile.advice()]
    return Group(Text(f"\nWhere the time of {workers} went, {whole}:\n"), table, *said)
