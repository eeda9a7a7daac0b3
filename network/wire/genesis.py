"""The genesis document: who settles, in what, under which rules. Its hash is the network's name.

One JSON file for people, one canonical msgpack encoding that is hashed. Everything that a receipt is verified against is in
here or follows from it. Addresses are not: where a node listens is its operator's business.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId
from tallystick.network.wire.transactions import AssetCode, Bytes16, Bytes32, KeyBytes, TimeMs

_GENESIS = Tag(b"tallystick/genesis")
_CHAIN = Tag(b"tallystick/chain-id")
_ACCOUNT = Tag(b"tallystick/account-id")

Name = Annotated[str, Meta(min_length=1, max_length=64)]
U32 = Annotated[int, Meta(ge=0, lt=2**32)]


class MemberEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A node that votes."""

    id: Annotated[NodeId, Meta(ge=0, lt=2**16)]
    name: Name
    participant: Annotated[ParticipantId, Meta(ge=0, lt=2**32)]
    vote_key: Bytes32
    """Ed25519 public key of epoch 0."""
    tls_key_hash: Bytes32
    """SHA-256 of the TLS key's SubjectPublicKeyInfo: identity is a key, not a certificate's dates."""


class ParticipantEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A bank on the ledger, with the keys of its root account (serial 0)."""

    id: Annotated[ParticipantId, Meta(ge=0, lt=2**32)]
    name: Name
    keys: Annotated[tuple[KeyBytes, ...], Meta(min_length=1, max_length=bounds.SIGNATURES_MAX)]
    threshold: Annotated[int, Meta(ge=1, le=bounds.SIGNATURES_MAX)]
    seed: Bytes16


class AssetEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    code: AssetCode
    exponent: Annotated[int, Meta(ge=0, le=bounds.ASSET_EXPONENT_MAX)]
    issuer: Annotated[ParticipantId, Meta(ge=0, lt=2**32)]
    """Its root account alone may issue."""
    supply_cap_minor: Annotated[int, Meta(ge=1, le=bounds.AMOUNT_MINOR_MAX)]


class RuleEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One AML rule as data: R01 (cap per payment) or R04 (rolling 24 hours), per asset and tier."""

    rule: Annotated[int, Meta(ge=1, le=30)]
    version: U32
    asset: AssetCode
    tier: Annotated[int, Meta(ge=0, le=3)]
    limit_minor: Annotated[int, Meta(ge=0, le=bounds.AMOUNT_MINOR_MAX)]


class Parameters(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a network chooses within `bounds`. Times in milliseconds."""

    max_validity_ms: Annotated[int, Meta(ge=1_000, le=7 * 86_400_000)] = 86_400_000
    window_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 60_000
    precision_ms: Annotated[int, Meta(ge=1, le=60_000)] = 500
    """A fresh proposal may be this far ahead of a replica's clock."""
    late_ms: Annotated[int, Meta(ge=100, le=600_000)] = 5_000
    """A fresh proposal may be this far behind a replica's clock (relaxed by failed views)."""
    idle_block_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000
    view_timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 600
    view_timeout_ms_max: Annotated[int, Meta(ge=10, le=60_000)] = 8_000
    pipeline: Annotated[int, Meta(ge=1, le=bounds.PIPELINE_MAX)] = 2
    block_transactions_max: Annotated[int, Meta(ge=1, le=bounds.BLOCK_TRANSACTIONS_MAX)] = 2_000
    block_work_max: Annotated[int, Meta(ge=10, le=1_000_000)] = 40_000
    """Work units of one block; see `tallystick.contracts.machine.work_of`."""


class Genesis(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: Name
    lane: Annotated[int, Meta(ge=0, lt=2**16)]
    engine: Literal["pbft"]
    created_ms: TimeMs
    parameters: Parameters
    members: Annotated[tuple[MemberEntry, ...], Meta(min_length=1, max_length=bounds.MEMBERS_MAX)]
    participants: Annotated[
        tuple[ParticipantEntry, ...], Meta(min_length=1, max_length=bounds.PARTICIPANTS_MAX)
    ]
    assets: Annotated[tuple[AssetEntry, ...], Meta(max_length=bounds.ASSETS_MAX)]
    rules: Annotated[tuple[RuleEntry, ...], Meta(max_length=1_000)]


GENESIS = Codec(Genesis, bytes_max=bounds.GENESIS_BYTES_MAX)


def genesis_hash(genesis: Genesis) -> bytes:
    """32 bytes over the canonical encoding."""
    return _GENESIS.hash(GENESIS.encode(genesis))


def chain_of(hash_: bytes) -> int:
    """The EIP-712 chainId: 1 ≤ chain < 2**52, derived from the genesis hash."""
    return (int.from_bytes(_CHAIN.hash(hash_)[:8], "big") % (2**52 - 1)) + 1


def account_id(chain: int, participant: ParticipantId, serial: int) -> AccountId:
    """The account that the ledger assigns to a participant's serial (0 is its root account)."""
    data = chain.to_bytes(8, "big") + participant.to_bytes(4, "big") + serial.to_bytes(8, "big")
    return AccountId(_ACCOUNT.hash(data)[:20])
