"""What the ledger holds, under which key, and the working set of one block over its parent's state.

Decided here: the records and their one encoding, the key schema, copy on first change. One record per account holds its
balances and its AML windows, so a payment touches two records. Not here: the Merkle map and its blinds (`network.proofs`),
overlays of blocks that are not yet certified (`node.core`), who may change what (the contracts).
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Protocol, TypeVar

from msgspec import Meta, Struct

from tallystick.contracts.aml.rule_set import active_rules
from tallystick.contracts.aml.windows import Window, hour_of
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import Hash
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused, broken, present
from tallystick.network.wire.genesis import EngineName, Parameters
from tallystick.network.wire.ids import AccountId, BodyId, TxDigest
from tallystick.network.wire.membership import (
    EpochMembers,
    MemberEntry,
    MemberId,
    Name,
    SpareEntry,
)
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import AssetCode, KeyBytes, Transaction

T = TypeVar("T")
U32 = Annotated[int, Meta(ge=0, lt=2**32)]
U63 = Annotated[int, Meta(ge=0, le=2**63 - 1)]

RULES_KEY = b"rules"
MEMBERS_KEY = b"members"


def account_key(account: bytes) -> bytes:
    """Key of an account's record; `account` has 20 bytes."""
    return b"account/" + account


def asset_key(code: str) -> bytes:
    return b"asset/" + code.encode("ascii")


def participant_key(participant: int) -> bytes:
    return b"participant/" + participant.to_bytes(4, "big")


class _AccountRecord(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The value of an account's record. Codes ascend; a balance that was ever held stays, zero included."""

    format: Literal[1]
    participant: U32
    serial: U63
    tier: Annotated[int, Meta(ge=0, le=3)]
    threshold: Annotated[int, Meta(ge=1, le=bounds.SIGNATURES_MAX)]
    keys: Annotated[tuple[KeyBytes, ...], Meta(min_length=1, max_length=bounds.SIGNATURES_MAX)]
    balances: Annotated[tuple[tuple[AssetCode, U63], ...], Meta(max_length=bounds.ASSETS_MAX)]
    sent: Annotated[tuple[tuple[AssetCode, Window], ...], Meta(max_length=bounds.ASSETS_MAX)]


ACCOUNT = Codec(_AccountRecord, bytes_max=65_536)
"""64 assets with full windows of 25 buckets need about 40,000 bytes."""


class Account(Struct, gc=False):
    """One account in memory. Mutable, and so copied before it is changed; `seed` (16 bytes) is kept beside the record."""

    participant: int
    serial: int
    """0 is the participant's root account."""
    tier: int
    threshold: int
    keys: tuple[bytes, ...]
    seed: bytes
    balances: dict[str, int]
    """Asset code → minor units, never negative."""
    sent: dict[str, Window]
    """Asset code → what left in the rolling 24 hours."""

    def encode(self) -> bytes:
        """The record's value: one encoding per content, without the seed."""
        return _encode(
            (
                1,
                self.participant,
                self.serial,
                self.tier,
                self.threshold,
                self.keys,
                sorted(self.balances.items()),
                sorted(self.sent.items()),
            )
        )

    @classmethod
    def decode(cls, value: bytes, seed: bytes) -> "Account":
        """The account, or `Refused` for bytes that `encode` does not make (a snapshot's bytes may be hostile)."""
        record = ACCOUNT.decode(value)
        for entries in (record.balances, record.sent):
            if len(entries) > 1 and any(a[0] >= b[0] for a, b in pairwise(entries)):
                raise Refused(RejectReason.NON_CANONICAL, "asset codes must ascend")
        for _, window in record.sent:
            window.check()
        return cls(
            record.participant,
            record.serial,
            record.tier,
            record.threshold,
            record.keys,
            seed,
            dict(record.balances),
            dict(record.sent),
        )

    def copy(self) -> "Account":
        """A twin that may be changed; windows are immutable and shared."""
        return Account(
            self.participant,
            self.serial,
            self.tier,
            self.threshold,
            self.keys,
            self.seed,
            self.balances.copy(),
            self.sent.copy(),
        )


_encode = ACCOUNT.encode


class Asset(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The value of an asset's record; its code is in the key."""

    format: Literal[1]
    exponent: Annotated[int, Meta(ge=0, le=bounds.ASSET_EXPONENT_MAX)]
    issuer: U32
    """The participant whose root account alone may issue."""
    supply_cap_minor: U63
    supply_minor: U63


class Participant(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The value of a participant's record."""

    format: Literal[1]
    name: Name
    next_serial: U63
    """The serial that its next account will get."""


class Retired(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a member that left may never be again."""

    id: MemberId
    vote_key: Hash
    tls_key_hash: Hash


class Membership(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The value of the one record: who votes now, who did, and which ids wait. Every list by ascending id."""

    format: Literal[1]
    epoch: U63
    governor: U32
    members: Annotated[tuple[MemberEntry, ...], Meta(min_length=1, max_length=bounds.MEMBERS_MAX)]
    spares: Annotated[tuple[SpareEntry, ...], Meta(max_length=bounds.SPARES_MAX)]
    retired: Annotated[tuple[Retired, ...], Meta(max_length=2**16)]

    def voting(self) -> EpochMembers:
        """What `Result.next_epoch` is the digest of."""
        return EpochMembers(self.epoch, self.members)


MEMBERSHIP = Codec(Membership, bytes_max=8 * 1024 * 1024)
ASSET = Codec(Asset, bytes_max=128)
PARTICIPANT = Codec(Participant, bytes_max=512)


class StateReader(Protocol):
    """The parent's state. Whatever it returns is never changed."""

    def account(self, account: bytes, /) -> Account | None: ...

    def record(self, key: bytes, /) -> bytes | None:
        """Every record that is not an account."""
        ...

    def taken(self, keys: AbstractSet[bytes], /) -> dict[bytes, bytes]:
        """Of these (account ‖ id), the ones that were taken, each with the digest that took it."""
        ...

    def refused(self, body_ids: AbstractSet[bytes], /) -> AbstractSet[bytes]:
        """Of these bodies, the ones that were consumed without taking their (account, id)."""
        ...

    def consumed(self, start_ms: int, begin: int, end: int, /) -> Sequence[bytes]:
        """Entries `begin` … `end` - 1, in ascending order, of all that were consumed in the window that begins at
        `start_ms`. Asked of a window that nothing is ordered into any more and that is not closed yet."""
        ...


class CheckedTransaction(Protocol):
    """A transaction whose bytes and signatures are good against the keys that it carries."""

    @property
    def transaction(self) -> Transaction: ...
    @property
    def body_id(self) -> BodyId: ...
    @property
    def digest(self) -> TxDigest: ...
    @property
    def key(self) -> bytes:
        """account ‖ id, 52 bytes."""
        ...


@dataclass(frozen=True, slots=True)
class BlockInput:
    """One block, as far as the contracts see it: no view, no proposer, no votes."""

    chain: int
    lane: int
    height: int
    time_ms: int
    engine: EngineName
    """How many members an epoch may have depends on it."""
    parameters: Parameters
    transactions: Sequence[CheckedTransaction]


@dataclass(frozen=True, slots=True)
class BlockResult:
    """Everything that a block changes, in the order in which it was changed."""

    accounts: dict[bytes, Account]
    records: dict[bytes, bytes]
    outcomes: list[bytes]
    """One encoded `Outcome` for each transaction: the leaves of the receipts tree."""
    decisions: list[tuple[int, int]]
    """(status, number of the reason or 0) for each transaction."""
    taken: dict[bytes, bytes]
    """account ‖ id (52 bytes) → the digest that took it."""
    refused: list[bytes]
    """Body ids that were consumed without taking their (account, id)."""
    consumed: dict[int, bytes]
    """Start of a window in ms → the entries that this block consumed in it, joined (`network.proofs.windows`)."""
    next_members: EpochMembers | None = None
    """Who votes after this block, if it closes its epoch."""


class WorkingSet:
    """The parent's state as the block's transactions change it, one after the other."""

    def __init__(self, state: StateReader, block: BlockInput) -> None:
        self.state = state
        self.chain = block.chain
        self.time_ms = block.time_ms
        self.engine = block.engine
        self.hour = hour_of(block.time_ms)
        self.rules = active_rules(state.record(RULES_KEY), block.height)
        self.changed: dict[bytes, Account] = {}
        self.versions: list[tuple[Account | None, Account]] = []
        """Each changed account as it was in the parent's state (None: it did not exist) and as it is."""
        self.taken: dict[bytes, bytes] = {}
        """account ‖ id → digest, as far as this block took them."""
        self.taken_before = state.taken({checked.key for checked in block.transactions})
        """The same of earlier blocks, asked once for the whole block."""
        self.assets: dict[str, Asset | None] = {}
        self.participants: dict[int, Participant] = {}
        self.issued: dict[str, int] = {}
        """Asset code → minor units that this block's issues created."""
        self.membership: Membership | None = None
        """The next epoch's, once a change has settled."""

    def account(self, name: bytes) -> Account | None:
        """To read only; `change` gives the one that may be written to."""
        return self.changed.get(name) or self.state.account(name)

    def change(self, name: bytes, known: Account) -> Account:
        """The block's own copy of `known`, which is what `account(name)` gives."""
        found = self.changed.get(name)
        if found is None:
            found = self.changed[name] = known.copy()
            self.versions.append((known, found))
        return found

    def open(self, name: AccountId, account: Account) -> None:
        """Add an account that did not exist."""
        if self.account(name) is not None:
            broken("the ledger assigned an account id twice", account=name)
        self.changed[name] = account
        self.versions.append((None, account))

    def asset(self, code: str) -> Asset | None:
        try:
            return self.assets[code]
        except KeyError:
            found = self.assets[code] = own(ASSET, self.state.record(asset_key(code)))
            return found

    def participant(self, number: int) -> Participant:
        """Of an account that exists, so its participant does."""
        found = self.participants.get(number)
        if found is None:
            stored = own(PARTICIPANT, self.state.record(participant_key(number)))
            found = present(stored, "an account's participant has no record", participant=number)
        return found

    def records(self) -> dict[bytes, bytes]:
        """The records that issues, openings and a change of members changed."""
        changed = {
            asset_key(code): ASSET.encode(present(self.assets[code], code)) for code in self.issued
        }
        for number, participant in self.participants.items():
            changed[participant_key(number)] = PARTICIPANT.encode(participant)
        if self.membership is not None:
            changed[MEMBERS_KEY] = MEMBERSHIP.encode(self.membership)
        return changed


def own(codec: Codec[T], value: bytes | None) -> T | None:
    """Decode a record that we wrote ourselves: bytes that do not fit are our fault, not a peer's."""
    if value is None:
        return None
    try:
        return codec.decode(value)
    except Refused as refused:
        broken("a record of the ledger does not decode", detail=refused.detail)
