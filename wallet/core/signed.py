"""A signed transaction, ready to be handed over any number of times: its bytes never change again."""

from dataclasses import dataclass

from tallystick.network.wire.eip712 import Digester
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import body_id, decode, encode
from tallystick.wallet.core.outcomes import Reference


@dataclass(frozen=True, slots=True)
class Signed:
    """One transaction's bytes with its names."""

    raw: bytes
    reference: Reference
    valid_until_ms: int
    asset: str
    """Empty for a transaction that moves nothing."""


def names_of(transaction: Transaction, digester: Digester) -> Reference:
    """The names of a transaction, signed or not. `Refused` out of bounds, or for another network."""
    if transaction.chain != digester.domain.chain:
        raise Refused(RejectReason.WRONG_CHAIN)
    raw = encode(transaction)
    sound = decode(raw)
    return Reference(sound.account, sound.id, digester.digest(sound), body_id(raw))


def seal(transaction: Transaction, digester: Digester) -> Signed:
    """Encode a signed transaction. `Refused` without a signature, out of bounds, or for another network."""
    if not transaction.witnesses:
        raise Refused(RejectReason.NO_SIGNATURE)
    if transaction.chain != digester.domain.chain:
        raise Refused(RejectReason.WRONG_CHAIN)
    raw = encode(transaction)
    sound = decode(raw)
    names = Reference(sound.account, sound.id, digester.digest(sound), body_id(raw))
    return Signed(raw, names, sound.valid_until_ms, getattr(sound, "asset", ""))


def unseal(raw: bytes, digester: Digester) -> Signed:
    """The same for bytes that were signed elsewhere."""
    return seal(decode(raw), digester)
