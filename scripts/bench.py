"""What Tallystick costs on this machine: one table, and the same as JSON for machines.

Four nodes and the load share the processors, with TLS, AML limits, receipts and fsync on. The figure to judge by is
`cpu_ratio`: CPU of one transaction on one node, by that of one signature check timed inside the same nodes in the same run.
Absolute rates drift with the machine. Every node's CPU is read from /proc; what settled, from the nodes' own counters.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tallystick.network.wire.faults import present

from local_network import LocalNetwork, Trouble

WARM_UP_S = 4
RATE_MAX = 9_000
"""Payments per second that are signed ahead for four nodes: more than two cores settle."""
RATE_ONE_MAX = 16_000
"""The same for one node, which has the cores for itself."""
IN_FLIGHT = 4
"""Batches in flight at each node."""
LATENCY_RATE = 100
FLOOD_FACTOR = 5


class Loader:
    """The load's process."""

    def __init__(self, network: LocalNetwork) -> None:
        script = Path(__file__).with_name("bench_load.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), str(network.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def send(self, do: str, **options: Any) -> None:
        pipe = present(self._process.stdin, "the load was started without a pipe")
        pipe.write(json.dumps({"do": do, **options}) + "\n")
        pipe.flush()

    def answer(self) -> dict[str, Any]:
        line = present(self._process.stdout, "the load was started without a pipe").readline()
        if not line:
            raise Trouble(
                f"the load ended with status {self._process.wait()}; its words stand above"
            )
        return dict(json.loads(line))

    def ask(self, do: str, **options: Any) -> dict[str, Any]:
        self.send(do, **options)
        return self.answer()

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of every node at one moment."""

    at_s: float
    cpu_s: dict[str, float]
    metrics: dict[str, dict[str, float]]

    @classmethod
    def of(cls, network: LocalNetwork) -> "Reading":
        names = list(network.running)
        metrics = {name: network.metrics(name) for name in names}
        return cls(time.monotonic(), {name: network.cpu_s(name) for name in names}, metrics)


@dataclass(frozen=True, slots=True)
class Sustained:
    """What happened between two readings, per node."""

    settled_per_s: float
    """What a quorum of the nodes has settled: one that lags is not waited for."""
    cpu_us_per_tx_per_node: float
    signature_check_us: float
    check_us: float
    """One whole admission check: decode, canonical form, digest, signature."""

    @property
    def cpu_ratio(self) -> float:
        return self.cpu_us_per_tx_per_node / self.signature_check_us

    @classmethod
    def between(cls, first: Reading, last: Reading) -> "Sustained":
        def grown(name: str, metric: str) -> float:
            return last.metrics[name][metric] - first.metrics[name][metric]

        names = list(first.cpu_s)
        settled = {name: grown(name, "tallystick_settled_total") for name in names}
        if min(settled.values()) <= 0:
            raise Trouble(f"nothing was settled during the measurement: {settled}")
        cpu = sum((last.cpu_s[name] - first.cpu_s[name]) / settled[name] for name in names)
        samples = sum(grown(name, "tallystick_sampled_signatures_total") for name in names)
        sampled_s = sum(
            grown(name, "tallystick_sampled_signature_cpu_seconds_total") for name in names
        )
        checked = sum(grown(name, "tallystick_checked_total") for name in names)
        checked_s = sum(grown(name, "tallystick_check_cpu_seconds_total") for name in names)
        return cls(
            sorted(settled.values())[len(names) // 3] / (last.at_s - first.at_s),
            1e6 * cpu / len(names),
            1e6 * sampled_s / samples if samples else float("nan"),
            1e6 * checked_s / checked if checked else float("nan"),
        )


def sustained(
    network: LocalNetwork, load: Loader, seconds: float, batch: int, rate_max: int
) -> tuple[Sustained, dict[str, Any]]:
    """Warm up, then measure for `seconds` under full load."""
    load.ask("sign", count=int(rate_max * (seconds + WARM_UP_S + 1)))
    load.send("saturate", seconds=seconds + WARM_UP_S + 1, in_flight=IN_FLIGHT, batch=batch)
    time.sleep(WARM_UP_S)
    first = Reading.of(network)
    time.sleep(seconds)
    last = Reading.of(network)
    return Sustained.between(first, last), load.answer()


def end_leader(
    network: LocalNetwork, load: Loader, rate: int, how: signal.Signals
) -> tuple[float, float]:
    """(longest pause in ms around the leader's end, the next longest), at `rate` payments a second."""
    leader = network.leader()
    load.ask("sign", count=rate * 10)
    load.send("steady", seconds=8, rate=rate, batch=max(1, rate // 100), dead=leader)
    load.answer()
    time.sleep(1.0)
    network.signal(leader, how)
    pauses = [*load.answer()["pauses_ms"], 0.0, 0.0]
    network.start(leader)
    network.wait_ready(leader)
    return pauses[0], pauses[1]


def flood(
    network: LocalNetwork, load: Loader, best: float, batch: int, seconds: float = 12.0
) -> dict[str, Any]:
    """Offer five times what was settled at best; what settles meanwhile, what is refused, how fast it is well again."""
    load.ask("sign", count=int(RATE_MAX * (seconds + 4)))
    load.send("flood", seconds=seconds, rate=int(FLOOD_FACTOR * best), batch=batch)
    time.sleep(2.0)
    first = Reading.of(network)
    time.sleep(seconds - 3.0)
    last = Reading.of(network)
    facts = load.answer()
    settled_per_s = Sustained.between(first, last).settled_per_s
    return {
        "offered_per_s": round(facts["offered_per_s"]),
        "refused_429": facts["refused"],
        "settled_per_s": round(settled_per_s, 1),
        "settled_ratio": round(settled_per_s / best, 3),
        "recovery_ms": round(facts["recovery_ms"], 1),
    }


def measure_four(folder: Path, options: argparse.Namespace, say: Any) -> dict[str, Any]:
    network = LocalNetwork.init(folder / "four", members=4, engine=options.engine)
    if options.plain:
        network.leave_plain()
    network.start_all(observer=False)
    load = Loader(network)
    try:
        load.ask("open")
        say(f"four nodes: {LATENCY_RATE} payments a second for {options.latency_seconds} s")
        load.ask("sign", count=LATENCY_RATE * (options.latency_seconds + 3))
        load.ask("paced", seconds=2, rate=LATENCY_RATE)
        calm = load.ask("paced", seconds=options.latency_seconds, rate=LATENCY_RATE)
        say(f"four nodes: as much as they take for {options.seconds} s")
        full, facts = sustained(network, load, options.seconds, options.batch, RATE_MAX)
        result = {
            "settled_per_s": round(full.settled_per_s, 1),
            "p50_ms": round(calm["p50_ms"], 2),
            "p99_ms": round(calm["p99_ms"], 2),
            "cpu_us_per_tx_per_node": round(full.cpu_us_per_tx_per_node, 2),
            "signature_check_us": round(full.signature_check_us, 2),
            "cpu_ratio": round(full.cpu_ratio, 3),
            "engine": options.engine,
            "sealed": not options.plain,
            "whole_check_us": round(full.check_us, 2),
            "load": facts,
        }
        if not options.quick:
            say("four nodes: five times what they take")
            result["flood"] = flood(network, load, full.settled_per_s, options.batch)
            say(f"four nodes: the leader is killed under load, {options.kills} times")
            gaps = [end_leader(network, load, 1_000, signal.SIGKILL) for _ in range(options.kills)]
            result["leader_kill_gap_ms"] = round(max(first for first, _ in gaps), 1)
            result["leader_kill_gaps_ms"] = [round(first, 1) for first, _ in gaps]
            result["further_gap_ms"] = round(max(second for _, second in gaps), 1)
            say("four nodes: the leader is stopped in order under load")
            gap, _ = end_leader(network, load, 1_000, signal.SIGTERM)
            result["hand_over_gap_ms"] = round(gap, 1)
        return result
    finally:
        load.close()
        network.stop()


def measure_one(folder: Path, options: argparse.Namespace, say: Any) -> dict[str, Any]:
    say("one node: as much as it takes for 10 s")
    network = LocalNetwork.init(folder / "one", members=1, engine=options.engine)
    if options.plain:
        network.leave_plain()
    network.start_all(observer=False)
    load = Loader(network)
    try:
        load.ask("open")
        full, _ = sustained(network, load, min(10.0, options.seconds), options.batch, RATE_ONE_MAX)
        return {
            "settled_per_s": round(full.settled_per_s, 1),
            "cpu_us_per_tx": round(full.cpu_us_per_tx_per_node, 2),
            "cpu_ratio": round(full.cpu_ratio, 3),
        }
    finally:
        load.close()
        network.stop()


def machine() -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def table(result: dict[str, Any]) -> Table:
    show = Table(
        "figure",
        "value",
        "wanted",
        title=f"four {result['engine']} nodes{'' if result['sealed'] else ' with plain data folders'} and the load on this machine",
        title_justify="left",
    )
    show.add_row("settled per second", f"{result['settled_per_s']:,.0f}", "≥ 4,500")
    show.add_row("CPU per transaction per node", f"{result['cpu_us_per_tx_per_node']:.1f} µs", "")
    show.add_row(
        "one signature check, inside the nodes", f"{result['signature_check_us']:.1f} µs", ""
    )
    show.add_row("CPU ratio", f"{result['cpu_ratio']:.2f}", "≤ 2.2")
    show.add_row(
        "p50 / p99 at 100 a second",
        f"{result['p50_ms']:.1f} / {result['p99_ms']:.1f} ms",
        "≤ 15 / 50 ms",
    )
    if "leader_kill_gap_ms" in result:
        show.add_row(
            "leader killed → next settled block",
            f"{result['leader_kill_gap_ms']:,.0f} ms",
            "≤ 2,000 ms",
        )
        show.add_row("longest pause after that", f"{result['further_gap_ms']:,.0f} ms", "none")
        show.add_row("leader stopped in order", f"{result['hand_over_gap_ms']:,.0f} ms", "≤ 250 ms")
        flooded = result["flood"]
        show.add_row("settled under a flood ÷ best", f"{flooded['settled_ratio']:.2f}", "≥ 0.8")
        show.add_row("refused with 429 in the flood", f"{flooded['refused_429']:,}", "> 0")
        show.add_row(
            "first payment after the flood", f"{flooded['recovery_ms']:,.0f} ms", "at once"
        )
    if "one_node" in result:
        one = result["one_node"]
        show.add_row(
            "one node alone", f"{one['settled_per_s']:,.0f} / s at {one['cpu_ratio']:.2f}", ""
        )
    return show


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=int, default=30, help="length of the sustained measurement"
    )
    parser.add_argument("--engine", choices=("pbft", "raft"), default="pbft")
    parser.add_argument("--latency-seconds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=200, help="payments of one request")
    parser.add_argument("--kills", type=int, default=3, help="how often the leader is killed")
    parser.add_argument(
        "--plain", action="store_true", help="data folders that are not sealed, to compare"
    )
    parser.add_argument("--quick", action="store_true", help="no flood, no kills, no single node")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="leave the folder with the nodes' logs")
    options = parser.parse_args()
    console = Console(stderr=True)
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    result: dict[str, Any] = {}
    complete = False
    try:

        def say(text: str) -> None:
            console.print(f"[dim]{text}[/]")

        before = machine()
        result = measure_four(folder, options, say)
        if not options.quick:
            result["one_node"] = measure_one(folder, options, say)
        result["machine"] = before
        complete = True
    except Trouble as trouble:
        console.print(f"[red]bench:[/] {trouble}\nThe logs are in {folder}")
        return 1
    finally:
        if complete and not options.keep:
            shutil.rmtree(folder)
    Console().print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
