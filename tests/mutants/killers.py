"""What kills a mutant: a named test of the ordinary suite, or a seed of the simulator."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.scenarios.play import Play
from tests.sim.run import run_seed
from tests.unit.consensus import test_view_change
from tests.unit.core.test_judging import Stage

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"


def play(test: Callable[..., None], *arguments: Any, lab: Any = None) -> Callable[[], None]:
    """Runs a test as pytest would, with the fixtures that these suites have."""

    def kill() -> None:
        given: list[Any] = []
        names = list(inspect.signature(test).parameters)
        if "stage" in names:
            given.append(Stage())
        elif "left" in names:
            given.append(inspect.unwrap(test_view_change.left)())
        elif lab is not None:
            given.append(inspect.unwrap(lab)())
        test(*given, *arguments)

    kill.__name__ = test.__name__
    return kill


def seed(number: int) -> Callable[[], None]:
    """Plays a seed and raises what it found."""

    def kill() -> None:
        result = run_seed(number)
        if result.violation is not None:
            raise result.violation

    kill.__name__ = f"seed {number}"
    return kill


def scenario(name: str) -> Callable[[], None]:
    """A golden play: its expectations, the invariants and the specification kill; its transcript alone does not."""

    def kill() -> None:
        Play.read(SCENARIOS / f"{name}.txt").perform()

    kill.__name__ = f"scenario {name}"
    return kill
