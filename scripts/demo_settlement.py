"""The first demo: four banks settle a day of payments, lose their leader in the middle, and can prove every outcome.

The story in five chapters: a network is made; money is issued; the day is played; the books are compared with an addition that
imports nothing of Tallystick (`demo_books`); receipts are verified offline. Nothing is staged: the processes, the signatures,
the SIGKILL and the files are real, and the closing table is computed from verified receipts and certified state.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_books
import demo_day
from demo_books import Books, Row
from demo_stage import Stage
from demo_teller import Day, Tellers
from local_network import OBSERVER, LocalNetwork, Trouble, stop_left_over, tallystick

DAY = Path(__file__).with_name("demo_day.csv")
PAYMENTS_PER_S = 450
"""How fast the day is played: a day in twelve seconds, far below what the network takes."""
KILL_AT, RESTART_AT = 0.35, 0.65
"""Parts of the day after which the leader is killed, and started again."""


@dataclass(slots=True)
class Night:
    """What happened to the leader."""

    leader: str = ""
    killed_s: float = 0.0
    caught_up_ms: float = 0.0


def play(stage: Stage, options: argparse.Namespace) -> int:
    """The whole demo; 0 if everything held."""
    began = time.monotonic()
    folder = options.folder.resolve()
    stage.console.print("[bold]Tallystick[/]: four banks, one day, every outcome provable")
    network = make_network(stage, folder, options.keep, options.engine)
    finished = False
    try:
        held, result = asyncio.run(tell(stage, network))
        finished = held
    finally:
        if not (options.keep and finished):
            network.stop()
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    stage.console.print(
        f"\n[dim]{time.monotonic() - began:.0f} seconds in all. The network's files are in {folder}[/]"
    )
    if options.keep and finished:
        show_how_to_go_on(stage, network)
    return 0 if held else 1


async def tell(stage: Stage, network: LocalNetwork) -> tuple[bool, dict[str, Any]]:
    """Chapters 2 to 5; whether all held, and the closing table for machines."""
    rows = list(demo_books.read(DAY))
    morning = [row for row in rows if row.payer == demo_day.CENTRAL_BANK]
    payments = [row for row in rows if row.payer != demo_day.CENTRAL_BANK]
    async with Tellers(network) as tellers:
        books = demo_books.add_up(rows, *tellers.limits)
        await issue(stage, tellers, morning, payments)
        day, night = await settle_day(stage, network, tellers, payments)
        held, result = await close_books(stage, network, tellers, day, night, books)
    held &= verify_offline(stage, network, day)
    return held, result


def make_network(stage: Stage, folder: Path, keep: bool, engine: str) -> LocalNetwork:
    stage.chapter(
        "A network is made",
        "A genesis file, identities and certificates; four banks' nodes and a regulator's observer.",
    )
    stop_left_over(folder)
    if folder.exists():
        if not (folder / "genesis.json").is_file() and any(folder.iterdir()):
            raise Trouble(f"{folder} holds something else: name another place with --folder")
        shutil.rmtree(folder)
    network = LocalNetwork.init(folder, members=4, keep=keep, engine=engine)
    stage.tell(f"genesis   {folder / 'genesis.json'}")
    names = [*network.members, OBSERVER]
    try:
        for name in names:
            network.start(name)
        with stage.progress("the nodes start and find each other", len(names)) as bar:
            for name in names:
                network.wait_ready(name, 45.0)
                bar.advance()
    except BaseException:
        network.stop()
        raise
    for name in names:
        what = "observer, checks it all" if name == OBSERVER else "member, votes"
        stage.tell(
            f"{name:10} process {network.running[name].pid:<8} {network.endpoint(name)[0]}   [dim]{what}[/]"
        )
    return network


async def issue(stage: Stage, tellers: Tellers, morning: list[Row], payments: list[Row]) -> None:
    stage.chapter(
        "Money is issued",
        "Banks open their customers' accounts; the central bank issues dollars and euros.",
    )
    names = sorted({row.payer for row in payments} | {row.receiver for row in morning + payments})
    with stage.progress("accounts are opened", len(names)) as bar:
        await tellers.open_accounts(names, bar.advance)
    stage.good(f"{len(names)} accounts of {len(tellers.banks)} banks, each with a key of its own")
    with stage.progress("money is issued", len(morning)) as bar:
        await tellers.issue(morning, bar.advance)
    for asset in demo_day.ASSETS:
        total = sum(row.amount_minor for row in morning if row.asset == asset)
        stage.good(f"{money(total)} {asset} issued by the central bank's key")


async def settle_day(
    stage: Stage, network: LocalNetwork, tellers: Tellers, payments: list[Row]
) -> tuple[Day, Night]:
    stage.chapter(
        "The day is settled",
        f"{len(payments):,} payments from {DAY.name}, signed by the wallet SDK, submitted to all four nodes.",
    )
    night = Night()
    with stage.progress("payments", len(payments)) as bar:
        running = asyncio.create_task(tellers.play(payments, PAYMENTS_PER_S, bar.advance))
        day = tellers.day
        await reached(day, running, int(KILL_AT * len(payments)))
        night.leader = await asyncio.to_thread(network.leader)
        victim = network.running[night.leader].pid
        night.killed_s = time.monotonic()
        await asyncio.to_thread(network.kill, night.leader)
        stage.bad(
            f"the leader {night.leader} is killed: SIGKILL to process {victim} after {day.done:,} payments"
        )
        await reached(day, running, int(RESTART_AT * len(payments)))
        stage.good(
            f"the others went on after {day.longest_pause_ms(night.killed_s):,.0f} ms without a leader"
        )
        await catch_up(stage, network, night)
        await running
    stage.good(f"{day.done:,} payments answered, each receipt verified before it was counted")
    return day, night


async def catch_up(stage: Stage, network: LocalNetwork, night: Night) -> None:
    """Start the killed node again; it fetches what it missed and checks every certificate."""
    other = next(name for name in network.members if name != night.leader)
    process = await asyncio.to_thread(network.start, night.leader)
    began = time.monotonic()
    await asyncio.to_thread(network.wait_ready, night.leader)
    goal = await asyncio.to_thread(height, network, other)
    first = mine = await asyncio.to_thread(height, network, night.leader)
    while mine < goal and time.monotonic() < began + 30:
        await asyncio.sleep(0.02)
        mine = await asyncio.to_thread(height, network, night.leader)
    night.caught_up_ms = 1000 * (time.monotonic() - began)
    stage.check(
        mine >= goal,
        f"{night.leader} is back, process {process.pid}, {goal - first} blocks behind;"
        f" caught up after {night.caught_up_ms:,.0f} ms",
    )


def height(network: LocalNetwork, name: str) -> int:
    return int(network.status(name)["height"])


async def reached(day: Day, running: asyncio.Task[None], payments: int) -> None:
    """Until so many payments are answered, or the play has ended."""
    while day.done < payments and not running.done():
        await asyncio.sleep(0.02)
    if running.done():
        await running


async def close_books(
    stage: Stage, network: LocalNetwork, tellers: Tellers, day: Day, night: Night, books: Books
) -> tuple[bool, dict[str, Any]]:
    stage.chapter(
        "The books are closed",
        "Certified state, against an addition of the input file that imports nothing of ours.",
    )
    roots = await asyncio.to_thread(network.wait_level, [*network.members, OBSERVER])
    balances = await tellers.balances(OBSERVER)
    issued = {asset: books.supply[asset] for asset in demo_day.ASSETS}
    held = {
        asset: sum(have for (_, name), have in balances.items() if name == asset)
        for asset in demo_day.ASSETS
    }
    expected = {key: amount for key, amount in books.balances.items() if amount}
    rejected = day.rejected()
    result = {
        "settled": day.settled(),
        "rejected": rejected,
        "payments_per_s": round(day.done / day.seconds, 1),
        "finality_p50_ms": round(day.percentile_ms(50), 2),
        "finality_p99_ms": round(day.percentile_ms(99), 2),
        "leaderless_ms": round(day.longest_pause_ms(night.killed_s), 1),
        "state_roots": roots,
        "balances_equal": balances == expected,
        "supply_conserved": held == issued,
    }
    stage.table("The day", closing_rows(result, day))
    ok = stage.check(
        result["settled"] == books.settled - len(tellers.issued),
        "as many settled as the addition says",
    )
    ok &= stage.check(
        rejected == dict(sorted(books.rejected.items())), "as many rejected, for the same reasons"
    )
    ok &= stage.check(
        balances == expected, f"{len(expected)} balances equal the independent addition"
    )
    ok &= stage.check(
        held == issued, "supply conserved: " + ", ".join(f"{money(held[a])} {a}" for a in held)
    )
    ok &= stage.check(
        len(set(roots.values())) == 1, f"{len(roots)} state roots equal, the observer's among them"
    )
    return ok, result


def closing_rows(result: dict[str, Any], day: Day) -> list[tuple[str, str]]:
    rows = [("settled", f"{result['settled']:,}")]
    rows += [(f"rejected: {reason}", f"{count:,}") for reason, count in result["rejected"].items()]
    rows += [
        ("sent twice, answered by the first receipt", f"{day.repeated:,}"),
        ("payments per second (as offered)", f"{result['payments_per_s']:,.0f}"),
        (
            "finality p50 / p99",
            f"{result['finality_p50_ms']:.1f} / {result['finality_p99_ms']:.1f} ms",
        ),
        ("time without a leader", f"{result['leaderless_ms']:,.0f} ms"),
    ]
    rows += [
        (f"state root of {name}", f"{root[:24]}…") for name, root in result["state_roots"].items()
    ]
    return rows


def verify_offline(stage: Stage, network: LocalNetwork, day: Day) -> bool:
    stage.chapter(
        "Receipts are verified",
        "Offline: a file and the genesis file, no network, no trust in who sent it.",
    )
    folder = network.folder / "receipts"
    folder.mkdir(exist_ok=True)
    genesis = network.folder / "genesis.json"
    held = True
    for kind, document in day.samples().items():
        path = folder / f"{kind}.json"
        path.write_bytes(document)
        stage.command(f"tallystick receipt verify {path.name} --genesis genesis.json")
        code, words = verify(path, genesis)
        stage.quote(words)
        held &= stage.check(code == 0, f"the receipt of a {kind} payment verifies")
        changed = folder / f"{kind}-changed.json"
        changed.write_bytes(with_a_changed_byte(document))
        code, words = verify(changed, genesis)
        stage.quote("\n".join(words.strip().splitlines()[-1:]))
        held &= stage.check(code == 1, f"with one byte changed it fails (exit {code})")
    return held


def verify(path: Path, genesis: Path) -> tuple[int, str]:
    """(exit status, words) of the verifier in a process of its own."""
    command = tallystick("receipt", "verify", str(path), "--genesis", str(genesis))
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout or run.stderr


def with_a_changed_byte(document: bytes) -> bytes:
    """The same file with one hex digit in the middle of its longest hex string replaced by another."""
    runs = [
        run for run in document.split(b'"') if len(run) >= 64 and not run.strip(b"0123456789abcdef")
    ]
    longest = max(runs, key=len)
    at = document.index(longest) + len(longest) // 2
    digit = b"1" if document[at : at + 1] == b"0" else b"0"
    return document[:at] + digit + document[at + 1 :]


def show_how_to_go_on(stage: Stage, network: LocalNetwork) -> None:
    here, command = network.folder, Path(sys.executable).with_name("tallystick")
    roots = {entry["name"]: entry["root_account"] for entry in network.document["participants"]}
    stage.console.print("\n[bold]The network goes on running[/]")
    for name in sorted(network.running):
        stage.tell(f"{name:10} {network.endpoint(name)[0]}")
    stage.console.print("\n[bold]Try next[/]")
    for line in (
        f"cd {here}",
        f"{command} status --token-file tokens/regulator.jwt",
        f"{command} issue {roots['bank-a']} 100.00 USD --as central-bank",
        f"{command} pay {roots['bank-b']} 12.50 USD --as bank-a",
    ):
        stage.command(line)
    stage.console.print("\n[bold]End it[/]")
    stage.command(f"kill $(cat {here}/pids)")


def money(amount_minor: int) -> str:
    return f"{amount_minor // 100:,}.{amount_minor % 100:02}"
