"""What a worker says of itself in the list of workers: others can't see it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class SelfDescription:
    """What a worker runs with.

    versions    -- those of the packages that a result may depend on
    checkpoints -- where it keeps them; None: nowhere
    mark        -- what it has read in that place's mark: workers with the same share the place
    left        -- workloads that it leaves to others, each with why
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    checkpoints: str | None = None
    mark: str | None = None
    left: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As the list of workers keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None) -> "SelfDescription | None":
        """What `to_json` wrote; None of a worker that said nothing, or in another way."""
        said = json.loads(text or "null")
        known = set(cls.__dataclass_fields__)
        return cls(**said) if isinstance(said, dict) and set(said) <= known else None
