"""The closed union of transaction kinds, their common fields and their one encoding.

A transaction is a msgpack array: kind, chain, then the common fields, the kind's own fields, the witnesses. What is signed
is the EIP-712 digest over everything but chain (which is in the domain) and witnesses. Who may do what, and whether money
is there, is not decided here: that is the execution's work.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.ids import AccountId, NodeId, PaymentId
from tallystick.network.wire.membership import MemberEntry, SpareEntry

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes20 = Annotated[AccountId, Meta(min_length=20, max_length=20)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
IdBytes = Annotated[PaymentId, Meta(min_length=32, max_length=32)]
KeyBytes = Annotated[bytes, Meta(min_length=33, max_length=33)]
SignatureBytes = Annotated[bytes, Meta(min_length=64, max_length=64)]
AssetCode = Annotated[
    str, Meta(min_length=3, max_length=bounds.ASSET_CODE_LENGTH_MAX, pattern=r"\A[A-Z][A-Z0-9]+\Z")
]
"""`\\Z`, since `$` would also let a final newline pass."""
Amount = Annotated[int, Meta(ge=1, le=bounds.AMOUNT_MINOR_MAX)]
TimeMs = Annotated[int, Meta(ge=0, le=bounds.TIME_MS_MAX)]
Chain = Annotated[int, Meta(ge=1, lt=2**52)]
Lane = Annotated[int, Meta(ge=0, lt=2**16)]
MemberId = Annotated[NodeId, Meta(ge=0, le=bounds.MEMBER_ID_MAX)]

SUITE_SECP256K1_EIP712 = 0
"""64-byte r‖s over the EIP-712 digest, low s, verified against a 33-byte compressed key."""


class Witness(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """One signature and the key that it is verified against."""

    suite: Annotated[int, Meta(ge=0, lt=256)]
    key: KeyBytes
    signature: SignatureBytes


Witnesses = Annotated[tuple[Witness, ...], Meta(max_length=bounds.WITNESSES_PARSED_MAX)]


class OpenAccount(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """A participant's root account opens an account for that participant; the ledger assigns its id."""

    chain: Chain
    lane: Lane
    account: Bytes20
    id: IdBytes
    valid_until_ms: TimeMs
    payload_root: Bytes32
    keys: Annotated[tuple[KeyBytes, ...], Meta(min_length=1, max_length=bounds.SIGNATURES_MAX)]
    threshold: Annotated[int, Meta(ge=1, le=bounds.SIGNATURES_MAX)]
    tier: Annotated[int, Meta(ge=0, le=3)]
    seed: Bytes16
    """16 random bytes that blind the account's leaf in proofs about its neighbours."""
    witnesses: Witnesses = ()


class Issue(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False, tag=2):
    """The issuer of an asset creates an amount of it in an account."""

    chain: Chain
    lane: Lane
    account: Bytes20
    id: IdBytes
    valid_until_ms: TimeMs
    payload_root: Bytes32
    creditor: Bytes20
    asset: AssetCode
    amount_minor: Amount
    witnesses: Witnesses = ()


class Transfer(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False, tag=3):
    """A payment from `account` to `creditor`."""

    chain: Chain
    lane: Lane
    account: Bytes20
    id: IdBytes
    valid_until_ms: TimeMs
    """May be ordered only in a block whose time is at most this."""
    payload_root: Bytes32
    """Commitment to what stays off the ledger, such as the ISO 20022 message; zeros for none."""
    creditor: Bytes20
    asset: AssetCode
    amount_minor: Amount
    settle_by_ms: TimeMs = 0
    """If not 0: not to be settled in a block with a later time."""
    witnesses: Witnesses = ()


class ChangeMembers(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """The governor's root account says who leaves, who joins, and which spare ids are approved from now on."""

    chain: Chain
    lane: Lane
    account: Bytes20
    id: IdBytes
    valid_until_ms: TimeMs
    payload_root: Bytes32
    leaving: Annotated[tuple[MemberId, ...], Meta(max_length=bounds.MEMBERS_CHANGED_MAX)]
    """Ascending."""
    joining: Annotated[tuple[MemberEntry, ...], Meta(max_length=bounds.MEMBERS_CHANGED_MAX)]
    """By ascending id."""
    spares: Annotated[tuple[SpareEntry, ...], Meta(max_length=bounds.MEMBERS_CHANGED_MAX)]
    """By ascending id; added to those that wait."""
    witnesses: Witnesses = ()


class ActivateSpare(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=5):
    """A member's participant puts a spare id with new keys in its place. Its root account signs, nobody votes."""

    chain: Chain
    lane: Lane
    account: Bytes20
    id: IdBytes
    valid_until_ms: TimeMs
    payload_root: Bytes32
    member: MemberId
    """The id that is void from the next epoch on, for ever."""
    spare: MemberId
    vote_key: Bytes32
    tls_key_hash: Bytes32
    witnesses: Witnesses = ()


Transaction: TypeAlias = OpenAccount | Issue | Transfer | ChangeMembers | ActivateSpare

KINDS: tuple[type[Transaction], ...] = (OpenAccount, Issue, Transfer, ChangeMembers, ActivateSpare)
