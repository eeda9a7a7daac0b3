"""Payers for the end-to-end tests: two accounts of each bank, and every payment whose acceptance was reported.

What a client was told is the only thing that counts here: `accepted` holds what must never be lost, `settled_at` when a
receipt of a height came back.
"""

import asyncio
import secrets
import time
from dataclasses import dataclass, field

from tallystick.network.wire.ids import AccountId
from tallystick.network.wire.transactions.codec import decode
from tallystick.wallet.signers import LocalSigner

from bulk_client import NodeClient, Press, keystore_signer, limits, outcomes, settle
from local_network import LocalNetwork

ACCEPTED, FINAL = 2, 3
BATCH = 10


@dataclass
class Town:
    network: LocalNetwork
    accepted: dict[bytes, bytes] = field(default_factory=dict)
    """Body id → bytes."""
    settled_at: list[tuple[float, int]] = field(default_factory=list)
    """(monotonic s, height) whenever a payment came back final in a higher block than any before."""
    submitted: int = 0

    def __post_init__(self) -> None:
        self.press = Press.of(self.network)
        self.banks = self.network.members
        self.signers = {bank: LocalSigner.generate() for bank in self.banks}
        self.accounts: dict[str, list[AccountId]] = {}

    async def open(self) -> None:
        """Two accounts for each bank, the first one funded."""
        issuer = keystore_signer(self.network, "central-bank")
        tier, _, _ = limits(self.network, "USD")
        async with NodeClient.to(self.network, self.banks[0], "central-bank") as mint:
            for bank in self.banks:
                root, key = keystore_signer(self.network, bank), self.signers[bank].key
                raws = [self.press.open_account(bank, root, key, tier, fresh_id()) for _ in "12"]
                async with NodeClient.to(self.network, bank, bank) as client:
                    opened = await settle(client, raws)
                self.accounts[bank] = [AccountId(outcome.opened) for outcome in opened]
                payer = self.accounts[bank][0]
                issue = self.press.issue("central-bank", issuer, payer, "USD", 10**6, fresh_id())
                await settle(mint, [issue])

    def payment(self, bank: str) -> bytes:
        """One dollar cent from the bank's first account to its second."""
        payer, receiver = self.accounts[bank]
        return self.press.transfer(self.signers[bank], payer, receiver, "USD", 1, fresh_id())

    async def pay_on(self, bank: str, stop: asyncio.Event) -> None:
        """Batches through the bank's own node, waiting for `accepted`, until told to stop."""
        async with NodeClient.to(self.network, bank, bank) as client:
            while not stop.is_set():
                raws = [self.payment(bank) for _ in range(BATCH)]
                self.submitted += len(raws)
                try:
                    reply = await client.submit(raws, ACCEPTED, 5_000)
                except Exception:
                    # The node is dead: nothing is known of this batch, so nothing is claimed.
                    await asyncio.sleep(0.05)
                    continue
                for raw, row in zip(raws, reply.rows, strict=False):
                    if row.state >= ACCEPTED:
                        self.accepted[row.body_id] = raw
                await asyncio.sleep(0.02)

    async def settle_on(self, bank: str, stop: asyncio.Event) -> None:
        """Single payments through the bank's own node, one after the other, each waited for until it is final."""
        async with NodeClient.to(self.network, bank, bank) as client:
            while not stop.is_set():
                try:
                    reply = await client.submit([self.payment(bank)], FINAL, 10_000)
                except Exception:
                    await asyncio.sleep(0.02)
                    continue
                top = self.settled_at[-1][1] if self.settled_at else 0
                if reply.rows and reply.rows[0].state == FINAL and reply.rows[0].height > top:
                    self.settled_at.append((time.monotonic(), reply.rows[0].height))
                await asyncio.sleep(0.01)

    async def final_reasons(self) -> dict[bytes, int]:
        """Body id → reason of every accepted payment, as another node answers the same bytes handed in again."""
        found: dict[bytes, int] = {}
        by_bank: dict[str, list[bytes]] = {bank: [] for bank in self.banks}
        owners = {self.accounts[bank][0]: bank for bank in self.banks}
        for raw in self.accepted.values():
            by_bank[owners[AccountId(decode(raw).account)]].append(raw)
        for at, bank in enumerate(self.banks):
            other = self.banks[(at + 1) % len(self.banks)]
            async with NodeClient.to(self.network, other, bank) as client:
                for start in range(0, len(by_bank[bank]), 200):
                    part = by_bank[bank][start : start + 200]
                    reply = await client.submit(part, FINAL, 20_000)
                    found |= {body: outcome.reason for body, outcome in outcomes(reply).items()}
        return found

    async def nothing_accepted_was_lost(self) -> None:
        """Every accepted payment is settled, and all nodes that run come to one state."""
        reasons = await self.final_reasons()
        assert set(reasons) == set(self.accepted)
        assert all(reason == 0 for reason in reasons.values())
        roots = await asyncio.to_thread(self.network.wait_level, list(self.network.running))
        assert len(set(roots.values())) == 1


def fresh_id() -> bytes:
    return secrets.token_bytes(32)
