"""JSON from elsewhere: read, or refused in words."""

import json
from typing import Any

_DEEPEST = 100  # objects and lists in one another; nothing that is meant has a tenth of that


def read_json(text: str | bytes, **options: Any) -> Any:
    """Read what may be damaged, or meant to do harm.

    options -- for `json.loads`

    Raises ValueError, in words, for what is no JSON, an object that names a key twice, more than
    100 levels of objects and lists, and a text with NUL or half of a surrogate pair, which no
    database keeps.
    """
    try:
        read = json.loads(text, object_pairs_hook=_once, **options)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _check(read)
    return read


_TOO_DEEP = f"its objects and lists lie more than {_DEEPEST} levels deep"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in an object")
    return found


def _check(read: Any) -> None:
    level, deep = [read], 0
    while level:
        if deep > _DEEPEST:
            raise ValueError(_TOO_DEEP)
        inner: list[Any] = []
        for one in level:
            if isinstance(one, str):
                require_storable(one)
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, dict):
                inner += [*one, *one.values()]
        level, deep = inner, deep + 1


def require_storable(text: str) -> None:
    """Raise ValueError, in words, for a text that databases can't keep."""
    if "\0" in text:
        raise ValueError(f"the text {_short(text)} has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the text {_short(text)} has half of a surrogate pair") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
