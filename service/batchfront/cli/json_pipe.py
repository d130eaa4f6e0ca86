"""Makes JSON of what others print on standard error: python -m batchfront.cli.json_pipe WORKER"""

import signal
import sys
from contextlib import suppress

from batchfront.log_lines import json_line

_LONGEST_LINE = 1 << 16  # bytes; what is longer comes in parts


def main(worker: str | None) -> None:
    """Read to the end, which comes when nobody is left who could write, whatever ends others and
    wherever it goes: who writes waits while the pipe is full."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while line := sys.stdin.buffer.readline(_LONGEST_LINE):
        text = line.decode(errors="replace").rstrip().rpartition("\r")[2]  # of a progress bar
        if text:
            with suppress(OSError):
                print(json_line(text, worker), flush=True)


if __name__ == "__main__":
    main(sys.argv[1] or None)
