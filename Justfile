# The commands of a day. The README's test command makes .venv, with `just` in it: .venv/bin/just

python := ".venv/bin/python"

# List these.
[private]
list:
    @{{ just_executable() }} --list --unsorted

# Format, lint and type-check.
check:
    {{ python }} -m ruff format .
    {{ python }} -m ruff check --fix .
    {{ python }} -m mypy

# Run tests: all of them, or those named, with any of pytest's options.
test *arguments="-n 2":
    # Once, for all the processes that tests start: where PYTHONDONTWRITEBYTECODE is set, each would.
    -@{{ python }} -m compileall -q service studies tests
    {{ python }} -m pytest {{ arguments }}

# Make docs/reference.md and docs/api.md anew, and what the tutorial and the guide to hours show.
docs:
    {{ python }} -m tests.docs.hours
    {{ python }} -m tests.docs.tutorial
    {{ python }} -m tests.docs.api
    {{ python }} -m tests.docs.reference

# Build the site of the documentation into this folder; any warning is an error.
site folder="build/site":
    {{ python }} -m sphinx -W --keep-going -q docs {{ folder }}

# What a fresh machine runs: the README's test command, in a new .venv.
ci:
    .ci/run
