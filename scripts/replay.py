"""Plays one seed of the simulator again and tells its story: what was drawn, what happened, what broke.

The same seed gives the same story, byte for byte, on every machine and in every process.
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sim.plan import plan_of
from tests.sim.run import run_seed
from tests.sim.shrink import changed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--engine", choices=("pbft", "raft"), default="pbft")
    parser.add_argument(
        "--with", dest="changes", action="append", default=[], metavar="CHANGE",
        help="play a smaller plan: members=N, chaos=MS, without=FAULT, no-hostile, ...; may be repeated",
    )  # fmt: skip
    parser.add_argument("--last", type=int, default=80, metavar="N", help="lines of the story (80); 0 for all")  # fmt: skip
    parser.add_argument("--node", help="only this host's lines, such as node-2")
    options = parser.parse_args()

    try:
        plan = changed(plan_of(options.seed, options.engine), tuple(options.changes))
    except ValueError as error:
        parser.error(str(error))
    for field in fields(plan):
        print(f"{field.name:22} {getattr(plan, field.name)}")
    result = run_seed(options.seed, told=True, plan=plan)
    story = [line for line in result.story if options.node is None or f" {options.node} " in line]
    print(*(story[-options.last :] if options.last else story), sep="\n")
    print(f"answers: {dict(sorted(result.answers.items()))}")
    print(f"{result.events} events, height {result.height}, trace {result.digest}")
    if result.violation is None:
        print("every invariant held")
        return 0
    print(f"{result.cause}{result.violation}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
