"""Plays seeds of the simulator: whole networks in virtual time, with faults, clients and checkers (see tests/sim).

`--seeds A-B` plays those, `--minutes N` as many as fit, each once and in order. Prints each failing seed with the invariant that
broke, the command that replays it, and the smallest plan found that breaks the same one; exit code 1 if there was one.
`--json FILE` and `--summary FILE.md` write what was played: seeds, events, virtual hours, faults, failures, commit, date.
"""

import argparse
import sys
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sim.campaign import Campaign, play, smallest
from tests.sim.plan import plan_of
from tests.sim.shrink import replay_command

CAMPAIGN_FROM = 3_000_000
"""Campaigns begin here, so that they play other seeds than the tests, and every fault that there is."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=("pbft", "raft"), default="pbft")
    parser.add_argument("--seeds", metavar="A-B", help="first and last seed, both played")
    parser.add_argument("--minutes", type=float, help="play as many seeds as fit")
    parser.add_argument("--from", dest="first", type=int, default=CAMPAIGN_FROM, metavar="A")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--summary", type=Path, metavar="FILE.md")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--no-shrink", action="store_true", help="only name the failing seeds")
    options = parser.parse_args()
    seeds, until = _range(parser, options)

    campaign, started = Campaign(options.engine), time.monotonic()
    for told in play(options.engine, seeds, until, options.jobs):
        campaign.add(told)
        if told.invariant is not None:
            command = replay_command(plan_of(told.seed, options.engine))
            print(f"seed {told.seed}: {told.invariant}: {told.sentence}\n  {command}", flush=True)
        elif campaign.seeds % 50 == 0:
            failed = len(campaign.failures)
            print(
                f"{campaign.seeds} seeds, {campaign.events} events, {failed} failures", flush=True
            )
    campaign.took_s = time.monotonic() - started
    print(
        f"{campaign.seeds} seeds, {campaign.events} events in {campaign.took_s:.0f} s"
        f" ({campaign.events / max(campaign.took_s, 0.001):,.0f} events/s):"
        f" {len(campaign.failures)} failures",
        flush=True,
    )
    if options.json is not None:
        options.json.write_text(campaign.report())
    if options.summary is not None:
        options.summary.write_text(campaign.summary())
    if not options.no_shrink:
        for seed, invariant in campaign.failures[:3]:
            print(f"smallest that breaks {invariant}: {smallest(options.engine, seed, invariant)}")
    return 1 if campaign.failures else 0


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


if __name__ == "__main__":
    sys.exit(main())
