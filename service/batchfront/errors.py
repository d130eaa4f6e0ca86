"""Every error that batchfront raises on purpose.

BatchfrontError                what went wrong, in one line; exit code 1
├── UsageError                 what the user typed or wrote is wrong; exit code 2
│   ├── CatalogError           no such workload, or a file without one
│   ├── WorkloadError          a workload whose parts do not fit together
│   │   ├── SearchSpaceError   a dimension without values
│   │   └── SweepFileError     a sweep file that says what can't be
│   ├── UntrustedCode          code of which nobody has said here that it may run
│   └── IdentityError          a study exists under another definition
├── StorageError               the database can't be opened, read or written
│   ├── StorageLost            its file is no longer the one that was opened
│   └── Unreachable            not now, but perhaps in a while
├── DataError                  a data set is not where it should be, or not what it should be
├── CheckpointError            a checkpoint that a trial can't go on from
├── ProgramError               a program that can't be started or ended, or says what can't be
├── FollowerFailed             another device's part of a trial has failed
├── OutputLost                 standard output can't be written to
├── NothingLeft                no trial of a search is free to be asked for
├── LeaseLost                  this worker's hold on a slot has passed to another
│   └── StudyDeleted           as its study has been deleted through Optuna
└── WorkersFailed              local workers died and could not be replaced
"""

import errno


class BatchfrontError(Exception):
    """Something went wrong that the message alone explains. Exit code 1."""

    exit_code = 1


class UsageError(BatchfrontError):
    """The command line, or a workload's definition, is wrong. Exit code 2."""

    exit_code = 2


class CatalogError(UsageError):
    """A workload that can't be found or loaded."""


class WorkloadError(UsageError):
    """A workload whose parts do not fit together."""


class SearchSpaceError(WorkloadError):
    """A metaparameter dimension that holds no values, or that nothing uses."""


class SweepFileError(WorkloadError):
    """A sweep file that can't be read, or says what can't be."""


class IdentityError(UsageError):
    """A study that exists under another definition than the one given.

    planned -- where its code alone is another, arguments for `batchfront plan` that accept it
    """

    def __init__(self, message: str, planned: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.planned = planned


class UntrustedCode(UsageError):
    """Code that a database names, and of which nobody has said here that it may run.

    place -- the file that `--code` would have to name; None if there is none
    """

    def __init__(self, message: str, place: str | None = None) -> None:
        super().__init__(message)
        self.place = place


class StorageError(BatchfrontError):
    """The database can't be opened, read or written."""


class StorageLost(StorageError):
    """The database's file was removed, or replaced by another, while it was in use."""


class Unreachable(StorageError):
    """The database doesn't answer, or not in time; it may when asked again."""


class DataError(BatchfrontError):
    """A data set that is missing or damaged."""


class CheckpointError(BatchfrontError):
    """A checkpoint that a trial can't go on from, as its code has changed since."""


class ProgramError(BatchfrontError):
    """A trial's program that can't be started, paused or ended."""


class FollowerFailed(BatchfrontError):
    """Another of the devices that compute a trial together has failed, died or hung."""


class LeaseLost(BatchfrontError):
    """A slot's lease has passed to another worker, so this one's result is refused."""


class StudyDeleted(LeaseLost):
    """A study that Optuna no longer has, whatever has its id by now: its slots are nobody's."""


class OutputLost(BatchfrontError):
    """Standard output can't be written to; its reader may have gone, which is nothing to tell.

    Exit code 141 then, as of a process that SIGPIPE has ended.
    """

    def __init__(self, error: OSError) -> None:
        why = "it is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"standard output can't be written to: {why}")
        self.reader_left = error.errno == errno.EPIPE
        self.exit_code = 141 if self.reader_left else 1


class NothingLeft(BatchfrontError):
    """No trial of a search is free to be asked for.

    finished -- whether every one of them has ended; otherwise others hold some, or wait for those
    """

    def __init__(self, message: str, *, finished: bool) -> None:
        super().__init__(message)
        self.finished = finished


class WorkersFailed(BatchfrontError):
    """Local workers died and could not be replaced."""
