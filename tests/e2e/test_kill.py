"""kill -9 of any node at any time loses nothing that was accepted, and every node comes back to the same state."""

import asyncio
import random
import secrets
import time

import pytest

from tallystick.network.wire.ids import AccountId
from tallystick.network.wire.transactions.codec import decode
from tallystick.wallet.signers import LocalSigner

from bulk_client import NodeClient, Press, keystore_signer, limits, outcomes, settle
from local_network import LocalNetwork

ACCEPTED, FINAL = 2, 3
PAYMENTS = 400
"""For each killed node; ten in a batch."""


class Town:
    """Two accounts of each bank, one paying the other, and every payment that was accepted."""

    def __init__(self, network: LocalNetwork) -> None:
        self.network = network
        self.press = Press.of(network)
        self.banks = network.members
        self.signers = {bank: LocalSigner.generate() for bank in self.banks}
        self.accounts: dict[str, list[AccountId]] = {}
        self.accepted: dict[bytes, bytes] = {}
        """Body id → bytes."""
        self.submitted = 0

    async def open(self) -> None:
        issuer = keystore_signer(self.network, "central-bank")
        tier, _, _ = limits(self.network, "USD")
        async with NodeClient.to(self.network, self.banks[0], "central-bank") as mint:
            for bank in self.banks:
                root = keystore_signer(self.network, bank)
                key = self.signers[bank].key
                raws = [self.press.open_account(bank, root, key, tier, self.id()) for _ in range(2)]
                async with NodeClient.to(self.network, bank, bank) as client:
                    opened = await settle(client, raws)
                self.accounts[bank] = [AccountId(outcome.opened) for outcome in opened]
                payer = self.accounts[bank][0]
                await settle(
                    mint, [self.press.issue("central-bank", issuer, payer, "USD", 10**6, self.id())]
                )

    def id(self) -> bytes:
        return secrets.token_bytes(32)

    async def pay_on(self, bank: str, stop: asyncio.Event) -> None:
        """Batches of ten through the bank's own node, waiting for `accepted`, until told to stop."""
        payer, receiver = self.accounts[bank]
        async with NodeClient.to(self.network, bank, bank) as client:
            while not stop.is_set():
                raws = [
                    self.press.transfer(self.signers[bank], payer, receiver, "USD", 1, self.id())
                    for _ in range(10)
                ]
                self.submitted += len(raws)
                try:
                    reply = await client.submit(raws, ACCEPTED, 5_000)
                except Exception:
                    await asyncio.sleep(
                        0.05
                    )  # the node is dead: nothing is known of this batch, so nothing is claimed
                    continue
                for raw, row in zip(raws, reply.rows, strict=False):
                    if row.state >= ACCEPTED:
                        self.accepted[row.body_id] = raw
                await asyncio.sleep(0.02)


@pytest.mark.timeout(240)
async def test_kill_9_of_any_node_under_load_loses_nothing_that_was_accepted(
    network: LocalNetwork,
) -> None:
    town = Town(network)
    await town.open()
    stop = asyncio.Event()
    payers = [asyncio.create_task(town.pay_on(bank, stop)) for bank in town.banks]
    dice = random.Random(5)
    leader = network.leader()
    for victim in [leader, *(name for name in network.members if name != leader)]:
        await asyncio.sleep(0.5 + dice.random())
        await asyncio.to_thread(network.kill, victim)
        await asyncio.sleep(1.5)
        await asyncio.to_thread(network.start, victim)
        await asyncio.to_thread(network.wait_ready, victim)
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*payers)

    assert len(town.accepted) >= PAYMENTS, (
        f"only {len(town.accepted)} of {town.submitted} were accepted"
    )
    survivors = await final_outcomes(town)
    assert set(survivors) == set(town.accepted)
    assert all(reason == 0 for reason in survivors.values())
    names = [*network.members, "regulator"]
    roots = await asyncio.to_thread(network.wait_level, names)
    assert len(set(roots.values())) == 1


async def final_outcomes(town: Town) -> dict[bytes, int]:
    """Body id → reason of every accepted payment, as the nodes answer the same bytes handed in again."""
    found: dict[bytes, int] = {}
    by_bank: dict[str, list[bytes]] = {bank: [] for bank in town.banks}
    for raw in town.accepted.values():
        payer = decode(raw).account
        bank = next(b for b in town.banks if town.accounts[b][0] == payer)
        by_bank[bank].append(raw)
    for at, bank in enumerate(town.banks):
        other = town.banks[(at + 1) % len(town.banks)]
        async with NodeClient.to(town.network, other, bank) as client:
            for start in range(0, len(by_bank[bank]), 200):
                reply = await client.submit(by_bank[bank][start : start + 200], FINAL, 20_000)
                found |= {body: outcome.reason for body, outcome in outcomes(reply).items()}
    return found


@pytest.mark.timeout(60)
async def test_a_network_without_its_leader_settles_again_within_two_seconds(
    network: LocalNetwork,
) -> None:
    town = Town(network)
    await town.open()
    leader = network.leader()
    bank = next(name for name in network.members if name != leader)
    payer, receiver = town.accounts[bank]
    async with NodeClient.to(network, bank, bank) as client:
        await asyncio.to_thread(network.kill, leader)
        began = time.monotonic()
        raw = town.press.transfer(town.signers[bank], payer, receiver, "USD", 1, town.id())
        (outcome,) = await settle(client, [raw])
        took_s = time.monotonic() - began
    await asyncio.to_thread(network.start, leader)
    await asyncio.to_thread(network.wait_ready, leader)
    assert outcome.reason == 0
    assert took_s < 5.0, f"{took_s:.2f} s without a leader (2 s wanted, 5 s on a busy machine)"
