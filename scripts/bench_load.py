"""The load of the bench, in a process of its own: signs ahead, then sends as it is told, one JSON line per command.

`saturate` keeps a fixed number of batches in flight at every node; `paced` sends single payments on a clock, whatever comes
back; `flood` sends more than can be taken and offers again what was refused. Every answer is one JSON line.
"""

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from tallystick.network.wire.ids import AccountId
from tallystick.wallet.signers import LocalSigner

from bulk_client import FINAL, REFUSED, NodeClient, Press, Reply, keystore_signer, limits, settle
from local_network import LocalNetwork, Trouble

SENDERS_PER_BANK = 50
CONNECTIONS = 256
"""To one node: as many calls as a node lets one principal wait for, so that a flood meets the node and not this client."""
FUNDS_MINOR = 1_000_000
AMOUNT_MINOR = 1
ASSET = "USD"


class Bank:
    """One bank's accounts, its signed payments, and the node that takes them."""

    def __init__(self, name: str, client: NodeClient) -> None:
        self.name = name
        self.client = client
        self.signers = [LocalSigner.generate() for _ in range(SENDERS_PER_BANK)]
        self.accounts: list[AccountId] = []
        self.ready: deque[bytes] = deque()
        self.up = True


class Tally:
    """What came back. Times in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.settled = 0
        self.rejected = 0
        self.refused = 0
        self.open = 0
        self.lost_calls = 0
        self.calls_429 = 0
        self.heights: list[tuple[float, int]] = []
        """(when, height) each time a higher block than ever before was heard of."""
        self.top = 0

    def read(self, reply: Reply) -> None:
        now = time.monotonic()
        if reply.status != 200:
            self.calls_429 += 1
            return
        for row in reply.rows:
            if row.state == FINAL:
                self.settled += row.reason == 0
                self.rejected += row.reason != 0
                if row.height > self.top:
                    self.top = row.height
                    self.heights.append((now, row.height))
            elif row.state == REFUSED:
                self.refused += 1
            else:
                self.open += 1

    def longest_pauses_ms(self, after_s: float) -> list[float]:
        """The longest stretches without a new block since `after_s`, longest first."""
        times = [when for when, _ in self.heights]
        pauses = [1000 * (b - a) for a, b in itertools.pairwise(times) if b >= after_s]
        return sorted(pauses, reverse=True)[:5]

    def facts(self) -> dict[str, Any]:
        return {
            "settled": self.settled,
            "rejected": self.rejected,
            "refused": self.refused,
            "refused_calls": self.calls_429,
            "open": self.open,
            "lost_calls": self.lost_calls,
        }


class Load:
    """All banks of one network."""

    def __init__(self, network: LocalNetwork) -> None:
        self.press = Press.of(network)
        self.network = network
        self.banks = [
            Bank(name, NodeClient.to(network, node, name, CONNECTIONS))
            for name, node in placed(network)
        ]
        self._signed = 0
        self._dice = random.Random(7)

    async def open(self) -> dict[str, Any]:
        """Open and fund every sender's account."""
        tier, _, _ = limits(self.network, ASSET)
        issuer = keystore_signer(self.network, "central-bank")
        issuing = NodeClient.to(self.network, self.network.members[0], "central-bank")
        issues = []
        for bank in self.banks:
            root = keystore_signer(self.network, bank.name)
            opening = [
                self.press.open_account(bank.name, root, signer.key, tier, self._id())
                for signer in bank.signers
            ]
            outcomes = await settle(bank.client, opening)
            bank.accounts = [AccountId(outcome.opened) for outcome in outcomes]
            if not all(bank.accounts):
                raise Trouble(
                    f"accounts of {bank.name} were not opened: reason {outcomes[0].reason}"
                )
            issues += [
                self.press.issue("central-bank", issuer, account, ASSET, FUNDS_MINOR, self._id())
                for account in bank.accounts
            ]
        async with issuing:
            outcomes = await settle(issuing, issues)
        if any(outcome.reason for outcome in outcomes):
            raise Trouble(
                f"an issue was rejected with reason {max(outcome.reason for outcome in outcomes)}"
            )
        return {"accounts": sum(len(bank.accounts) for bank in self.banks)}

    def sign(self, count: int) -> dict[str, Any]:
        """Sign `count` more payments, spread over banks and senders, to accounts of other banks."""
        began = time.monotonic()
        for _ in range(count // len(self.banks)):
            for bank in self.banks:
                bank.ready.append(self._fresh(bank))
            self._signed += 1
        return {"signed": count, "seconds": time.monotonic() - began}

    def _fresh(self, bank: Bank) -> bytes:
        """A payment that nobody has seen, from the bank's next sender to any other account."""
        at = self._signed % SENDERS_PER_BANK
        payer = receiver = bank.accounts[at]
        while receiver == payer:
            receiver = self._dice.choice(self._dice.choice(self.banks).accounts)
        return self.press.transfer(
            bank.signers[at], payer, receiver, ASSET, AMOUNT_MINOR, self._id()
        )

    async def saturate(self, seconds: float, in_flight: int, batch: int) -> dict[str, Any]:
        """`in_flight` batches at every node, always."""
        tally, until = Tally(), time.monotonic() + seconds
        workers = [
            self._keep_busy(bank, batch, until, tally)
            for bank in self.banks
            for _ in range(in_flight)
        ]
        await asyncio.gather(*workers)
        return tally.facts()

    async def _keep_busy(self, bank: Bank, batch: int, until: float, tally: Tally) -> None:
        while time.monotonic() < until:
            raws = take(bank, batch)
            if not raws:
                raise Trouble("all signed payments are spent: sign more")
            with counted(tally):
                tally.read(await bank.client.submit(raws, FINAL, 20_000))

    async def paced(self, seconds: float, rate: int) -> dict[str, Any]:
        """One payment every 1/rate s, to the nodes in turn; latency from sending to receipt, in ms."""
        latencies: list[float] = []
        tally = Tally()
        async with asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                bank = self.banks[number % len(self.banks)]
                group.create_task(self._one(bank, tally, latencies))
        return tally.facts() | {
            "p50_ms": percentile(latencies, 50),
            "p99_ms": percentile(latencies, 99),
        }

    async def _one(self, bank: Bank, tally: Tally, latencies: list[float]) -> None:
        began = time.monotonic()
        with counted(tally):
            tally.read(await bank.client.submit(take(bank, 1), FINAL, 20_000))
            latencies.append(1000 * (time.monotonic() - began))

    async def steady(self, seconds: float, rate: int, batch: int, dead: str) -> dict[str, Any]:
        """`rate` payments a second in batches while a leader dies; says when, and how long no new block was heard of.

        The caller kills the node `dead` a second after `began` was printed; payments to it go nowhere from then on.
        """
        tally = Tally()
        print(json.dumps({"began": True}), flush=True)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * rate / batch)):
                await asyncio.sleep(max(0.0, began + number * batch / rate - time.monotonic()))
                bank = self.banks[number % len(self.banks)]
                if not (bank.name == dead and time.monotonic() > began + 0.9):
                    group.create_task(self._batch(bank, batch, tally))
        pauses = tally.longest_pauses_ms(began + 0.9)
        return tally.facts() | {"pauses_ms": pauses}

    async def _batch(self, bank: Bank, batch: int, tally: Tally) -> None:
        with counted(tally):
            tally.read(await bank.client.submit(take(bank, batch), FINAL, 15_000))

    async def flood(self, seconds: float, rate: int, batch: int) -> dict[str, Any]:
        """Offer `rate` payments a second whatever comes back; what was refused is offered again."""
        tally = Tally()
        began = time.monotonic()
        waiting: set[asyncio.Task[None]] = set()
        number = 0
        while time.monotonic() < began + seconds:
            bank = self.banks[number % len(self.banks)]
            raws = take(bank, batch)
            if raws:
                task = asyncio.create_task(self._offer(bank, raws, tally))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number * batch / rate - time.monotonic()))
        ended = time.monotonic()
        offered_per_s = number * batch / (ended - began)
        recovery_ms = await self._probe_ms()
        await asyncio.gather(*waiting)
        return tally.facts() | {"offered_per_s": offered_per_s, "recovery_ms": recovery_ms}

    async def _probe_ms(self) -> float:
        """From now until a payment of a newcomer is final, tried again while it is refused."""
        bank, node = placed(self.network)[-1]
        began = time.monotonic()
        async with NodeClient.to(self.network, node, bank) as newcomer:
            raws = [self._fresh(self.banks[-1])]
            while time.monotonic() < began + 30:
                reply = await newcomer.submit(raws, FINAL, 20_000)
                if reply.rows and reply.rows[0].state == FINAL:
                    break
                await asyncio.sleep(0.02)
        return 1000 * (time.monotonic() - began)

    async def _offer(self, bank: Bank, raws: list[bytes], tally: Tally) -> None:
        with counted(tally):
            reply = await bank.client.submit(raws, FINAL, 20_000)
            tally.read(reply)
            if reply.status != 200:
                tally.refused += len(raws)
                bank.ready.extend(raws)
            else:
                again = [
                    raw for raw, row in zip(raws, reply.rows, strict=True) if row.state == REFUSED
                ]
                bank.ready.extend(again)

    def _id(self) -> bytes:
        return self._dice.randbytes(32)


def take(bank: Bank, count: int) -> list[bytes]:
    ready = bank.ready
    return [ready.popleft() for _ in range(min(count, len(ready)))]


@contextlib.contextmanager
def counted(tally: Tally) -> Iterator[None]:
    """A call that is lost with its node is counted, not raised."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError):
        tally.lost_calls += 1


def percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return (
        ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("nan")
    )


def placed(network: LocalNetwork) -> list[tuple[str, str]]:
    """(bank, node): each bank submits at a node of its own; a network of one node takes them all."""
    members = network.members
    banks = [
        f"bank-{letter}"
        for letter in "abcd"
        if (network.folder / "tokens" / f"bank-{letter}.jwt").is_file()
    ]
    return [(bank, members[at % len(members)]) for at, bank in enumerate(banks)]


async def commands() -> AsyncIterator[dict[str, Any]]:
    """One JSON line each, from standard input."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield json.loads(line)


async def main() -> None:
    load = Load(LocalNetwork(Path(sys.argv[1])))
    async for command in commands():
        name = command.pop("do")
        if name == "sign":
            result = load.sign(**command)
        else:
            result = await getattr(load, name)(**command)
        print(json.dumps(result), flush=True)
    for bank in load.banks:
        await bank.client.close()


if __name__ == "__main__":
    uvloop.run(main())
