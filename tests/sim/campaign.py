"""Many seeds, one after the other or on several processes, and what is told of them afterwards.

Each seed is played once, in order: none is tried again and none is left out. What is kept of a seed is a few numbers, so a
campaign may be as long as one likes.
"""

import json
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from tests.sim.plan import FAIR, Engine, plan_of
from tests.sim.run import Result, run_seed
from tests.sim.shrink import changed, replay_command, shrink

ROOT = Path(__file__).resolve().parent.parent.parent

AHEAD = 8
"""Seeds handed to the workers beyond those that are being played."""

SEEDS_PER_PROCESS = 500
"""Then a worker begins afresh: what a library keeps for ever does not add up."""

ROWS = {
    "crash": "F1", "blackout": "F2", "crash: torn batch": "F3", "crash: torn guard": "F3",
    "read-error": "F4", "write-error": "F4", "full-disk": "F5", "slow-disk": "F7",
    "loss": "F8", "duplication": "F9", "reorder": "F10", "hostile: garbage": "F11",
    "change: settled": "F14", "partition": "F12", "swizzle": "F12", "pause": "F13", "clock-jump": "F13", "clock-back": "F13",
    "rolled-back-disk": "F16", "hostile: set-back": "F16", "hostile: twins": "F17",
    "hostile: amnesia": "F17", "hostile: wrong-link": "F18", "hostile: silent": "F18",
    "hostile: selective": "F18", "hostile: withholder": "F18", "hostile: liar-in-catch-up": "F18",
    "hostile: stuffer": "F18", "bad submissions": "F21", "hostile: wrong-clock-ahead": "F23",
    "hostile: wrong-clock-behind": "F23", "hostile: frozen-clock": "F23",
}  # fmt: skip
"""The fault's row in `tests/cells.toml`."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one seed leaves behind."""

    seed: int
    events: int
    virtual_ms: int
    height: int
    faults: dict[str, int]
    invariant: str | None = None
    sentence: str = ""


@dataclass(slots=True)
class Campaign:
    engine: Engine
    seeds: int = 0
    first: int = 0
    last: int = 0
    events: int = 0
    virtual_ms: int = 0
    blocks: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[int, str]] = field(default_factory=list)
    took_s: float = 0.0

    def add(self, told: Told) -> None:
        self.first = told.seed if not self.seeds else self.first
        self.seeds, self.last = self.seeds + 1, told.seed
        self.events += told.events
        self.virtual_ms += told.virtual_ms
        self.blocks += told.height
        for name, count in told.faults.items():
            self.faults[name] = self.faults.get(name, 0) + count
        if told.invariant is not None:
            self.failures.append((told.seed, told.invariant))

    def report(self) -> str:
        """One JSON object."""
        facts = {
            "engine": self.engine, "first": self.first, "last": self.last, "seeds": self.seeds,
            "events": self.events, "virtual_hours": round(self.virtual_ms / 3_600_000, 2),
            "blocks": self.blocks, "minutes": round(self.took_s / 60, 1),
            "faults": dict(sorted(self.faults.items())), "rows": self.rows,
            "failures": self.failures, "commit": commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}",
        }  # fmt: skip
        return json.dumps(facts, indent=1) + "\n"

    @property
    def rows(self) -> list[str]:
        """Rows of the table of faults that this campaign touched; every invariant is checked in every seed."""
        found = {ROWS[name] for name in self.faults if name in ROWS}
        return sorted(found, key=lambda row: int(row[1:]))

    def summary(self) -> str:
        """For people: Markdown."""
        failures = "none" if not self.failures else ""
        return "\n".join(
            [
                f"# Campaign of the simulator, {self.engine}",
                "",
                "| | |",
                "|---|---|",
                f"| date | {datetime.now(UTC):%Y-%m-%d} |",
                f"| commit | {commit()} |",
                f"| seeds | {self.seeds:,} ({self.first} to {self.last}, each once) |",
                f"| events | {self.events:,} |",
                f"| virtual hours | {self.virtual_ms / 3_600_000:.2f} |",
                f"| blocks | {self.blocks:,} |",
                f"| real minutes | {self.took_s / 60:.1f} |",
                f"| rows of faults touched | {' '.join(self.rows)} |",
                f"| failures | {len(self.failures)} |",
                "",
                "| fault | how often (weather, hostile members and bad submissions: seeds) |",
                "|---|---|",
                *[f"| {name} | {count:,} |" for name, count in sorted(self.faults.items())],
                "",
                f"Failing seeds: {failures}",
                *[f"- {seed}: {invariant}" for seed, invariant in self.failures],
                "",
            ]
        )


def commit() -> str:
    """The commit that is checked out, with a `+` if files differ from it; "unknown" without git."""
    try:
        name = _git("rev-parse", "--short=12", "HEAD")
        return name + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*command: str) -> str:
    run = subprocess.run(
        ["git", *command], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return run.stdout.strip()


def play(engine: Engine, seeds: Iterable[int], until: float | None, jobs: int) -> Iterator[Told]:
    """Results in the order of the seeds. `until`: the moment (monotonic seconds) after which no new seed is begun."""
    source = iter(seeds)
    if jobs == 1:
        for seed in source:
            yield tell(engine, seed)
            if until is not None and time.monotonic() >= until:
                return
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, context, max_tasks_per_child=SEEDS_PER_PROCESS) as pool:
        waiting: deque[Future[Told]] = deque(
            pool.submit(tell, engine, seed) for seed in islice(source, jobs + AHEAD)
        )
        while waiting:
            yield waiting.popleft().result()
            if until is None or time.monotonic() < until:
                waiting.extend(pool.submit(tell, engine, seed) for seed in islice(source, 1))


def tell(engine: Engine, seed: int) -> Told:
    """Play one seed."""
    plan = plan_of(seed, engine)
    result = run_seed(seed, plan=plan)
    faults = dict(result.struck)
    weather = {name: getattr(plan.weather, name) for name in ("loss", "duplication", "reorder")}
    drawn = [name for name, share in weather.items() if share]
    drawn += [f"hostile: {nature}" for nature in plan.hostile.values()]
    drawn += ["bad submissions"] if plan.bad_share else []
    drawn += ["delay"] if plan.weather.delay_ms_mean > FAIR.delay_ms_mean else []
    for name in drawn:
        faults[name] = faults.get(name, 0) + 1
    return _told(seed, result, faults)


def _told(seed: int, result: Result, faults: dict[str, int]) -> Told:
    broken = result.violation
    facts = (seed, result.events, result.virtual_ms, result.height, faults)
    return Told(*facts) if broken is None else Told(*facts, broken.invariant, broken.sentence)


def smallest(engine: Engine, seed: int, invariant: str) -> str:
    """The command that plays the smallest plan found that breaks the same invariant."""
    plan = plan_of(seed, engine)
    changes = shrink(plan, invariant)
    left = changed(plan, changes)
    return f"{replay_command(plan, changes)}   # {left.members} members, faults {left.faults}"
