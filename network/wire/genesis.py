"""The genesis document: who settles, in what, under which rules. Its hash is the network's name.

One JSON file for people, one canonical msgpack encoding that is hashed. Everything that a receipt is verified against is in
here or follows from it. Addresses are not: where a node listens is its operator's business.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from tallystick.network.wire import bls, bounds, readable
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import AccountId, ParticipantId
from tallystick.network.wire.keys import check_spend_key, check_vote_key
from tallystick.network.wire.membership import MemberEntry, MemberId, Name, SpareEntry
from tallystick.network.wire.transactions import AssetCode, Bytes16, KeyBytes, TimeMs

_GENESIS = Tag(b"tallystick/genesis")
_CHAIN = Tag(b"tallystick/chain-id")
_ACCOUNT = Tag(b"tallystick/account-id")

EngineName: TypeAlias = Literal["pbft", "raft"]
"""How blocks are agreed on. Raft survives crashes only: no member may lie."""


class ParticipantEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A bank on the ledger, with the keys of its root account (serial 0)."""

    id: Annotated[ParticipantId, Meta(ge=0, lt=2**32)]
    name: Name
    keys: Annotated[tuple[KeyBytes, ...], Meta(min_length=1, max_length=bounds.SIGNATURES_MAX)]
    threshold: Annotated[int, Meta(ge=1, le=bounds.SIGNATURES_MAX)]
    seed: Bytes16


class AssetEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A currency on the ledger."""

    code: AssetCode
    exponent: Annotated[int, Meta(ge=0, le=bounds.ASSET_EXPONENT_MAX)]
    issuer: Annotated[ParticipantId, Meta(ge=0, lt=2**32)]
    """Its root account alone may issue."""
    supply_cap_minor: Annotated[int, Meta(ge=1, le=bounds.AMOUNT_MINOR_MAX)]


class RuleEntry(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One AML rule as data: R01 (cap per payment) or R04 (rolling 24 hours), per asset and tier."""

    rule: Annotated[int, Meta(ge=1, le=30)]
    version: Annotated[int, Meta(ge=1, lt=2**32)]
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
    view_timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000
    view_timeout_ms_max: Annotated[int, Meta(ge=10, le=60_000)] = 8_000
    pipeline: Annotated[int, Meta(ge=1, le=bounds.PIPELINE_MAX)] = 2
    block_transactions_max: Annotated[int, Meta(ge=1, le=bounds.BLOCK_TRANSACTIONS_MAX)] = 2_000
    block_work_max: Annotated[int, Meta(ge=10, le=1_000_000)] = 40_000
    """Work units of one block; see `tallystick.contracts.machine.work_of`."""
    checkpoint_blocks: Annotated[int, Meta(ge=10, le=1_000_000)] = 100
    """Every height that this divides is a checkpoint's. At 500 blocks/s the least of it fills a peer's budget of shares."""
    checkpoint_ms: Annotated[int, Meta(ge=100, le=86_400_000)] = 10_000
    """So is the first height of each such stretch of block time: an idle network has checkpoints, too."""


class CheckpointKey(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a member of this document signs checkpoints with."""

    member: MemberId
    key: Annotated[bytes, Meta(min_length=bls.KEY_BYTES, max_length=bls.KEY_BYTES)]
    """BLS12-381, in G1."""
    possession: Annotated[
        bytes, Meta(min_length=bls.SIGNATURE_BYTES, max_length=bls.SIGNATURE_BYTES)
    ]
    """The key's secret signed the key: nobody enters one that is made of the others'."""


class Genesis(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The whole document. What its fields' types cannot say, `validate_genesis` does."""

    version: Literal[1]
    name: Name
    lane: Annotated[int, Meta(ge=0, lt=2**16)]
    engine: EngineName
    created_ms: TimeMs
    parameters: Parameters
    members: Annotated[tuple[MemberEntry, ...], Meta(min_length=1, max_length=bounds.MEMBERS_MAX)]
    participants: Annotated[
        tuple[ParticipantEntry, ...], Meta(min_length=1, max_length=bounds.PARTICIPANTS_MAX)
    ]
    assets: Annotated[tuple[AssetEntry, ...], Meta(max_length=bounds.ASSETS_MAX)]
    rules: Annotated[tuple[RuleEntry, ...], Meta(max_length=1_000)]
    governor: Annotated[ParticipantId, Meta(ge=0, lt=2**32)] = ParticipantId(1)
    """The participant whose root account changes the member set; its threshold is how many must sign."""
    spares: Annotated[tuple[SpareEntry, ...], Meta(max_length=bounds.SPARES_MAX)] = ()
    """Pre-approved ids: see `SpareEntry`."""
    checkpoint_keys: Annotated[tuple[CheckpointKey, ...], Meta(max_length=bounds.MEMBERS_MAX)] = ()
    """One for each member, in their order, or none: then the network has no checkpoints."""


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


def genesis_to_json(genesis: Genesis) -> bytes:
    """The file that people read: field names, hex, two spaces of indent."""
    return readable.to_json(genesis)


def genesis_from_json(data: bytes) -> Genesis:
    """The document of a genesis file, or `Refused` with OVERSIZED, MALFORMED or NON_CANONICAL.

    Says that the file is well formed, not that it makes sense: that is `validate_genesis`.
    """
    return readable.from_json(data, Genesis, bounds.GENESIS_FILE_BYTES_MAX)


RULES_KNOWN: Final = (1, 4)
"""R01 and R04: the rules that this version has code for."""


def validate_genesis(genesis: Genesis) -> list[str]:
    """All that is wrong with the document, one sentence each; empty if a network may start from it.

    One to three members are allowed: such a network runs, but tolerates no arbitrary member.
    """
    try:
        GENESIS.decode(GENESIS.encode(genesis))
    except (Refused, TypeError, ValueError, OverflowError) as error:
        return [f"the document does not fit its own types: {error}"]
    return [
        *_wrong_names(genesis),
        *_wrong_members(genesis),
        *_wrong_spares(genesis),
        *_wrong_checkpoint_keys(genesis),
        *_wrong_participants(genesis),
        *_wrong_assets_and_rules(genesis),
        *_wrong_parameters(genesis.parameters),
    ]


def _repeated(what: str, values: Iterable[Hashable]) -> Iterator[str]:
    for value, times in Counter(values).items():
        if times > 1:
            shown = value.hex() if isinstance(value, bytes) else value
            yield f"{what} {shown} stands {times} times"


def _wrong_names(genesis: Genesis) -> Iterator[str]:
    members = [member.name for member in genesis.members]
    participants = [entry.name for entry in genesis.participants]
    for name in (genesis.name, *members, *participants):
        if not name.isprintable() or name != name.strip():
            yield f"name {name!r} has characters that do not show, or spaces at an end"
    yield from _repeated("member name", members)
    yield from _repeated("participant name", participants)


def _wrong_members(genesis: Genesis) -> Iterator[str]:
    yield from _repeated("member id", (member.id for member in genesis.members))
    yield from _repeated("vote key", (member.vote_key for member in genesis.members))
    yield from _repeated("TLS key hash", (member.tls_key_hash for member in genesis.members))
    participants = {entry.id for entry in genesis.participants}
    for member in genesis.members:
        if member.participant not in participants:
            yield f"member {member.id} belongs to participant {member.participant}, who is not listed"
        if not check_vote_key(member.vote_key):
            yield f"the vote key of member {member.id} is not a canonical Ed25519 key, or of small order"


def _wrong_spares(genesis: Genesis) -> Iterator[str]:
    participants = {entry.id for entry in genesis.participants}
    if genesis.governor not in participants:
        yield f"the governor is participant {genesis.governor}, who is not listed"
    taken = {member.id for member in genesis.members}
    yield from _repeated("spare id", (spare.id for spare in genesis.spares))
    for spare in genesis.spares:
        if spare.id in taken:
            yield f"spare {spare.id} is a member's id"
        if spare.participant not in participants:
            yield f"spare {spare.id} belongs to participant {spare.participant}, who is not listed"
        if spare.id > bounds.MEMBER_ID_MAX:
            yield f"spare {spare.id}: a member's id is at most {bounds.MEMBER_ID_MAX}"


def _wrong_checkpoint_keys(genesis: Genesis) -> Iterator[str]:
    entries = genesis.checkpoint_keys
    if not entries:
        return
    if [each.member for each in entries] != [member.id for member in genesis.members]:
        yield "the checkpoint keys are not one for each member, in their order"
    yield from _repeated("checkpoint key", (each.key for each in entries))
    for each in entries:
        if not bls.check_key(each.key):
            yield f"the checkpoint key of member {each.member} is not the encoding of a key of BLS12-381"
        elif not bls.verify_possession(each.key, each.possession):
            yield f"member {each.member} does not prove possession of its checkpoint key"


def _wrong_participants(genesis: Genesis) -> Iterator[str]:
    yield from _repeated("participant id", (entry.id for entry in genesis.participants))
    for entry in genesis.participants:
        if entry.threshold > len(entry.keys):
            yield f"participant {entry.id} needs {entry.threshold} signatures but has {len(entry.keys)} keys"
        if list(entry.keys) != sorted(set(entry.keys)):
            yield f"the keys of participant {entry.id} are not sorted, each once"
        for key in entry.keys:
            if not check_spend_key(key):
                yield f"key {key.hex()} of participant {entry.id} is not a compressed secp256k1 point"


def _wrong_assets_and_rules(genesis: Genesis) -> Iterator[str]:
    yield from _repeated("asset", (asset.code for asset in genesis.assets))
    participants = {entry.id for entry in genesis.participants}
    for asset in genesis.assets:
        if asset.issuer not in participants:
            yield f"the issuer of {asset.code} is participant {asset.issuer}, who is not listed"
    yield from _repeated("rule", map(_rule_name, genesis.rules))
    assets = {asset.code for asset in genesis.assets}
    for rule in genesis.rules:
        if rule.asset not in assets:
            yield f"rule R{rule.rule:02} is about asset {rule.asset}, which is not listed"
        if rule.rule not in RULES_KNOWN:
            yield f"rule R{rule.rule:02} has no code in this version"


def _rule_name(rule: RuleEntry) -> str:
    return f"R{rule.rule:02} version {rule.version} for {rule.asset}, tier {rule.tier},"


def _wrong_parameters(parameters: Parameters) -> Iterator[str]:
    if parameters.view_timeout_ms > parameters.view_timeout_ms_max:
        yield "view_timeout_ms is above view_timeout_ms_max"
    if parameters.window_ms > parameters.max_validity_ms:
        yield "window_ms is above max_validity_ms: a deadline would lie in the window of now"
