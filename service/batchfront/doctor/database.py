"""Whether the database answers, how fast, what may be done on it, and by which clock."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil
from sqlalchemy import Connection, select, text

from batchfront.doctor.finding import Finding, failure, ok, warning
from batchfront.store import schema
from batchfront.store.database import Storage
from batchfront.store.optuna_tables import TABLES

_ROUND_TRIPS = 7

_SLOW_SECONDS = 0.1  # a statement: a claim takes a dozen

_CLOCK_SECONDS = 5.0  # that two clocks may be apart before somebody should know

_CHECKED_BYTES = 1 << 28  # of a file that is read whole; a larger one would take too long

_FEW_CONNECTIONS = 0.8  # of those that a server gives, from which on it is short of them

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")

_NETWORK = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "nfs", "smb")
"""File systems, or how their names begin, on which several machines see one file, and not one
another's locks or shared memory."""


def examine_database(storage: Storage) -> Iterator[Finding]:
    """Look at an open database. Raises StorageError when it goes away meanwhile."""
    with storage.read() as conn:
        seconds, ahead = _timed(conn, storage)
        yield _speed(storage, conn, seconds)
        yield clock_finding("this machine's clock", ahead)
        if conn.dialect.name == "postgresql":
            yield _server(conn)
            yield _rights(conn)
            yield _connections(conn)
        else:
            yield from _file(conn, Path(storage.url.database or ""))


def clock_finding(whose: str, ahead: float) -> Finding:
    """Compare a clock, that is so many seconds ahead of the database's."""
    if abs(ahead) <= _CLOCK_SECONDS:
        return ok("clock", f"{whose} agrees with the database's, to {abs(ahead):.1f} s")
    side = "ahead of" if ahead > 0 else "behind"
    return warning(
        "clock",
        f"{whose} is {abs(ahead):,.0f} s {side} the database's: leases go by the database's alone, "
        "but the times in logs and of files mislead",
    )


def _timed(conn: Connection, storage: Storage) -> tuple[float, float]:
    """Seconds that a statement takes, and how far this machine's clock is ahead; medians."""
    took, ahead = [], []
    query = select(storage.now)
    conn.execute(query)
    for _ in range(_ROUND_TRIPS):
        began = time.time()
        there = float(conn.execute(query).scalar_one())
        ended = time.time()
        took.append(max(ended - began, 0.0))
        ahead.append((began + ended) / 2 - there)
    return median(took), median(ahead)


def _speed(storage: Storage, conn: Connection, seconds: float) -> Finding:
    version = ".".join(map(str, conn.dialect.server_version_info or ()))
    name = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}[conn.dialect.name]
    says = f"{storage} answers: {name} {version}, {1000 * seconds:.1f} ms a statement"
    if seconds <= _SLOW_SECONDS:
        return ok("database", says)
    return warning("database", f"{says}, which slows short trials down")


def _server(conn: Connection) -> Finding:
    standby, only_reads, encoding = conn.execute(
        text(
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on', "
            "current_setting('server_encoding')"
        )
    ).one()
    if standby:
        return failure("server", "it is a standby, which only reads: workers wait for the primary")
    if only_reads:
        return failure(
            "server", "it is set to read only, so that workers wait: default_transaction_read_only"
        )
    if encoding != "UTF8":
        return warning(
            "server", f"the database's encoding is {encoding}: names beyond it are refused"
        )
    return ok("server", "it is the primary, and takes writes")


def _rights(conn: Connection) -> Finding:
    """What the role lacks on our tables, Optuna's and their sequences."""
    query = text(
        "SELECT c.relname, r.name FROM pg_class c CROSS JOIN unnest(:rights) AS r(name) "
        "WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(:tables) "
        "AND NOT has_table_privilege(c.oid, r.name) UNION ALL "
        "SELECT s.relname, 'USAGE' FROM pg_class s JOIN pg_depend d ON d.objid = s.oid "
        "JOIN pg_class c ON c.oid = d.refobjid "
        "WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(:tables) AND "
        "CASE s.relkind WHEN 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE') ELSE false END "
        "ORDER BY 1, 2"
    )
    missing = conn.execute(
        query, {"rights": list(_RIGHTS), "tables": [*schema.metadata.tables, *TABLES]}
    ).all()
    role = conn.execute(text("SELECT current_user")).scalar_one()
    if not missing:
        return ok("rights", f"the role {role} may read and write all tables")
    if {right for _, right in missing} <= {*_RIGHTS[1:], "USAGE"}:
        return warning("rights", f"the role {role} may look, and not plan or work: it can't write")
    named = sorted({table for table, _ in missing})
    return failure("rights", f"the role {role} lacks rights on {', '.join(named)}")


def _connections(conn: Connection) -> Finding:
    most, there = conn.execute(
        text(
            "SELECT current_setting('max_connections')::int, sum(numbackends)::int "
            "FROM pg_stat_database"
        )
    ).one()
    says = f"{there:,} of the server's {most:,} connections are in use"
    if there < _FEW_CONNECTIONS * most:
        return ok("connections", says)
    return warning("connections", f"{says}: each worker takes one; raise max_connections, or pool")


def _file(conn: Connection, file: Path) -> Iterator[Finding]:
    if not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        yield warning("rights", f"{file} can be read, and not written: nothing can be run")
    else:
        yield ok("rights", "the file and its folder can be written")
    kind = filesystem(file)
    if kind.startswith(_NETWORK):
        yield failure(
            "file system",
            f"{file} lies on {kind}: SQLite can't be shared between machines, and may lose what "
            "several write there; keep it on a local disk, or use PostgreSQL",
        )
    if file.stat().st_size <= _CHECKED_BYTES:
        wrong = conn.execute(text("PRAGMA quick_check(1)")).scalar_one()
        if wrong != "ok":
            yield failure(
                "file", f"{file} is damaged ({' '.join(wrong.split())}): put a backup back"
            )
        else:
            yield ok("file", "its pages and indexes agree")


def filesystem(path: Path) -> str:
    """The kind of file system that a path lies on, as the kernel calls it; empty if unknown."""
    found = [
        (len(mount.mountpoint), mount.fstype)
        for mount in psutil.disk_partitions(all=True)  # type: ignore[no-untyped-call]
        if path.absolute().is_relative_to(mount.mountpoint)
    ]
    return max(found, default=(0, ""))[1]
