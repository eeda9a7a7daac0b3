"""What a transaction must be before anybody orders it, as far as its own bytes can tell.

Decided here: canonical bytes, chain, lane, field bounds, the EIP-712 digest, and genuine signatures against the carried
keys, sorted and each key once. One check per node and transaction, about 45 µs, off the proposal's critical path.
Not here: what the ledger says of it (account, keys, id, deadlines): `replica` asks that of the certified state.
"""

from tallystick.network.wire import bounds
from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import TxDigest
from tallystick.network.wire.keys import check_spend_key, is_low_s, verify_spend
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import SUITE_SECP256K1_EIP712, Transaction
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.network.wire.transactions.fields import field_fault
from tallystick.node.core.events import BadBody, CheckedBody, Verdict


class BodyChecker:
    """Checks raw transactions of one network. Pure; may run in another thread or process."""

    __slots__ = ("_chain", "_digest", "_lane")

    def __init__(self, genesis: Genesis) -> None:
        hash_ = genesis_hash(genesis)
        self._chain = chain_of(hash_)
        self._lane = genesis.lane
        self._digest = Digester(Domain(self._chain, hash_)).digest

    def check(self, raw: bytes) -> Verdict:
        """The checked transaction, or the reason why no honest node passes it on."""
        try:
            transaction = decode(raw)
        except Refused as refused:
            return BadBody(body_id(raw), refused.reason, refused.detail)
        if transaction.chain != self._chain:
            return BadBody(body_id(raw), RejectReason.WRONG_CHAIN)
        if transaction.lane != self._lane:
            return BadBody(body_id(raw), RejectReason.WRONG_LANE)
        fault = field_fault(transaction)
        if fault is not None:
            return BadBody(body_id(raw), RejectReason.BAD_FIELD, fault)
        digest = self._digest(transaction)
        witnesses = transaction.witnesses
        if len(witnesses) == 1:
            witness = witnesses[0]
            if witness.suite == SUITE_SECP256K1_EIP712 and verify_spend(
                witness.key, digest, witness.signature
            ):
                return _checked(raw, transaction, digest)
        reason = self._witness_fault(transaction, digest)
        if reason is not None:
            return BadBody(body_id(raw), reason)
        return _checked(raw, transaction, digest)

    @staticmethod
    def _witness_fault(transaction: Transaction, digest: bytes) -> RejectReason | None:
        witnesses = transaction.witnesses
        if not witnesses:
            return RejectReason.NO_SIGNATURE
        if len(witnesses) > bounds.SIGNATURES_MAX:
            return RejectReason.TOO_MANY_SIGNATURES
        keys = [witness.key for witness in witnesses]
        if keys != sorted(set(keys)):
            return RejectReason.UNSORTED_SIGNATURES
        for witness in witnesses:
            if witness.suite != SUITE_SECP256K1_EIP712:
                return RejectReason.UNKNOWN_SUITE
            if not check_spend_key(witness.key):
                return RejectReason.BAD_KEY
            if not is_low_s(witness.signature):
                return RejectReason.HIGH_S_SIGNATURE
            if not verify_spend(witness.key, digest, witness.signature):
                return RejectReason.BAD_SIGNATURE
        return None


def _checked(raw: bytes, transaction: Transaction, digest: TxDigest) -> CheckedBody:
    return CheckedBody(raw, transaction, body_id(raw), digest, transaction.account + transaction.id)
