"""Seeds of the default run, in chunks that parallel workers share, and every seed that ever failed.

A failing seed is fixed or argued, never skipped: it joins `tests/regressions/seeds.txt` with its story.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.plan import (
    ASKING_FROM,
    CHANGING_FROM,
    CRASH_POINTS,
    FAULTS,
    HOSTILE,
    LATER_CRASH_POINTS,
    LATER_FAULTS,
    LATER_FROM,
    SET_BACK,
    SHAPES,
    Engine,
    plan_of,
)
from tests.sim.run import Result, run_seed

ROOT = Path(__file__).resolve().parent.parent.parent
REGRESSIONS = ROOT / "tests" / "regressions" / "seeds.txt"

CHUNK = 10
DEFAULT: list[tuple[Engine, int]] = [
    *[("pbft", first) for first in range(1, 161, CHUNK)],
    *[("pbft", first) for first in range(LATER_FROM, LATER_FROM + 30, CHUNK)],
    *[("raft", first) for first in range(1, 81, CHUNK)],
    ("pbft", ASKING_FROM),
    ("raft", ASKING_FROM),
    *[("pbft", first) for first in range(CHANGING_FROM, CHANGING_FROM + 20, CHUNK)],
    *[("raft", first) for first in range(CHANGING_FROM, CHANGING_FROM + 20, CHUNK)],
]
CAMPAIGN: list[tuple[Engine, int]] = [
    *[("pbft", first) for first in range(2_001, 2_601, 50)],
    *[("pbft", first) for first in range(LATER_FROM + 100, LATER_FROM + 300, 50)],
    *[("raft", first) for first in range(2_001, 2_601, 50)],
    *[("pbft", first) for first in range(CHANGING_FROM + 50, CHANGING_FROM + 150, 50)],
    *[("raft", first) for first in range(CHANGING_FROM + 50, CHANGING_FROM + 150, 50)],
]


def broken(results: list[Result], engine: Engine = "pbft") -> list[str]:
    """A line for each seed that failed, with the command that replays it."""
    return [
        f"{result.violation}  ->  ./scripts/replay {result.seed} --engine {engine}\n{result.cause}"
        for result in results
        if result.violation is not None
    ]


def play(engine: Engine, seeds: range) -> list[Result]:
    results = [run_seed(seed, engine=engine) for seed in seeds]
    assert broken(results, engine) == []
    return results


@pytest.mark.parametrize(("engine", "first"), DEFAULT)
def test_every_invariant_holds_in_the_seeds_of_the_default_run(engine: Engine, first: int) -> None:
    results = play(engine, range(first, first + CHUNK))
    told = [name for result in results for name in result.answers]
    assert "final" in told
    assert "accepted" in told
    assert sum(result.height for result in results) > 10 * CHUNK
    if first >= CHANGING_FROM:
        assert sum(result.epochs for result in results) >= CHUNK // 2


@pytest.mark.campaign
@pytest.mark.parametrize(("engine", "first"), CAMPAIGN)
def test_every_invariant_holds_in_the_seeds_of_the_long_run(engine: Engine, first: int) -> None:
    play(engine, range(first, first + 50))


def known_seeds() -> list[tuple[Engine, int, str]]:
    """Lines are `SEED STORY` for PBFT, `raft/SEED STORY` for Raft."""
    lines = REGRESSIONS.read_text("utf-8").splitlines()
    told = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    return [
        ("raft" if name.startswith("raft/") else "pbft", int(name.removeprefix("raft/")), story)
        for name, story in told
    ]


@pytest.mark.parametrize(("engine", "seed", "story"), known_seeds())
def test_a_seed_that_failed_once_never_fails_again(engine: Engine, seed: int, story: str) -> None:
    assert story
    play(engine, range(seed, seed + 1))


@pytest.mark.parametrize(("engine", "seed"), [("pbft", 23), ("pbft", LATER_FROM + 9), ("raft", 5)])
def test_the_same_seed_gives_the_same_trace_twice_and_in_other_processes(
    engine: Engine, seed: int
) -> None:
    """Nothing iterates a set, and nothing reads a clock: two hash seeds, one digest."""
    here = run_seed(seed, engine=engine).digest
    assert run_seed(seed, engine=engine).digest == here
    call = f"run_seed({seed}, engine={engine!r}).digest"
    code = f"from tests.sim.run import run_seed; print({call})"
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
    assert run_seed(seed + 1, engine=engine).digest != here


def test_the_default_run_plays_every_kind_of_fault_and_of_hostile_member() -> None:
    """A swarm that never draws something would be blind to it without a word."""
    plans = [plan_of(seed) for seed in range(1, 201)]
    assert {plan.members for plan in plans} == {1, 4, 5, 7}
    assert {fault for plan in plans for fault in plan.faults} == set(FAULTS)
    natures = [nature for plan in plans for nature in plan.hostile.values()]
    assert set(natures) >= {"wrong-clock-ahead", "wrong-clock-behind", "wrong-link", "twins"}
    assert set(natures) == set(HOSTILE)
    assert sum(plan.real_keys for plan in plans) == 10
    assert sum(plan.observer for plan in plans) > 30
    assert {point for plan in plans for point in plan.crash_points} == set(CRASH_POINTS)
    assert {shape for plan in plans for shape in plan.shapes} == set(SHAPES)


@pytest.mark.parametrize("engine", ["pbft", "raft"])
def test_the_default_run_plays_every_later_fault_with_each_engine(engine: Engine) -> None:
    plans = [plan_of(seed, of) for of, first in DEFAULT if of == engine for seed in range(first, first + CHUNK)]  # fmt: skip
    later = [plan for plan in plans if engine == "raft" or plan.seed >= LATER_FROM]
    assert {fault for plan in later for fault in plan.faults} == {*FAULTS, *LATER_FAULTS}
    points = {point for plan in later for point in plan.crash_points}
    assert points == {*CRASH_POINTS, *LATER_CRASH_POINTS}
    assert any("ring" in plan.shapes for plan in later)
    assert any(SET_BACK in plan.hostile.values() for plan in later) == (engine == "pbft")
    if engine == "raft":
        assert {plan.members for plan in plans} == {1, 3, 4, 5, 7}
        assert not any(plan.hostile for plan in plans)


def test_the_plans_of_old_seeds_have_no_later_fault() -> None:
    """So that a seed that failed once plays again what failed."""
    for seed in range(1, 400):
        plan = plan_of(seed)
        assert not {*plan.faults, *plan.crash_points} & {*LATER_FAULTS, *LATER_CRASH_POINTS}
        assert plan.shapes == SHAPES
        assert SET_BACK not in plan.hostile.values()
