"""The demo's counters: one wallet of the SDK per bank, a key per customer, and a record of every verified answer.

Decided here: how a line of the file becomes a signed payment (a line that comes again is the same bytes again), and how the
times in the closing table are measured: from handing over to the verified receipt.
"""

import asyncio
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tallystick.network.proofs.document import receipt_to_bytes
from tallystick.network.wire.ids import AccountId, PaymentId
from tallystick.network.wire.transactions import Transaction
from tallystick.wallet.client import Wallet
from tallystick.wallet.core import build
from tallystick.wallet.core.approvals import signed_by
from tallystick.wallet.core.outcomes import FinalOutcome, Rejected, Settled
from tallystick.wallet.core.signed import Signed, seal
from tallystick.wallet.signers import LocalSigner

import demo_day
from bulk_client import NodeClient, keystore_signer, limits
from demo_books import Row
from local_network import LocalNetwork, Trouble

TURN_S = 0.02
"""Payments that fall due within this time leave a bank together."""
CHUNK = 200

Tick = Callable[[int], None]


class Day:
    """Every answer of the day. Times in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.outcomes: dict[bytes, FinalOutcome] = {}
        """Body id → verified outcome."""
        self.latencies_s: list[float] = []
        self.heights: list[tuple[float, int]] = []
        self.repeated = 0
        self.done = 0
        self.seconds = 0.0
        self._top = 0

    def record(self, outcome: FinalOutcome, began_s: float) -> None:
        now = time.monotonic()
        self.done += 1
        self.latencies_s.append(now - began_s)
        if outcome.reference.body_id in self.outcomes:
            self.repeated += 1
        self.outcomes[outcome.reference.body_id] = outcome
        if outcome.receipt is not None and outcome.receipt.outcome.height > self._top:
            self._top = outcome.receipt.outcome.height
            self.heights.append((now, self._top))

    def settled(self) -> int:
        return sum(isinstance(outcome, Settled) for outcome in self.outcomes.values())

    def rejected(self) -> dict[str, int]:
        """Reason → count, sorted by reason."""
        found = Counter(
            outcome.reason.code
            for outcome in self.outcomes.values()
            if isinstance(outcome, Rejected)
        )
        return dict(sorted(found.items()))

    def percentile_ms(self, percent: int) -> float:
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

    def longest_pause_ms(self, after_s: float) -> float:
        """The longest time without a new block in the five seconds after `after_s`."""
        times = [when for when, _ in self.heights]
        pauses = [
            1000 * (late - max(early, after_s))
            for early, late in itertools.pairwise(times)
            if after_s <= late and early <= after_s + 5.0
        ]
        return max(pauses, default=0.0)

    def samples(self) -> dict[str, bytes]:
        """One receipt of a settled and one of a rejected payment, as files."""
        found: dict[str, bytes] = {}
        for outcome in self.outcomes.values():
            kind = "settled" if isinstance(outcome, Settled) else "rejected"
            if kind not in found and outcome.receipt is not None:
                found[kind] = receipt_to_bytes(outcome.receipt)
        return found


class Tellers:
    """All banks' wallets and customers."""

    def __init__(self, network: LocalNetwork) -> None:
        self.network = network
        self.banks = network.members
        self.day = Day()
        self.issued: list[FinalOutcome] = []
        self._signers: dict[str, LocalSigner] = {}
        self._accounts: dict[str, AccountId] = {}
        self._signed: dict[tuple[str, ...], Signed] = {}
        self._wallets = {
            name: Wallet(network.folder, keystore_signer(network, name), token=network.token(name))
            for name in [*self.banks, demo_day.CENTRAL_BANK]
        }
        for at, bank in enumerate(self.banks):
            self._wallets[bank].endpoints.prefer(at)  # each bank begins at its own node
        found = {limits(network, asset) for asset in demo_day.ASSETS}
        self._tier = next(iter(found))[0]
        self.limits = (demo_day.CAP_MINOR, demo_day.ROLLING_MINOR)
        if found != {(self._tier, *self.limits)}:
            raise Trouble(
                f"{demo_day.__name__} was made for other limits than the genesis file's: {sorted(found)}"
            )

    async def open_accounts(self, names: Sequence[str], tick: Tick) -> None:
        """An account and a key for each customer; each bank opens its own."""

        async def of_bank(bank: str) -> None:
            wallet = self._wallets[bank]
            mine = [name for name in names if name.startswith(f"{bank}/")]
            self._signers |= {name: LocalSigner.generate() for name in mine}
            openings = [
                wallet.sign(
                    build.open_account(
                        wallet.terms,
                        account=wallet.account,
                        keys=[self._signers[name].key],
                        threshold=1,
                        tier=self._tier,
                        seed=hashlib.sha256(self._signers[name].key).digest()[:16],
                        id=named(name),
                        now_ms=now_ms(),
                    )
                )
                for name in mine
            ]
            for name, outcome in zip(mine, await finals(wallet, openings, tick), strict=True):
                if not isinstance(outcome, Settled) or outcome.opened is None:
                    raise Trouble(f"the account of {name} was not opened: {outcome}")
                self._accounts[name] = outcome.opened

        await asyncio.gather(*(of_bank(bank) for bank in self.banks))

    async def issue(self, rows: Sequence[Row], tick: Tick) -> None:
        wallet = self._wallets[demo_day.CENTRAL_BANK]
        signed = [
            wallet.sign(
                build.issue(
                    wallet.terms,
                    account=wallet.account,
                    creditor=self._accounts[row.receiver],
                    amount=amount(row),
                    asset=row.asset,
                    id=named(row.id),
                    now_ms=now_ms(),
                )
            )
            for row in rows
        ]
        self.issued = await finals(wallet, signed, tick)
        if not all(isinstance(outcome, Settled) for outcome in self.issued):
            raise Trouble("the central bank could not issue")

    async def play(self, rows: Sequence[Row], rate: int, tick: Tick) -> None:
        """The day's lines in their order, `rate` of them a second; returns when each has its verified receipt."""
        began = time.monotonic()
        at = 0
        async with asyncio.TaskGroup() as group:
            while at < len(rows):
                due = min(len(rows), int((time.monotonic() - began) * rate) + 1)
                by_bank: dict[str, list[Signed]] = {}
                for row in rows[at:due]:
                    by_bank.setdefault(row.payer.split("/")[0], []).append(self._payment(row))
                for bank, signed in by_bank.items():
                    group.create_task(self._send(bank, signed, tick))
                at = max(at, due)
                await asyncio.sleep(TURN_S)
        self.day.seconds = time.monotonic() - began

    async def _send(self, bank: str, signed: list[Signed], tick: Tick) -> None:
        began = time.monotonic()
        for outcome in await finals(self._wallets[bank], signed, tick):
            self.day.record(outcome, began)

    def _payment(self, row: Row) -> Signed:
        """The line's signed payment; the same message again is the same bytes again."""
        if row.message not in self._signed:
            wallet = self._wallets[row.payer.split("/")[0]]
            transfer = build.transfer(
                wallet.terms,
                account=self._accounts[row.payer],
                creditor=self._accounts[row.receiver],
                amount=amount(row),
                asset=row.asset,
                id=named(row.id),
                now_ms=now_ms(),
                payload_root=hashlib.sha256(row.remark.encode()).digest(),
            )
            self._signed[row.message] = self._sealed(wallet, transfer, self._signers[row.payer])
        return self._signed[row.message]

    @staticmethod
    def _sealed(wallet: Wallet, transaction: Transaction, signer: LocalSigner) -> Signed:
        digest = wallet.digester.digest(transaction)
        return seal(signed_by(transaction, digest, signer), wallet.digester)

    async def balances(self, node: str) -> dict[tuple[str, str], int]:
        """(customer, asset) → minor units, without zeros, as `node` reads them from certified state."""
        found: dict[tuple[str, str], int] = {}
        async with NodeClient.to(self.network, node, "regulator") as reader:
            for name, account in self._accounts.items():
                answer = await reader.get(f"/v1/accounts/{account.hex()}")
                for entry in answer["balances"]:
                    if entry["amount_minor"]:
                        found[name, entry["asset"]] = entry["amount_minor"]
        return found

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(wallet.close() for wallet in self._wallets.values()))


async def finals(wallet: Wallet, signed: Sequence[Signed], tick: Tick) -> list[FinalOutcome]:
    """Submit, wait, verify; the final outcomes in order. Raises the first error that stands in the way of one."""
    results: list[FinalOutcome] = []
    for start in range(0, len(signed), CHUNK):
        for outcome in await wallet.submit_many(signed[start : start + CHUNK]):
            if isinstance(outcome, Exception):
                raise outcome
            results.append(outcome)
            tick(1)
    return results


def amount(row: Row) -> str:
    return f"{row.amount_minor // 100}.{row.amount_minor % 100:02}"


def named(text: str) -> PaymentId:
    """32 bytes for a name of the file."""
    return PaymentId(hashlib.sha256(b"tallystick demo: " + text.encode()).digest())


def now_ms() -> int:
    return time.time_ns() // 1_000_000
