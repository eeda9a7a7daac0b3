"""What settling loses while an observer joins from a snapshot: `.venv/bin/python scripts/bench_join.py --seconds 20 --json FILE`.

Four banks settle at full load for as long twice: alone, and while an observer takes their snapshot again and again from an empty
folder. It has the lowest priority, since in a real network it has a machine of its own; with fewer than five cores it takes processor
time from the banks nevertheless. So beside payments per second stands the banks' own CPU for each payment, which is what serving costs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench import IN_FLIGHT, RATE_MAX, WARM_UP_S, Loader, Reading, Sustained, machine

from local_network import OBSERVER, LocalNetwork, tallystick

READINGS_MAX = 5
"""Attempts at reading the nodes' counters."""


class Joiner(threading.Thread):
    """Joins, throws the ledger away, and joins again, until it is told to stop."""

    def __init__(self, network: LocalNetwork) -> None:
        super().__init__(daemon=True)
        self._folder = network.folder_of(OBSERVER)
        self._over = threading.Event()
        self.heights: list[int] = []
        self.seconds: list[float] = []

    def run(self) -> None:
        config = str(self._folder / "node.toml")
        command = [
            *("nice", "-n", "19"),
            *tallystick("observer", "run", "--config", config, "--join", "--json"),
        ]
        while not self._over.is_set():
            shutil.rmtree(self._folder / "data", ignore_errors=True)
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            try:
                said = json.loads(b"".join(self._first_document(process)) or b"{}")
                if "joined" in said:
                    self.heights.append(said["joined"])
                    self.seconds.append(said["seconds"])
            finally:
                process.kill()
                process.wait()

    @staticmethod
    def _first_document(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """What it says once it has joined; it runs on then."""
        for line in process.stdout or ():
            yield line
            if line.rstrip() == b"}":
                return

    def stop(self) -> None:
        self._over.set()
        self.join(60)


def reading(network: LocalNetwork) -> Reading:
    """A node at full load may let a reader wait for longer than he does."""
    for _ in range(READINGS_MAX):
        try:
            return Reading.of(network)
        except OSError:
            continue
    return Reading.of(network)


def measure(folder: Path, seconds: float) -> dict[str, object]:
    network = LocalNetwork.init(folder / "network")
    try:
        network.start_all(observer=False)
        load = Loader(network)
        load.ask("open")
        whole_s = WARM_UP_S + 2 * seconds + 2
        load.ask("sign", count=int(RATE_MAX * whole_s))
        load.send("saturate", seconds=whole_s, in_flight=IN_FLIGHT, batch=100)
        time.sleep(WARM_UP_S)
        readings = [reading(network)]
        time.sleep(seconds)
        readings.append(reading(network))
        joiner = Joiner(network)
        joiner.start()
        time.sleep(seconds)
        readings.append(reading(network))
        joiner.stop()
        load.answer()
        load.close()
    finally:
        network.stop()
    alone, joined = (Sustained.between(*readings[at : at + 2]) for at in (0, 1))
    return {
        "machine": machine(),
        "seconds": seconds,
        "settled_per_s": {"alone": alone.settled_per_s, "joining": joined.settled_per_s},
        "settled_ratio": joined.settled_per_s / alone.settled_per_s,
        "cpu_us_per_tx_per_node": {
            "alone": alone.cpu_us_per_tx_per_node,
            "joining": joined.cpu_us_per_tx_per_node,
        },
        "cpu_ratio_of_serving": joined.cpu_ratio / alone.cpu_ratio,
        "joined_heights": joiner.heights,
        "joined_seconds": joiner.seconds,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two halves")
    parser.add_argument("--json", type=Path, help="where to write the result, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tallystick-join-") as folder:
        text = json.dumps(measure(Path(folder), options.seconds), indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
