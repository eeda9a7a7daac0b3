"""Keys of a run: vote keys that cost a microsecond behind the real ports, clients' keys that are real.

A fake signature is a keyed BLAKE2b: deterministic, 64 bytes, and nobody but the key's owner makes one, which is all that the
protocol relies on. One run in twenty uses Ed25519. Transactions carry real secp256k1 signatures; a body is checked once per
run and shared between the nodes, for the check is pure.
"""

from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b, sha256

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.transactions import Transaction, Witness
from tallystick.network.wire.transactions.codec import encode
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.events import Verdict


class VoteKeys:
    """The members' vote keys, fake or real."""

    def __init__(self, members: int, real: bool) -> None:
        self._real = real
        self._secrets = {node: sha256(b"vote key %d" % node).digest() for node in range(members)}
        self._private = {
            node: Ed25519PrivateKey.from_private_bytes(secret)
            for node, secret in self._secrets.items()
        }
        self.public = {
            node: self._private[node].public_key().public_bytes_raw() for node in self._secrets
        }
        self._owner = {public: self._secrets[node] for node, public in self.public.items()}

    def sign(self, node: int, message: bytes) -> bytes:
        if self._real:
            return self._private[node].sign(message)
        return blake2b(message, key=self._secrets[node]).digest()

    def verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        if self._real:
            return verify_vote(key, message, signature)
        secret = self._owner.get(key)
        return secret is not None and blake2b(message, key=secret).digest() == signature


@dataclass(frozen=True, slots=True)
class Signer:
    """`node.core.ports.VoteSigner`."""

    node: NodeId
    keys: VoteKeys

    def sign(self, message: bytes) -> bytes:
        return self.keys.sign(self.node, message)


@cache
def spend_key(number: int) -> PrivateKey:
    """A client's key; the same in every run."""
    return PrivateKey(sha256(b"spend key %d" % number).digest())


@cache
def spend_public(number: int) -> bytes:
    return spend_key(number).public_key.format()


class Purse:
    """Signs transactions for one network."""

    def __init__(self, genesis: Genesis) -> None:
        hash_ = genesis_hash(genesis)
        self.chain = chain_of(hash_)
        self.digest = Digester(Domain(self.chain, hash_)).digest

    def sign(self, draft: Transaction, *keys: int) -> bytes:
        """The encoded transaction with one good signature for each key, sorted by key."""
        digest = self.digest(draft)
        witnesses = [
            Witness(0, spend_public(key), spend_key(key).sign_recoverable(digest, hasher=None)[:64])
            for key in keys
        ]
        witnesses.sort(key=lambda witness: witness.key)
        return encode(replace(draft, witnesses=tuple(witnesses)))


@dataclass(slots=True)
class Bodies:
    """`BodyChecker` with a memory."""

    checker: BodyChecker
    known: dict[bytes, Verdict] = field(default_factory=dict)
    by_id: dict[BodyId, Verdict] = field(default_factory=dict)

    def check(self, raw: bytes) -> Verdict:
        verdict = self.known.get(raw)
        if verdict is None:
            verdict = self.known[raw] = self.checker.check(raw)
            self.by_id[verdict.body_id] = verdict
        return verdict

    def verdict_of(self, body: BodyId) -> Verdict:
        """Of a body that has been checked."""
        return self.by_id[body]
