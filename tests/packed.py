"""What a page carries packed, unpacked again."""

import gzip
import json
import re
from base64 import b64decode
from typing import Any


def figures_of(page: str) -> dict[str, dict[str, Any]]:
    """The figures of a page, by name, as its script reads them."""
    figures: dict[str, dict[str, Any]] = json.loads(unpacked(page, "figures"))
    return figures


def unpacked(page: str, name: str) -> str:
    """The packed text that stands in a page under this id."""
    found = re.search(rf'<script type="application/gzip" id="{name}">([\w+/=]+)</script>', page)
    assert found, name
    return gzip.decompress(b64decode(found[1])).decode()
