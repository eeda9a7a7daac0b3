"""Fixed examples that several tests share."""

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick.network.wire.genesis import (
    AssetEntry,
    Genesis,
    Parameters,
    ParticipantEntry,
    RuleEntry,
)
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId, PaymentId
from tallystick.network.wire.membership import MemberEntry, SpareEntry
from tallystick.network.wire.transactions import (
    SUITE_SECP256K1_EIP712,
    ActivateSpare,
    ChangeMembers,
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
    Witness,
)

CHAIN = 1_234_567_890


def spend_key(number: int) -> PrivateKey:
    return PrivateKey(bytes([number]) * 32)


def vote_key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def sign_spend(key: PrivateKey, digest: bytes) -> Witness:
    signature = key.sign_recoverable(digest, hasher=None)[:64]
    return Witness(SUITE_SECP256K1_EIP712, key.public_key.format(), signature)


def transfer(amount_minor: int = 12_550) -> Transfer:
    return Transfer(
        chain=CHAIN,
        lane=0,
        account=AccountId(b"\x11" * 20),
        id=PaymentId(b"\x22" * 32),
        valid_until_ms=1_700_000_060_000,
        payload_root=b"\x33" * 32,
        creditor=AccountId(b"\x44" * 20),
        asset="USD",
        amount_minor=amount_minor,
        settle_by_ms=0,
    )


def issue() -> Issue:
    return Issue(
        CHAIN,
        0,
        AccountId(b"\x11" * 20),
        PaymentId(b"\x22" * 32),
        1_700_000_060_000,
        bytes(32),
        AccountId(b"\x44" * 20),
        "EUR",
        10**12,
    )


def opening() -> OpenAccount:
    keys = tuple(sorted(spend_key(number).public_key.format() for number in (1, 2, 3)))
    return OpenAccount(
        CHAIN,
        0,
        AccountId(b"\x11" * 20),
        PaymentId(b"\x22" * 32),
        1_700_000_060_000,
        bytes(32),
        keys,
        2,
        1,
        b"\x55" * 16,
    )


def change_members() -> ChangeMembers:
    return ChangeMembers(
        CHAIN,
        0,
        AccountId(b"\x11" * 20),
        PaymentId(b"\x22" * 32),
        1_700_000_060_000,
        bytes(32),
        (NodeId(1), NodeId(3)),
        (
            MemberEntry(NodeId(7), "bank-g", ParticipantId(5), _public(7), b"\x66" * 32),
            MemberEntry(NodeId(8), "bank-h", ParticipantId(6), _public(8), b"\x67" * 32),
        ),
        (SpareEntry(NodeId(107), ParticipantId(5)),),
    )


def activate_spare() -> ActivateSpare:
    return ActivateSpare(
        CHAIN,
        0,
        AccountId(b"\x11" * 20),
        PaymentId(b"\x22" * 32),
        1_700_000_060_000,
        bytes(32),
        NodeId(2),
        NodeId(102),
        _public(9),
        b"\x66" * 32,
    )


def _public(number: int) -> bytes:
    return vote_key(number).public_key().public_bytes_raw()


EVERY_KIND: tuple[Transaction, ...] = (
    opening(),
    issue(),
    transfer(),
    change_members(),
    activate_spare(),
)


def genesis() -> Genesis:
    """Four members, five participants, two assets, three rules: nothing wrong with it."""
    participants = tuple(
        ParticipantEntry(
            ParticipantId(number),
            name,
            (spend_key(number).public_key.format(),),
            1,
            bytes([number]) * 16,
        )
        for number, name in enumerate(
            ("central-bank", "bank-a", "bank-b", "bank-c", "bank-d"), start=1
        )
    )
    members = tuple(
        MemberEntry(
            NodeId(number),
            f"bank-{letter}",
            ParticipantId(number + 2),
            vote_key(number + 1).public_key().public_bytes_raw(),
            bytes([number + 1]) * 32,
        )
        for number, letter in enumerate("abcd")
    )
    return Genesis(
        version=1,
        name="example",
        lane=0,
        engine="pbft",
        created_ms=1_700_000_000_000,
        parameters=Parameters(),
        members=members,
        participants=participants,
        assets=(
            AssetEntry("USD", 2, ParticipantId(1), 10**15),
            AssetEntry("EUR", 2, ParticipantId(1), 10**15),
        ),
        rules=(
            RuleEntry(1, 1, "USD", 0, 100_000_000),
            RuleEntry(4, 1, "USD", 0, 500_000_000),
            RuleEntry(1, 1, "EUR", 0, 100_000_000),
        ),
    )
