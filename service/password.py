"""The database's password from a file, as containers and clusters hand out their secrets.

libpq's own password file won't do there: it ignores one that others than its owner may read, and
that is how such files are mounted.
"""

import os
from pathlib import Path

from sqlalchemy import URL

from service.errors import UsageError

_VARIABLE = "BATCHFRONT_PASSWORD_FILE"


def with_password(url: URL) -> URL:
    """The URL with the password in the file that BATCHFRONT_PASSWORD_FILE names, where it is set
    and the URL is of a server and has none of its own. The file's last line may end in a newline.

    Raises UsageError for a file that can't be read or is empty.
    """
    name = os.environ.get(_VARIABLE)
    if not name or url.get_backend_name() == "sqlite" or url.password is not None:
        return url
    try:
        password = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"{_VARIABLE} {name}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{_VARIABLE} {name}: is not text in UTF-8") from None
    if not password:
        raise UsageError(f"{_VARIABLE} {name}: is empty; it should hold the password")
    return url.set(password=password)
