"""What the tutorial types, shows and draws, made anew: python -m tests.docs.tutorial"""

from pathlib import Path
from tempfile import TemporaryDirectory

from batchfront import figures, load_frontier
from tests.docs import session
from tests.docs.pages import ROOT

PAGE = "docs/tutorial.md"
FIGURE = ROOT / "docs" / "tutorial.png"


def draw(folder: Path) -> None:
    """Draw the scaling curve of the search in this folder, as the page shows it."""
    frontier = load_frontier(f"sqlite:///{folder}/batchfront.db", "made/mlp/momentum")
    curve = next(iter(figures(frontier).values()))
    curve.write_image(FIGURE, width=720, height=420, scale=2)


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        session.write(PAGE, session.played(PAGE, Path(made)))
        draw(Path(made))
