"""What installed distributions ask for."""

from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(of: Distribution, extra: str = "") -> set[str]:
    """The distributions that one asks for with an extra, and that these ask for: their names."""
    found: set[str] = set()
    ahead = [(of, extra)]
    while ahead:
        one, extra = ahead.pop()
        for text in one.requires or ():
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            for further in ("", *requirement.extras):
                key = f"{canonicalize_name(requirement.name)}[{further}]"
                if key not in found:
                    found.add(key)
                    ahead.append((distribution(requirement.name), further))
    return {key.partition("[")[0] for key in found}
