"""Telling somebody who doesn't look how a run goes: by a command of theirs, or by HTTP."""

import logging
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from tempfile import TemporaryFile
from threading import Thread
from time import monotonic
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import click

from batchfront.cli.output.status import duration
from batchfront.errors import BatchfrontError, UsageError
from batchfront.ledger.status import Status, StudyStatus, load_status
from batchfront.log_lines import ascii_json
from batchfront.store.database import Storage
from batchfront.study.study import Filter

log = logging.getLogger(__name__)

Event = Literal["done", "stopped", "failed", "stalled"]

_VERBS: dict[Event, str] = {
    "done": "is done",
    "stopped": "was stopped",
    "failed": "has failed",
    "stalled": "has stalled",
}

_INTERRUPTED = 130  # the exit code

STALLED_SECONDS = 600.0
"""In which no step is told, and no trial ends, of a run that has stalled."""

_HTTP_SECONDS, _COMMAND_SECONDS = 10.0, 60.0  # that whoever is told may take


class Notifier:
    """Tells a command, or a URL, of events of a run, as JSON. That it couldn't is a warning.

    target -- a command line, which gets it on standard input, or an http or https URL, to which it
              is posted

    Raises UsageError for a command that isn't there, and a URL that can't be one.
    """

    def __init__(self, target: str) -> None:
        target = target.strip()
        scheme, slashes, _ = target.partition("://")
        is_url = bool(slashes) and not any(one.isspace() or one in "'\"/" for one in scheme)
        self._url = target if is_url else None
        self._command: list[str] = []
        if self._url is not None:
            if scheme.lower() not in ("http", "https"):
                raise UsageError(
                    f"--notify: a URL of {scheme!r} can't be posted to; give one that begins with "
                    "https:// or http://, or a command"
                )
            _host(self._url)
            return
        try:
            self._command = shlex.split(target)
        except ValueError as error:
            raise UsageError(
                f"--notify {target!r}: {error}; quote it as a shell would have it"
            ) from None
        if not self._command:
            raise UsageError("--notify '': give a command, or a URL that begins with https://")
        if shutil.which(self._command[0]) is None:
            raise UsageError(
                f"--notify: there is no command {self._command[0]!r} here; give one, or a URL that "
                "begins with https://"
            )

    def tell(self, summary: dict[str, Any]) -> None:
        """Tell of one event."""
        said = ascii_json(summary).encode()
        wrong = self._run(said) if self._url is None else _post(self._url, said)
        if wrong:
            log.warning(
                "--notify: nobody was told that the run %s: %s", _VERBS[summary["event"]], wrong
            )

    def _run(self, said: bytes) -> str:
        """Give it to the command. Returns what went wrong, if anything did."""
        name = self._command[0]
        # To a file: what it leaves running in the background would hold a pipe open.
        with TemporaryFile() as errors:
            try:
                done = subprocess.run(
                    self._command,
                    input=said,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=_COMMAND_SECONDS,
                    check=False,
                )
            except OSError as error:
                return f"{name}: {error.strerror}"
            except subprocess.TimeoutExpired:
                return f"{name} hasn't ended after {_COMMAND_SECONDS:.0f} s, and was killed"
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return (
            f"{': '.join([name, *last])} (exit code {done.returncode})" if done.returncode else ""
        )


class _NoRedirect(HTTPRedirectHandler):
    """Follows no redirection, after which a POST becomes a GET that tells nobody anything."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirect)


def _post(url: str, said: bytes) -> str:
    """Post it to a URL. Returns what went wrong, if anything did."""
    # Beside this thread: a socket's timeout is of each read alone, and none of a name's look-up.
    wrong: list[str] = []
    asking = Thread(target=lambda: wrong.append(_answered(url, said)), daemon=True)
    asking.start()
    asking.join(_HTTP_SECONDS)
    return wrong[0] if wrong else _silent(url)


def _answered(url: str, said: bytes) -> str:
    # Of the URL, only the host is said: the rest may be a secret.
    asked = Request(url, said, {"Content-Type": "application/json"})
    try:
        with _OPENER.open(asked, timeout=_HTTP_SECONDS):
            return ""
    except HTTPError as error:
        elsewhere = "; give the URL that it leads to" if 300 <= error.code < 400 else ""
        return f"{_host(url)} answered {error.code} {error.reason}{elsewhere}"
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "reason", error)
        return _silent(url) if isinstance(why, TimeoutError) else f"{_host(url)}: {why}"


def _silent(url: str) -> str:
    return f"{_host(url)} hasn't answered after {_HTTP_SECONDS:.0f} s"


def _host(url: str) -> str:
    """The host of a URL. Raises UsageError, which says nothing else of it, for one to which
    nothing can be posted."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        raise UsageError("--notify: the URL can't be read; write https://HOST/PATH") from None
    if not host:
        raise UsageError("--notify: the URL has no host, as https://HOST/PATH has")
    try:
        _ = parts.port
    except ValueError:
        raise UsageError(
            f"--notify: the port of the URL, after {host}:, is none; one is from 0 to 65535"
        ) from None
    if parts.username is not None:
        raise UsageError(
            "--notify: the URL has a user name before its host, which can't be sent; give a "
            "command that sends it, such as curl"
        )
    if not url.isascii() or any(one <= " " or one == "\x7f" for one in url):
        raise UsageError(
            f"--notify: the URL at {host} has a space, a control character or a letter beyond "
            "ASCII, which a URL writes as %20 and so on"
        )
    return host


class News:
    """What is told of one run.

    notifier -- tells it; None: nobody is told
    wanted   -- the studies that it runs
    report   -- where its page is written
    """

    def __init__(
        self,
        notifier: Notifier | None,
        storage: Storage,
        wanted: Filter,
        workload: str,
        report: str,
    ) -> None:
        self._notifier, self._storage, self._wanted = notifier, storage, wanted
        self._always = {"workload": workload, "host": socket.gethostname(), "report": report}
        self._began = monotonic()

    @contextmanager
    def of_failure(self) -> Iterator[None]:
        """Tell it if the block raises."""
        try:
            yield
        except (KeyboardInterrupt, click.Abort):
            self.tell("stopped", "it was interrupted")
            raise
        except Exception as error:
            self.tell("failed", str(error) or type(error).__name__)
            raise

    def ended(self, code: int, stopped_by: str = "") -> None:
        """Tell how a run has ended.

        code       -- its exit code
        stopped_by -- the option that stopped it; empty where none did
        """
        if stopped_by or code == _INTERRUPTED:
            self.tell("stopped", f"by {stopped_by}" if stopped_by else "it was interrupted")
        elif code:
            self.tell("failed", "it didn't come to an answer; its output says why")
        else:
            self.tell("done")

    def stalled(self, status: Status, said: str) -> None:
        """Tell that nothing gets on."""
        self._tell("stalled", status, said)

    def tell(self, event: Event, said: str = "") -> None:
        """Tell of an event, with how the studies stand now."""
        if self._notifier is None:
            return
        status = None
        with suppress(BatchfrontError):  # the database may be what has failed
            status = load_status(self._storage, self._wanted)
        self._tell(event, status, said)

    def _tell(self, event: Event, status: Status | None, said: str) -> None:
        if self._notifier is None:
            return
        studies = () if status is None else status.studies
        known = {} if status is None else {"trials": sum(one.total for one in studies)}
        known |= {} if status is None else {"trials_done": sum(one.done for one in studies)}
        summary = {
            "event": event,
            "text": _text(event, self._always["workload"], studies, said),
            **self._always,
            "seconds": round(monotonic() - self._began, 1),
            **known,
            "batch_sizes": [_plain(study) for study in studies],
        }
        self._notifier.tell(summary)


def _text(event: Event, workload: str, studies: Sequence[StudyStatus], said: str) -> str:
    """An event in a line, under the name by which chat services take it."""
    verb = _VERBS[event]
    steps = [
        f"batch size {one.batch_size:,} takes {one.best:,} steps"
        for one in studies
        if one.best is not None
    ]
    parts = [f"batchfront: {workload} {verb}", *([said] if said else []), *steps]
    return parts[0] + (": " + "; ".join(parts[1:]) if parts[1:] else "")


def _plain(study: StudyStatus) -> dict[str, Any]:
    names = ("batch_size", "name", "total", "done", "metric", "goal", "now")
    return {
        **{name: getattr(study, name) for name in names},
        "steps_to_target": study.best,
        "outcomes": dict(study.outcomes),
    }


class StallWatch:
    """Finds that a run has stalled: once each time that it has.

    tell -- is told, with the status and in words
    now  -- tells the time, in seconds
    """

    def __init__(
        self, tell: Callable[[Status, str], None], now: Callable[[], float] = monotonic
    ) -> None:
        self._tell, self._now = tell, now
        self._seen: tuple[int, int] | None = None
        self._since = now()
        self._told = False

    def __call__(self, status: Status) -> str | None:
        """Compare it with what was seen before. Returns what is to be said, if it has stalled."""
        seen = tuple(sum(getattr(s, name) for s in status.studies) for name in ("steps", "done"))
        if seen != self._seen or status.finished:
            self._seen, self._since, self._told = seen, self._now(), False
        if self._told or self._now() - self._since < STALLED_SECONDS:
            return None
        self._told = True
        since = duration(self._now() - self._since)
        said = f"no step has been told and no trial has ended for {since}"
        self._tell(status, said)
        return said
