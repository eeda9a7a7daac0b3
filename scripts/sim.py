"""Plays seeds of the simulator: whole networks in virtual time, with faults, clients and checkers (see tests/sim).

`--seeds A-B` plays those, `--minutes N` as many as fit. Prints each failing seed with the invariant that broke and the command
that replays it; exit code 1 if there was one. `--json FILE` writes {"seeds", "events", "failures": [[seed, invariant], ...]}.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sim.run import run_seed

CAMPAIGN_FROM = 1_000_000
"""Campaigns begin here, so that they play other seeds than the tests."""

AHEAD = 8
"""Seeds handed to the workers beyond those that are being played."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", metavar="A-B", help="first and last seed, both played")
    parser.add_argument("--minutes", type=float, help="play as many seeds as fit")
    parser.add_argument("--from", dest="first", type=int, default=CAMPAIGN_FROM, metavar="A")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    seeds, until = _range(parser, options)

    started = time.monotonic()
    played = events = 0
    failures: list[tuple[int, str]] = []
    for seed, seen, invariant, sentence in _play(seeds, until, options.jobs):
        played += 1
        events += seen
        if invariant is not None:
            failures.append((seed, invariant))
            print(f"seed {seed}: {invariant}: {sentence}\n  ./scripts/replay {seed}", flush=True)
        elif played % 50 == 0:
            print(f"{played} seeds, {events} events, {len(failures)} failures", flush=True)
    took_s = time.monotonic() - started
    print(
        f"{played} seeds, {events} events in {took_s:.0f} s"
        f" ({events / max(took_s, 0.001):,.0f} events/s): {len(failures)} failures"
    )
    if options.json is not None:
        report = {"seeds": played, "events": events, "failures": sorted(failures)}
        options.json.write_text(json.dumps(report) + "\n")
    return 1 if failures else 0


def _range(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> tuple[Iterable[int], float | None]:
    """Which seeds, and the moment (monotonic seconds) after which no new one is begun."""
    until = time.monotonic() + 60 * options.minutes if options.minutes is not None else None
    if options.seeds is None:
        if until is None:
            parser.error("say --seeds A-B or --minutes N")
        return count(options.first), until
    first, dash, last = options.seeds.partition("-")
    try:
        return range(int(first), int(last if dash else first) + 1), until
    except ValueError:
        parser.error("--seeds wants two numbers, such as 1-200")


def _play(
    seeds: Iterable[int], until: float | None, jobs: int
) -> Iterator[tuple[int, int, str | None, str]]:
    """Results in the order of the seeds; at most a few more than the workers are handed out ahead."""
    source = iter(seeds)
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        waiting = [pool.submit(_one, seed) for seed in islice(source, jobs + AHEAD)]
        while waiting:
            yield waiting.pop(0).result()
            if until is None or time.monotonic() < until:
                waiting.extend(pool.submit(_one, seed) for seed in islice(source, 1))


def _one(seed: int) -> tuple[int, int, str | None, str]:
    result = run_seed(seed)
    broken = result.violation
    return seed, result.events, broken.invariant if broken else None, broken.sentence if broken else ""  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
