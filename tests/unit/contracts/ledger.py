"""A ledger in memory behind the contracts' real port, and short words to write payments with.

Digests and body ids are fakes: the contracts never look inside them.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256

from tallystick.contracts import Account, BlockInput, BlockResult, check_block, execute_block
from tallystick.contracts.first_state import first_state
from tallystick.network.proofs.receipts import OUTCOME, Outcome
from tallystick.network.proofs.windows import ENTRY_BYTES
from tallystick.network.wire.genesis import (
    AssetEntry,
    Genesis,
    Parameters,
    ParticipantEntry,
    RuleEntry,
    account_id,
    chain_of,
    genesis_hash,
)
from tallystick.network.wire.ids import (
    AccountId,
    BodyId,
    NodeId,
    ParticipantId,
    PaymentId,
    TxDigest,
)
from tallystick.network.wire.membership import MemberEntry
from tallystick.network.wire.reasons import BY_NUMBER, RejectReason
from tallystick.network.wire.transactions import (
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
    Witness,
)

HOUR_MS = 3_600_000
START_MS = 480_000 * HOUR_MS
"""A full hour, so that tests can count buckets."""

CENTRAL_BANK, BANK_A, BANK_B = ParticipantId(1), ParticipantId(2), ParticipantId(3)
CAP, LIMIT = 500, 1_000
"""Limits of tier 2 in USD, in cents; EUR has ten times as much, tier 3 a hundred times."""


def h(*parts: object) -> bytes:
    return sha256(repr(parts).encode()).digest()


def key_of(name: str) -> bytes:
    """33 bytes that look like a compressed key."""
    return b"\x02" + h("key", name)


def rules() -> tuple[RuleEntry, ...]:
    return tuple(
        RuleEntry(rule, 1, asset, tier, limit * scale * factor)
        for rule, limit in ((1, CAP), (4, LIMIT))
        for asset, scale in (("EUR", 10), ("USD", 1))
        for tier, factor in ((2, 1), (3, 100_000))
    )


PARAMETERS = Parameters(
    max_validity_ms=86_400_000,
    window_ms=60_000,
    precision_ms=500,
    late_ms=5_000,
    idle_block_ms=1_000,
    view_timeout_ms=600,
    view_timeout_ms_max=8_000,
    pipeline=2,
    block_transactions_max=2_000,
    block_work_max=40_000,
)
"""Written out: the golden history's genesis must not change with a default."""


def genesis_of(
    rule_entries: tuple[RuleEntry, ...] | None = None, parameters: Parameters | None = None
) -> Genesis:
    return Genesis(
        version=1,
        name="a ledger for tests",
        lane=0,
        engine="pbft",
        created_ms=START_MS,
        parameters=parameters or PARAMETERS,
        members=(MemberEntry(NodeId(0), "n0", BANK_A, bytes(32), bytes(32)),),
        participants=(
            ParticipantEntry(CENTRAL_BANK, "central bank", (key_of("cb"),), 1, h("seed", 1)[:16]),
            ParticipantEntry(BANK_A, "bank a", (key_of("a"),), 1, h("seed", 2)[:16]),
            ParticipantEntry(BANK_B, "bank b", (key_of("b"),), 1, h("seed", 3)[:16]),
        ),
        assets=(
            AssetEntry("EUR", 2, CENTRAL_BANK, 10_000_000),
            AssetEntry("USD", 2, CENTRAL_BANK, 1_000_000),
        ),
        rules=rules() if rule_entries is None else rule_entries,
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """A transaction as admission would hand it on."""

    transaction: Transaction
    body_id: BodyId
    digest: TxDigest

    @property
    def key(self) -> bytes:
        return self.transaction.account + self.transaction.id


def checked(transaction: Transaction) -> Checked:
    """Fake names with the real dependence: the digest does not cover witnesses, the body id does."""
    fields = transaction.__struct_fields__
    signed = [getattr(transaction, name) for name in fields if name != "witnesses"]
    digest = h("digest", type(transaction).__name__, *signed)
    return Checked(transaction, BodyId(h("body", digest, transaction.witnesses)), TxDigest(digest))


def signed_by(*names: str) -> tuple[Witness, ...]:
    return tuple(Witness(0, key, bytes(64)) for key in sorted(key_of(name) for name in names))


@dataclass
class Ledger:
    """`StateReader` over plain dicts; `play` makes a block, checks it, executes it and keeps its writes."""

    genesis: Genesis = field(default_factory=genesis_of)
    accounts: dict[bytes, Account] = field(default_factory=dict)
    records: dict[bytes, bytes] = field(default_factory=dict)
    ids: dict[bytes, bytes] = field(default_factory=dict)
    bodies: set[bytes] = field(default_factory=set)
    windows: dict[int, list[bytes]] = field(default_factory=dict)
    """Start of a window in ms → its entries, in the order in which they were consumed."""
    height: int = 0
    time_ms: int = START_MS
    counter: int = 0

    def __post_init__(self) -> None:
        self.chain = chain_of(genesis_hash(self.genesis))
        self.keep(first_state(self.genesis))

    def account(self, account: bytes, /) -> Account | None:
        return self.accounts.get(account)

    def record(self, key: bytes, /) -> bytes | None:
        return self.records.get(key)

    def taken(self, keys: AbstractSet[bytes], /) -> dict[bytes, bytes]:
        return {key: self.ids[key] for key in keys & self.ids.keys()}

    def refused(self, body_ids: AbstractSet[bytes], /) -> AbstractSet[bytes]:
        return body_ids & self.bodies

    def consumed(self, start_ms: int, begin: int, end: int, /) -> list[bytes]:
        return sorted(self.windows[start_ms])[begin:end]

    def keep(self, result: BlockResult) -> None:
        self.accounts.update(result.accounts)
        self.records.update(result.records)
        self.ids.update(result.taken)
        self.bodies.update(result.refused)
        for start_ms, entries in result.consumed.items():
            self.windows.setdefault(start_ms, []).extend(
                entries[at : at + ENTRY_BYTES] for at in range(0, len(entries), ENTRY_BYTES)
            )

    def block(self, *transactions: Transaction, at_ms: int | None = None) -> BlockInput:
        return BlockInput(
            self.chain,
            0,
            self.height + 1,
            self.time_ms if at_ms is None else at_ms,
            self.genesis.engine,
            self.genesis.parameters,
            [checked(transaction) for transaction in transactions],
        )

    def play(self, *transactions: Transaction, at_ms: int | None = None) -> list[Outcome]:
        block = self.block(*transactions, at_ms=at_ms)
        fault = check_block(self, block)
        if fault is not None:
            raise AssertionError(f"an invalid block: {fault}")
        result = execute_block(self, block)
        self.keep(result)
        self.height, self.time_ms = block.height, block.time_ms
        return [OUTCOME.decode(leaf) for leaf in result.outcomes]

    # -- short words --

    def root(self, participant: ParticipantId) -> AccountId:
        return account_id(self.chain, participant, 0)

    def fresh_id(self) -> PaymentId:
        self.counter += 1
        return PaymentId(h("id", self.counter))

    def until(self) -> int:
        return self.time_ms + 30_000

    def opens(
        self,
        participant: ParticipantId,
        signer: str,
        keys: Sequence[str],
        threshold: int = 1,
        tier: int = 2,
    ) -> OpenAccount:
        return OpenAccount(
            chain=self.chain,
            lane=0,
            account=self.root(participant),
            id=self.fresh_id(),
            valid_until_ms=self.until(),
            payload_root=bytes(32),
            keys=tuple(sorted(key_of(name) for name in keys)),
            threshold=threshold,
            tier=tier,
            seed=h("seed", self.counter)[:16],
            witnesses=signed_by(signer),
        )

    def issues(
        self,
        creditor: bytes,
        amount_minor: int,
        asset: str = "USD",
        issuer: ParticipantId = CENTRAL_BANK,
        signer: str = "cb",
    ) -> Issue:
        return Issue(
            chain=self.chain,
            lane=0,
            account=self.root(issuer),
            id=self.fresh_id(),
            valid_until_ms=self.until(),
            payload_root=bytes(32),
            creditor=AccountId(creditor),
            asset=asset,
            amount_minor=amount_minor,
            witnesses=signed_by(signer),
        )

    def pays(
        self,
        debtor: bytes,
        creditor: bytes,
        amount_minor: int,
        *signers: str,
        asset: str = "USD",
        payment_id: bytes | None = None,
        until_ms: int | None = None,
        settle_by_ms: int = 0,
    ) -> Transfer:
        return Transfer(
            chain=self.chain,
            lane=0,
            account=AccountId(debtor),
            id=self.fresh_id() if payment_id is None else PaymentId(payment_id),
            valid_until_ms=self.until() if until_ms is None else until_ms,
            payload_root=bytes(32),
            creditor=AccountId(creditor),
            asset=asset,
            amount_minor=amount_minor,
            settle_by_ms=settle_by_ms,
            witnesses=signed_by(*signers),
        )

    def balance(self, account: bytes, asset: str = "USD") -> int:
        return self.accounts[account].balances.get(asset, 0)


def reason_of(outcome: Outcome) -> RejectReason | None:
    return BY_NUMBER.get(outcome.reason)


@dataclass
class Town:
    """A ledger with Alice at bank a and Bob at bank b, tier 2, and money in both currencies with Alice."""

    ledger: Ledger
    alice: bytes
    bob: bytes


def town(
    genesis: Genesis | None = None, usd: int = 100_000, eur: int = 100_000, tier: int = 2
) -> Town:
    ledger = Ledger(genesis or genesis_of())
    opened = ledger.play(
        ledger.opens(BANK_A, "a", ["alice"], tier=tier), ledger.opens(BANK_B, "b", ["bob"])
    )
    alice, bob = (outcome.opened for outcome in opened)
    issues = [
        ledger.issues(alice, amount, asset)
        for asset, amount in (("USD", usd), ("EUR", eur))
        if amount
    ]
    for outcome in ledger.play(*issues):
        assert outcome.status == 1
    return Town(ledger, alice, bob)
