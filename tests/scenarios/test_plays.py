"""Golden plays: each holds off one famous bug, ends with what it expects, and its transcript is compared byte for byte.

`pytest tests/scenarios --rewrite` writes the transcripts anew, for a review of what changed; `--diagrams DIR` draws each play.
"""

from pathlib import Path

import pytest

from tests.scenarios.diagrams import diagram
from tests.scenarios.play import Play

FOLDER = Path(__file__).resolve().parent
PLAYS = sorted(FOLDER.glob("*/*.txt"))


@pytest.mark.parametrize("path", PLAYS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_play_goes_as_it_is_written(path: Path, request: pytest.FixtureRequest) -> None:
    play = Play.read(path)
    expected = [line for commands, _ in play.scenes for line in commands if "expect" in line]
    assert len(expected) >= 2, "a play ends with what it expects"
    played = play.perform()
    if request.config.getoption("--rewrite", default=False):
        path.write_text(played, "utf-8")
    folder = request.config.getoption("--diagrams", default=None)
    if folder is not None:
        target = Path(folder) / path.parent.name / f"{path.stem}.mmd"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(diagram(play), "utf-8")
    assert path.read_text("utf-8") == played, "run pytest with --rewrite and review what changed"


def test_every_play_names_the_bug_that_it_holds_off() -> None:
    nameless = [path.name for path in PLAYS if "Holds off:" not in path.read_text("utf-8")]
    assert nameless == []
    assert len(PLAYS) >= 20
