"""What is asked of a page."""

from dataclasses import dataclass, field

from batchfront.advice.options import AdviceOptions
from batchfront.frontier.curve import USUAL, Asked


@dataclass(frozen=True)
class PageOptions:
    """What its curves are asked, and what in hours and money: by default no prices, and the numbers
    of devices that were timed."""

    curve: Asked = USUAL
    hours: AdviceOptions = field(default_factory=AdviceOptions)


NOTHING_MORE = PageOptions()
"""What a page is asked where nobody says otherwise."""
