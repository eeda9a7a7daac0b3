"""Seeds of the default run, in chunks that parallel workers share, and every seed that ever failed.

A failing seed is fixed or argued, never skipped: it joins `tests/regressions/seeds.txt` with its story.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.plan import HOSTILE, plan_of
from tests.sim.run import Result, run_seed

ROOT = Path(__file__).resolve().parent.parent.parent
REGRESSIONS = ROOT / "tests" / "regressions" / "seeds.txt"

CHUNK = 10
DEFAULT = range(1, 201, CHUNK)
CAMPAIGN = range(2_001, 4_001, 50)


def broken(results: list[Result]) -> list[str]:
    """A line for each seed that failed, with the command that replays it."""
    return [
        f"{result.violation}  ->  ./scripts/replay {result.seed}\n{result.cause}"
        for result in results
        if result.violation is not None
    ]


@pytest.mark.parametrize("first", DEFAULT)
def test_every_invariant_holds_in_the_seeds_of_the_default_run(first: int) -> None:
    results = [run_seed(seed) for seed in range(first, first + CHUNK)]
    assert broken(results) == []
    told = [name for result in results for name in result.answers]
    assert "final" in told
    assert "accepted" in told
    assert sum(result.height for result in results) > 10 * CHUNK


@pytest.mark.campaign
@pytest.mark.parametrize("first", CAMPAIGN)
def test_every_invariant_holds_in_two_thousand_more(first: int) -> None:
    assert broken([run_seed(seed) for seed in range(first, first + 50)]) == []


def known_seeds() -> list[tuple[int, str]]:
    lines = REGRESSIONS.read_text("utf-8").splitlines()
    told = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    return [(int(seed), story) for seed, story in told]


@pytest.mark.parametrize(("seed", "story"), known_seeds())
def test_a_seed_that_failed_once_never_fails_again(seed: int, story: str) -> None:
    assert story
    assert broken([run_seed(seed)]) == []


def test_the_same_seed_gives_the_same_trace_twice_and_in_other_processes() -> None:
    """Nothing iterates a set, and nothing reads a clock: two hash seeds, one digest."""
    seed = 23
    here = run_seed(seed).digest
    assert run_seed(seed).digest == here
    code = f"from tests.sim.run import run_seed; print(run_seed({seed}).digest)"
    for hash_seed in ("0", "4242"):
        run = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == here
    assert run_seed(seed + 1).digest != here


def test_the_default_run_plays_every_kind_of_fault_and_of_hostile_member() -> None:
    """A swarm that never draws something would be blind to it without a word."""
    plans = [plan_of(seed) for seed in range(1, 201)]
    assert {plan.members for plan in plans} == {1, 4, 5, 7}
    assert {fault for plan in plans for fault in plan.faults} == {
        "crash", "pause", "partition", "blackout", "slow-disk", "clock-jump",
    }  # fmt: skip
    natures = [nature for plan in plans for nature in plan.hostile.values()]
    assert set(natures) >= {"wrong-clock-ahead", "wrong-clock-behind", "wrong-link", "twins"}
    assert set(natures) == set(HOSTILE)
    assert sum(plan.real_keys for plan in plans) == 10
    assert sum(plan.observer for plan in plans) > 30
    assert {point for plan in plans for point in plan.crash_points} == {
        "now", "before the batch", "after the database", "after the guard",
    }  # fmt: skip
