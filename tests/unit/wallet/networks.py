"""A small network for the wallet's tests: two banks, one central bank, four members with real keys."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.genesis import (
    AssetEntry,
    Genesis,
    Parameters,
    ParticipantEntry,
    chain_of,
    genesis_hash,
)
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId
from tallystick.network.wire.membership import MemberEntry
from tallystick.wallet.core.build import Terms
from tallystick.wallet.signers import LocalSigner

NOW_MS = 1_700_000_000_000
PARAMETERS = Parameters()


@dataclass(frozen=True)
class SmallNetwork:
    genesis: Genesis
    terms: Terms
    digester: Digester
    vote_keys: tuple[Ed25519PrivateKey, ...]
    signers: tuple[LocalSigner, ...]
    """Central bank, bank A, bank B."""
    accounts: tuple[AccountId, ...]
    """Their root accounts."""


def small_network(members: int = 4, parameters: Parameters = PARAMETERS) -> SmallNetwork:
    """Keys follow from small numbers: every run makes the same network."""
    vote_keys = tuple(
        Ed25519PrivateKey.from_private_bytes(bytes([100 + index]) * 32) for index in range(members)
    )
    signers = tuple(LocalSigner(bytes([index]) * 32) for index in (1, 2, 3))
    genesis = Genesis(
        version=1,
        name="small",
        lane=0,
        engine="pbft",
        created_ms=NOW_MS - 1_000,
        parameters=parameters,
        members=tuple(
            MemberEntry(
                NodeId(index),
                f"node-{index}",
                ParticipantId(1),
                key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
                bytes([index]) * 32,
            )
            for index, key in enumerate(vote_keys)
        ),
        participants=tuple(
            ParticipantEntry(ParticipantId(index), name, (signer.key,), 1, bytes([index]) * 16)
            for index, (name, signer) in enumerate(
                zip(("central-bank", "bank-a", "bank-b"), signers, strict=True), start=1
            )
        ),
        assets=(
            AssetEntry("USD", 2, ParticipantId(1), 10**15),
            AssetEntry("JPY", 0, ParticipantId(1), 10**15),
        ),
        rules=(),
    )
    hash_ = genesis_hash(genesis)
    terms = Terms.of(genesis)
    return SmallNetwork(
        genesis,
        terms,
        Digester(Domain(chain_of(hash_), hash_)),
        vote_keys,
        signers,
        tuple(terms.root_account(ParticipantId(index)) for index in (1, 2, 3)),
    )
