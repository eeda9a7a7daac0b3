"""The demos: `./scripts/demo` plays the first one, `./scripts/demo NAME` any of them, `./scripts/demo --list` names them.

A demo is a function from (stage, options) to an exit status, in a file of its own, entered in `PLAYS`. It makes its network in
a folder of its own and ends what it started, unless it is told to keep it.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import demo_settlement
from demo_stage import Stage
from local_network import Trouble

PLAYS: dict[str, tuple[str, Callable[[Stage, argparse.Namespace], int]]] = {
    "settlement": (
        "four banks settle a day of payments and lose their leader in the middle",
        demo_settlement.play,
    ),
}
FIRST = "settlement"


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Play a demo of Tallystick on this machine.",
        epilog="\n".join(f"  {name:12} {what}" for name, (what, _) in PLAYS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name", nargs="?", default=FIRST, choices=list(PLAYS), help=f"which demo (default: {FIRST})"
    )
    parser.add_argument("--list", action="store_true", help="name the demos and stop")
    parser.add_argument(
        "--keep", action="store_true", help="leave the network running and say how to use it"
    )
    parser.add_argument(
        "--engine",
        choices=("pbft", "raft"),
        default="pbft",
        help="how blocks are agreed on; raft survives crashes only (default: pbft)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the closing table for machines"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("tallystick-demo"),
        help="where the network lives; made anew each time (default: ./tallystick-demo)",
    )
    options = parser.parse_args()
    stage = Stage()
    if options.list:
        for name, (what, _) in PLAYS.items():
            stage.console.print(f"{name:12} {what}")
        return 0
    try:
        return PLAYS[options.name][1](stage, options)
    except Trouble as trouble:
        stage.bad(str(trouble))
        return 1
    except KeyboardInterrupt:
        stage.bad("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
