"""The `batchfront` command, which `python -m batchfront` runs too."""

import sys


def main() -> None:
    """Run the command line and exit, as `batchfront.cli.main.main` does; 130 also where it is
    interrupted before that is imported."""
    try:
        from batchfront.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
