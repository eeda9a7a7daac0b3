"""The network, transactions, outcomes and votes that the published vectors are made of.

Every key is made from a repeated byte, so anyone can make the same signatures. What the outcomes say is what the rules of this
genesis document would give; nothing is executed here.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.receipts import Finding, Outcome
from tallystick.network.wire import bls, eip712, signing
from tallystick.network.wire.blocks import Header
from tallystick.network.wire.genesis import (
    AssetEntry,
    CheckpointKey,
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
    Epoch,
    Height,
    Link,
    NodeId,
    ParticipantId,
    PaymentId,
    View,
)
from tallystick.network.wire.membership import EpochMembers, MemberEntry, SpareEntry
from tallystick.network.wire.signing import Phase
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
from tallystick.network.wire.transactions.codec import body_id, encode, kind_of

CREATED_MS = 1_700_000_000_000
LANE, EPOCH, VIEW, HEIGHT = 0, Epoch(0), View(0), Height(1)


def spend_key(byte: int) -> PrivateKey:
    """The secp256k1 key whose secret is one byte, 32 times."""
    return PrivateKey(bytes([byte]) * 32)


def vote_key(byte: int) -> Ed25519PrivateKey:
    """The Ed25519 key whose seed is one byte, 32 times."""
    return Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32)


def member_entry(number: int, participant: ParticipantId, name: str) -> MemberEntry:
    """Member n votes with the key of byte 0x10 + n."""
    key = vote_key(0x10 + number).public_key().public_bytes_raw()
    return MemberEntry(NodeId(number), name, participant, key, sha256(bytes([number])).digest())


def checkpoint_key(number: int) -> bls.SecretKey:
    """Member n signs checkpoints with the secret of byte 0x20 + n, 32 times."""
    return bls.SecretKey(bytes([0x20 + number]) * 32)


def checkpoint_entry(number: int) -> CheckpointKey:
    """What genesis says of it."""
    key = checkpoint_key(number)
    return CheckpointKey(NodeId(number), key.public_key, key.prove_possession())


def example_genesis() -> Genesis:
    """Three participants, four members, one asset, two rules."""
    participants = tuple(
        ParticipantEntry(
            ParticipantId(number),
            name,
            tuple(sorted(spend_key(byte).public_key.format() for byte in secrets)),
            len(secrets),
            bytes([number]) * 16,
        )
        for number, name, secrets in (
            (1, "central-bank", (1,)),
            (2, "bank-a", (2, 9)),
            (3, "bank-b", (3,)),
        )
    )
    members = tuple(
        member_entry(number, ParticipantId(1 + number % 3), f"node-{number}") for number in range(4)
    )
    return Genesis(
        1,
        "formats",
        LANE,
        "pbft",
        CREATED_MS,
        Parameters(),
        members,
        participants,
        (AssetEntry("USD", 2, ParticipantId(1), 10**15),),
        (RuleEntry(1, 1, "USD", 0, 100_000), RuleEntry(4, 1, "USD", 0, 5 * 10**8)),
        ParticipantId(1),
        (SpareEntry(NodeId(101), ParticipantId(2)),),
        tuple(checkpoint_entry(number) for number in range(4)),
    )


class Network:
    """What follows from the genesis document."""

    def __init__(self, genesis: Genesis | None = None) -> None:
        self.genesis = example_genesis() if genesis is None else genesis
        self.hash = genesis_hash(self.genesis)
        self.chain = chain_of(self.hash)
        self.domain = eip712.Domain(self.chain, self.hash)
        self.digester = eip712.Digester(self.domain)

    def account(self, participant: int, serial: int = 0) -> AccountId:
        return account_id(self.chain, ParticipantId(participant), serial)

    def signed(self, transaction: Transaction, *secrets: int) -> Transaction:
        """The transaction with one witness per secret, sorted by key."""
        digest = self.digester.digest(transaction)
        witnesses = [
            Witness(
                SUITE_SECP256K1_EIP712,
                spend_key(secret).public_key.format(),
                spend_key(secret).sign_recoverable(digest, hasher=None)[:64],
            )
            for secret in secrets
        ]
        return replace(transaction, witnesses=tuple(sorted(witnesses, key=lambda each: each.key)))


def example_transactions(network: Network) -> list[Transaction]:
    """One of every kind. Bank A signs with two keys, the central bank with one."""
    return [*example_payments(network), *example_changes(network)]


def common_fields(network: Network, participant: int, number: int) -> dict[str, Any]:
    """The fields that all kinds begin with."""
    return {
        "chain": network.chain,
        "lane": LANE,
        "account": network.account(participant),
        "id": PaymentId(bytes([number]) * 32),
        "valid_until_ms": CREATED_MS + 60_000,
    }


def example_changes(network: Network) -> list[Transaction]:
    """The central bank governs: member 3 leaves, 4 joins. Bank A puts its spare id 101 in the place of member 1."""
    change = ChangeMembers(
        **common_fields(network, 1, 0xA4),
        payload_root=bytes(32),
        leaving=(NodeId(3),),
        joining=(member_entry(4, ParticipantId(3), "node-4"),),
        spares=(SpareEntry(NodeId(104), ParticipantId(3)),),
    )
    new = member_entry(101, ParticipantId(2), "node-1")
    activation = ActivateSpare(
        **common_fields(network, 2, 0xA5),
        payload_root=bytes(32),
        member=NodeId(1),
        spare=new.id,
        vote_key=new.vote_key,
        tls_key_hash=new.tls_key_hash,
    )
    return [network.signed(change, 1), network.signed(activation, 2, 9)]


def members_of_epoch_1(network: Network) -> EpochMembers:
    """After bank A's activation."""
    new = member_entry(101, ParticipantId(2), "node-1")
    return EpochMembers(1, (*(each for each in network.genesis.members if each.id != 1), new))


def example_payments(network: Network) -> list[Transaction]:
    """The kinds that open accounts and move money."""
    keys = tuple(sorted(spend_key(byte).public_key.format() for byte in (0x21, 0x22, 0x23)))
    seed = b"\x5e" * 16
    opening = OpenAccount(
        **common_fields(network, 2, 0xA1),
        payload_root=bytes(32),
        keys=keys,
        threshold=2,
        tier=1,
        seed=seed,
    )
    issue = Issue(
        **common_fields(network, 1, 0xA2),
        payload_root=bytes(32),
        creditor=network.account(2),
        asset="USD",
        amount_minor=5_000_000,
    )
    payment = Transfer(
        **common_fields(network, 2, 0xA3),
        payload_root=b"\xb0" * 32,
        creditor=network.account(3),
        asset="USD",
        amount_minor=125_075,
        settle_by_ms=CREATED_MS + 30_000,
    )
    return [network.signed(opening, 2, 9), network.signed(issue, 1), network.signed(payment, 2, 9)]


def commit_certificate(
    network: Network, header: Header, link: Link, signers: Sequence[int] = (0, 2, 3)
) -> Certificate:
    """COMMIT votes of three members of the header's epoch."""
    height, parent, epoch = Height(header.height), Link(header.parent_link), Epoch(header.epoch)
    message = signing.vote_message(
        network.chain, LANE, epoch, VIEW, height, Phase.COMMIT, link, parent
    )
    votes = tuple(
        CertVote(NodeId(number), vote_key(0x10 + number).sign(message)) for number in signers
    )
    return Certificate(Phase.COMMIT, epoch, VIEW, height, link, parent, votes)


def example_outcomes(network: Network, transactions: Sequence[Transaction]) -> list[Outcome]:
    opened = network.account(2, 1)
    over = Finding(1, 1, 3, 125_075, 100_000, 100_000)
    outcomes = []
    for index, transaction in enumerate(transactions):
        rejected = isinstance(transaction, Transfer)
        outcomes.append(
            Outcome(
                version=1,
                lane=LANE,
                height=HEIGHT,
                index=index,
                cause=0,
                body_id=body_id(encode(transaction)),
                digest=network.digester.digest(transaction),
                kind=kind_of(transaction),
                account=transaction.account,
                id=transaction.id,
                status=2 if rejected else 1,
                final=True,
                reason=120 if rejected else 0,
                findings=(over,) if rejected else (),
                opened=opened if isinstance(transaction, OpenAccount) else b"",
            )
        )
    return outcomes
