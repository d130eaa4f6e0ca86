"""Tables and sentences as they stand on terminals of some widths."""

import io
import os
import pty
import termios
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from batchfront.cli.output.lines import complain, put
from batchfront.cli.output.tables import console_for_output, view
from batchfront.cli.streams import width_of
from batchfront.table import Column, Table

SENTENCE = "Scaling is near-perfect up to batch size 27, beyond which it takes more examples."
COMMAND = "`batchfront curve digits/mlp/momentum --storage sqlite:///somewhere.db`"
TABLE = Table(
    (Column("batch size"), Column("steps"), Column("why", words=True)),
    [(4, "1,718", "because of this and because of that")],
    "a title that is longer than a line of the terminal has room for",
    [SENTENCE, f"{SENTENCE} {COMMAND} shows it."],
)


def printed(width: int) -> list[str]:
    console = Console(width=width, soft_wrap=True, force_terminal=True)
    with console.capture() as captured:
        console.print(view([TABLE]))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_titles_and_notes_are_folded_between_words_and_a_command_is_left_whole() -> None:
    lines = printed(44)
    assert lines[1:3] == ["a title that is longer than a line of the", "terminal has room for"]
    assert COMMAND in lines
    assert max(len(line) for line in lines if line != COMMAND) <= 44
    assert " ".join(lines).count(SENTENCE) == 2


def test_a_live_display_folds_even_what_is_left_whole_elsewhere() -> None:
    console = Console(file=io.StringIO(), width=44, height=40, force_terminal=True, soft_wrap=True)
    with Live(view([TABLE], in_place=True), console=console, auto_refresh=False) as live:
        live.refresh()
    assert isinstance(console.file, io.StringIO)
    assert "somewhere.db`" in "".join(console.file.getvalue().split())


def test_off_a_terminal_nothing_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    put(SENTENCE * 10)
    console_for_output().print(view([TABLE]))
    lines = capsys.readouterr().out.splitlines()
    assert SENTENCE * 10 in lines
    assert TABLE.notes[1] in lines


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchfront.cli.output.lines.width_of", lambda _: 40)


@pytest.mark.usefixtures("narrow")
def test_messages_on_a_terminal_are_folded_between_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(f"{SENTENCE} {COMMAND}")
    complain(SENTENCE)
    out, err = capsys.readouterr()
    assert " ".join(out.splitlines()) == f"{SENTENCE} {COMMAND}"
    assert COMMAND in out.splitlines()
    assert " ".join(err.splitlines()) == f"batchfront: {SENTENCE}"
    assert len(err.splitlines()) == 3


def test_a_terminal_tells_its_width_unless_the_environment_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    main, side = pty.openpty()
    with os.fdopen(side, "w") as terminal, (tmp_path / "file").open("w") as file:
        assert width_of(file) is None
        assert width_of(terminal) == 80  # it has not been told how wide it is
        termios.tcsetwinsize(side, (24, 66))
        assert width_of(terminal) == 66
        monkeypatch.setenv("COLUMNS", "57")
        assert width_of(terminal) == 57
    os.close(main)
