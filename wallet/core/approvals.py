"""Several keys sign one transaction (four eyes): a file goes round, each approver adds a signature.

Decided here: that a file is not believed. Whoever opens one sees the fields of the transaction that will be signed, recomputes
its digest, and checks every signature already there. Complete means: exactly `threshold` signatures, sorted by key.
Not here: which keys an account really has (the ledger decides at execution).
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import msgspec

from tallystick.network.wire import bounds
from tallystick.network.wire.eip712 import Digester
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import TxDigest
from tallystick.network.wire.keys import check_spend_key, verify_spend
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import SUITE_SECP256K1_EIP712, Transaction, Witness
from tallystick.network.wire.transactions.codec import decode, encode

FILE_BYTES_MAX = 4 * bounds.TRANSACTION_BYTES_MAX
"""An approval file: the transaction in hex, twice its bytes, and ten keys."""


class Signer(Protocol):
    """Holds one key. It is given the transaction too, so that a device can show the fields before it signs."""

    @property
    def key(self) -> bytes:
        """33 bytes, compressed secp256k1."""
        ...

    def sign(self, digest: TxDigest, transaction: Transaction) -> bytes:
        """64 bytes r‖s over the digest, low s."""
        ...


@dataclass(frozen=True, slots=True)
class Approval:
    """A transaction on its way round. `signatures` maps key → 64 bytes; all of them are genuine."""

    transaction: Transaction
    """Without witnesses."""
    digest: TxDigest
    keys: tuple[bytes, ...]
    """Who may approve, sorted."""
    threshold: int
    signatures: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def missing(self) -> int:
        """Signatures that are still wanted."""
        return max(0, self.threshold - len(self.signatures))

    @property
    def complete(self) -> bool:
        return self.missing == 0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal["tallystick/approval"]
    version: Literal[1]
    transaction: str
    """Hex of the encoding, with the signatures collected so far as its witnesses."""
    keys: tuple[str, ...]
    threshold: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_File)


def request(
    transaction: Transaction, digester: Digester, keys: tuple[bytes, ...], threshold: int
) -> Approval:
    """Begin: nobody has signed yet. `Refused` unless 1 ≤ threshold ≤ number of distinct, good keys."""
    ordered = tuple(sorted(set(keys)))
    if len(ordered) != len(keys) or not 1 <= len(ordered) <= bounds.SIGNATURES_MAX:
        raise Refused(
            RejectReason.BAD_FIELD, f"1 to {bounds.SIGNATURES_MAX} different keys may approve"
        )
    if not all(check_spend_key(key) for key in ordered):
        raise Refused(RejectReason.BAD_KEY)
    if not 1 <= threshold <= len(ordered):
        raise Refused(RejectReason.BAD_FIELD, "the threshold lies between 1 and the number of keys")
    bare = msgspec.structs.replace(transaction, witnesses=())
    return Approval(bare, digester.digest(bare), ordered, threshold)


def sign(approval: Approval, signer: Signer) -> Approval:
    """Add one approver's signature; asking the same approver again changes nothing."""
    return add(approval, signer.key, signer.sign(approval.digest, approval.transaction))


def add(approval: Approval, key: bytes, signature: bytes) -> Approval:
    """Add a signature made elsewhere. `Refused` if the key may not approve or the signature is not genuine."""
    if key not in approval.keys:
        raise Refused(
            RejectReason.WRONG_KEYS, f"key {key.hex()} is not among those that may approve"
        )
    if not verify_spend(key, approval.digest, signature):
        raise Refused(
            RejectReason.BAD_SIGNATURE, f"the signature of key {key.hex()} is not genuine"
        )
    others = tuple(pair for pair in approval.signatures if pair[0] != key)
    return replace(approval, signatures=tuple(sorted((*others, (key, signature)))))


def merge(one: Approval, other: Approval) -> Approval:
    """Both files' signatures. `Refused` unless they are about the same transaction and approvers."""
    if (one.digest, one.keys, one.threshold) != (other.digest, other.keys, other.threshold):
        raise Refused(
            RejectReason.BAD_FIELD, "the two files are not about the same transaction and approvers"
        )
    merged = one
    for key, signature in other.signatures:
        merged = add(merged, key, signature)
    return merged


def finished(approval: Approval) -> Transaction:
    """The signed transaction: the first `threshold` signatures by key. `Refused` while some are missing."""
    if not approval.complete:
        raise Refused(
            RejectReason.NO_SIGNATURE,
            f"{approval.missing} of {approval.threshold} signatures are missing",
        )
    return _with(approval.transaction, approval.signatures[: approval.threshold])


def signed_by(transaction: Transaction, digest: TxDigest, signer: Signer) -> Transaction:
    """The short way for an account with one key."""
    return _with(transaction, ((signer.key, signer.sign(digest, transaction)),))


def to_bytes(approval: Approval) -> bytes:
    """The file's content: JSON, one line."""
    carried = _with(approval.transaction, approval.signatures)
    keys = tuple(key.hex() for key in approval.keys)
    return (
        _encoder.encode(
            _File("tallystick/approval", 1, encode(carried).hex(), keys, approval.threshold)
        )
        + b"\n"
    )


def from_bytes(content: bytes, digester: Digester) -> Approval:
    """Read a file and check every signature in it. `Refused` for anything that is not a sound approval file."""
    if len(content) > FILE_BYTES_MAX:
        raise Refused(RejectReason.OVERSIZED, bytes=len(content), bytes_max=FILE_BYTES_MAX)
    try:
        file = _decoder.decode(content)
        raw = bytes.fromhex(file.transaction)
        keys = tuple(bytes.fromhex(key) for key in file.keys)
    except (msgspec.DecodeError, ValueError) as error:
        raise Refused(RejectReason.MALFORMED, f"not an approval file: {error}") from None
    transaction = decode(raw)
    approval = request(transaction, digester, keys, file.threshold)
    for witness in transaction.witnesses:
        approval = add(approval, witness.key, witness.signature)
    return approval


def _with(transaction: Transaction, signatures: tuple[tuple[bytes, bytes], ...]) -> Transaction:
    witnesses = tuple(
        Witness(SUITE_SECP256K1_EIP712, key, signature) for key, signature in signatures
    )
    return msgspec.structs.replace(transaction, witnesses=witnesses)
