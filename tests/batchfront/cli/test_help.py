"""`--help` on terminals of any width."""

import click
import pytest

from tests.docs.reference import commands


def helped(context: click.Context, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    fresh = click.Context(context.command, info_name=context.command_path)
    return fresh.get_help().splitlines()


def test_help_fits_narrow_terminals_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for context in commands():
        whole = "".join("".join(helped(context, 100, monkeypatch)).split())
        for width in (40, 59):
            lines = helped(context, width, monkeypatch)
            assert "".join("".join(lines).split()) == whole, context.command_path
            wide = [line for line in lines if len(line) > width]
            assert [one for one in wide if " batchfront " not in one] == [], context.command_path
