"""Clients: they open accounts, issue and pay, make every mistake that clients make, and ask again elsewhere when nobody answers.

A client never gives up on a transaction that it sent well-formed; it tries another node with the same bytes. What it is told
is handed to the checkers.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from msgspec.structs import replace

from tallystick.network.proofs.receipts import Outcome, Status
from tallystick.network.wire.genesis import (
    AssetEntry,
    Genesis,
    ParticipantEntry,
    RuleEntry,
    account_id,
)
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId, PaymentId
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.transactions import Issue, OpenAccount, Transaction, Transfer
from tallystick.network.wire.transactions.codec import decode
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import Wait
from tests.sim.crypto import Purse, VoteKeys, spend_public
from tests.sim.plan import BANKS, EPOCH_MS, Plan

CAP_MINOR = 50_000
ROLLING_MINOR = 400_000
SUPPLY_CAP_MINOR = 5_000_000
STRANGER = 99
RETRIES_MAX = 5


def genesis_of(plan: Plan, keys: VoteKeys) -> Genesis:
    """A small network: three banks, two assets, tight limits."""
    members = tuple(
        MemberEntry(NodeId(node), f"node-{node}", ParticipantId(node % BANKS), keys.public[node], bytes([node]) * 32)
        for node in range(plan.members)
    )  # fmt: skip
    banks = tuple(
        ParticipantEntry(ParticipantId(bank), f"bank-{bank}", (spend_public(bank),), 1, bytes([bank]) * 16)
        for bank in range(BANKS)
    )  # fmt: skip
    assets = tuple(
        AssetEntry(code, 2, ParticipantId(0), SUPPLY_CAP_MINOR) for code in ("EUR", "USD")
    )
    rules = tuple(
        RuleEntry(rule, 1, asset.code, tier, limit)
        for rule, limit in ((1, CAP_MINOR), (4, ROLLING_MINOR))
        for asset in assets
        for tier in range(4)
    )
    spares = tuple(
        SpareEntry(NodeId(change.ids[0]), ParticipantId(change.bank))
        for change in plan.changes
        if change.kind == "spare"
    )
    created_ms = EPOCH_MS - 1_000
    return Genesis(1, f"sim {plan.seed}", 0, plan.engine, created_ms, plan.parameters, members, banks, assets, rules, spares=spares)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Payer:
    account: AccountId
    bank: int
    key: int


class Town(Protocol):
    """What clients see of the world."""

    def shown_ms(self) -> int:
        """What a good clock shows."""
        ...

    def submit(self, bodies: tuple[bytes, ...], wait: Wait, attempt: "Attempt") -> None: ...

    def after(self, delay_ms: int, attempt: "Attempt") -> None:
        """Look after this attempt later."""
        ...


@dataclass(slots=True)
class Attempt:
    """Some transactions on their way to a final answer."""

    bodies: tuple[bytes, ...]
    wait: Wait
    tries: int = 0
    done: bool = False


@dataclass(slots=True)
class Workload:
    plan: Plan
    draw: Random
    purse: Purse
    town: Town
    payers: list[Payer] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    opening: dict[bytes, int] = field(default_factory=dict)
    """Id of an OpenAccount → number of the key that the new account gets."""
    _count: int = 0

    def __post_init__(self) -> None:
        for bank in range(BANKS):
            account = account_id(self.purse.chain, ParticipantId(bank), 0)
            self.payers.append(Payer(account, bank, bank))

    # -- the ledger's answers ------------------------------------------------------------------------------------------

    def on_outcome(self, _height: int, transaction: Transaction, outcome: Outcome) -> None:
        """An account has been opened: it can pay from now on."""
        if isinstance(transaction, OpenAccount) and outcome.status == Status.SETTLED:
            key = self.opening[transaction.id]
            account = self.account_of(outcome.account)
            self.payers.append(Payer(AccountId(outcome.opened), account.bank, key))

    def account_of(self, account: bytes) -> Payer:
        return next(payer for payer in self.payers if payer.account == account)

    def told(self, attempt: Attempt, answers: tuple[Answer, ...]) -> None:
        retry = any(answer.reason is not None and answer.reason.retryable for answer in answers)
        attempt.done = not retry and all(answer.state != "pending" for answer in answers)

    # -- sending -------------------------------------------------------------------------------------------------------

    def send_some(self) -> None:
        """One submission of one client."""
        bodies = tuple(self.make() for _ in range(self.draw.randint(1, self.plan.bodies_per_submission)))  # fmt: skip
        wait = self.draw.choice((Wait.RECEIVED, Wait.ACCEPTED, Wait.FINAL, Wait.FINAL))
        self.try_(Attempt(bodies, wait))

    def try_(self, attempt: Attempt) -> None:
        """Once more, at some node."""
        if attempt.done or attempt.tries == RETRIES_MAX:
            return
        attempt.tries += 1
        self.town.submit(attempt.bodies, attempt.wait, attempt)
        self.town.after(self.plan.retry_ms, attempt)

    # -- what they send ------------------------------------------------------------------------------------------------

    def make(self) -> bytes:
        """A transaction, right or wrong."""
        if len(self.payers) < 8 and self.draw.random() < 0.3:
            raw = self.open_account()
        elif self._count < 6 or self.draw.random() < 0.05:
            raw = self.issue()
        elif self.draw.random() < self.plan.bad_share:
            raw = self.wrong()
        else:
            raw = self.pay()
        self.sent.append(raw)
        return raw

    def fields(self, payer: Payer, **changes: object) -> dict[str, object]:
        """The fields that all kinds share, with a new id."""
        self._count += 1
        common: dict[str, object] = {
            "chain": self.purse.chain,
            "lane": 0,
            "account": payer.account,
            "id": PaymentId(self._count.to_bytes(32, "big")),
            "valid_until_ms": self.town.shown_ms() + self.draw.randint(*self.plan.validity_ms),
            "payload_root": bytes(32),
        }
        return common | changes

    def draft(self, payer: Payer, **changes: object) -> Transfer:
        creditor = self.draw.choice([other for other in self.payers if other != payer])
        mine = {"creditor": creditor.account, "asset": "USD", "amount_minor": self.amount()}
        return Transfer(**(self.fields(payer) | mine | changes))  # type: ignore[arg-type]

    def amount(self) -> int:
        return self.draw.randint(1, 9_000)

    def pay(self) -> bytes:
        payer = self.draw.choice(self.payers)
        return self.purse.sign(self.draft(payer), payer.key)

    def issue(self) -> bytes:
        central = self.payers[0]
        creditor = self.draw.choice(self.payers)
        mine = {"creditor": creditor.account, "asset": self.draw.choice(("USD", "USD", "EUR")), "amount_minor": 40_000}  # fmt: skip
        return self.purse.sign(Issue(**(self.fields(central) | mine)), central.key)  # type: ignore[arg-type]

    def open_account(self) -> bytes:
        bank = self.payers[self.draw.randrange(BANKS)]
        fields = self.fields(bank)
        key = 100 + self._count
        self.opening[bytes(fields["id"])] = key  # type: ignore[call-overload]
        mine = {"keys": (spend_public(key),), "threshold": 1, "tier": 1, "seed": bytes(16)}
        return self.purse.sign(OpenAccount(**(fields | mine)), bank.key)  # type: ignore[arg-type]

    def wrong(self) -> bytes:
        """A client's mistake, or a thief's attempt."""
        payer, draw = self.draw.choice(self.payers), self.draw
        match draw.choice(
            (
                "unfunded",
                "over the cap",
                "again",
                "same id, other content",
                "foreign key",
                "same digest, other key",
                "expired",
                "too far",
                "other chain",
                "unknown account",
                "over the supply",
                "not the issuer",
                "bad signature",
                "garbage",
                "settle by passed",
            )
        ):
            case "unfunded":
                return self._signed(payer, asset="EUR", amount_minor=CAP_MINOR)
            case "over the cap":
                return self._signed(payer, amount_minor=CAP_MINOR + 1)
            case "again":
                return draw.choice(self.sent) if self.sent else self.pay()
            case "same id, other content":
                return self._same_id(payer)
            case "foreign key":
                return self.purse.sign(self.draft(payer), STRANGER)
            case "same digest, other key":
                return self._resigned(payer)
            case "expired":
                return self._signed(payer, valid_until_ms=self.town.shown_ms() - 1_500)
            case "too far":
                far_ms = self.town.shown_ms() + self.plan.parameters.max_validity_ms + 700
                return self._signed(payer, valid_until_ms=far_ms)
            case "other chain":
                return self._signed(payer, chain=self.purse.chain ^ 1)
            case "unknown account":
                return self._signed(payer, account=AccountId(b"\xee" * 20))
            case "over the supply":
                return self._issue_too_much()
            case "not the issuer":
                mine = {"creditor": payer.account, "asset": "USD", "amount_minor": 5}
                return self.purse.sign(Issue(**(self.fields(self.payers[1]) | mine)), 1)  # type: ignore[arg-type]
            case "bad signature":
                raw = self.pay()
                return raw[:-1] + bytes([raw[-1] ^ 1])
            case "settle by passed":
                return self._signed(payer, settle_by_ms=self.town.shown_ms() - 900)
            case _:
                return draw.randbytes(draw.randrange(1, 90))

    def _signed(self, payer: Payer, **changes: object) -> bytes:
        return self.purse.sign(self.draft(payer, **changes), payer.key)

    def _same_id(self, payer: Payer) -> bytes:
        first = self._signed(payer)
        self.sent.append(first)
        again = replace(decode(first), valid_until_ms=self.town.shown_ms() + self.plan.validity_ms[1], witnesses=())  # fmt: skip
        return self.purse.sign(again, payer.key)

    def _resigned(self, payer: Payer) -> bytes:
        """Somebody takes a message that he has seen, and signs it himself."""
        first = self._signed(payer)
        if self.draw.random() < 0.5:
            self.sent.append(first)  # its owner sends it too, later
        return self.purse.sign(replace(decode(first), witnesses=()), STRANGER)

    def _issue_too_much(self) -> bytes:
        central = self.payers[0]
        mine = {"creditor": central.account, "asset": "EUR", "amount_minor": SUPPLY_CAP_MINOR}
        return self.purse.sign(Issue(**(self.fields(central) | mine)), central.key)  # type: ignore[arg-type]
