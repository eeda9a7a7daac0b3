"""What a node says becomes an outcome only through here: every answer is verified against the genesis document.

Decided here: which receipt answers *our* transaction. A hostile member can re-sign our digest with a key of his own; the
receipt of that body says WRONG_KEYS about the same digest, so bytes are compared, and another body counts only if it was
authorised. Not here: the checks themselves (`network.proofs.verify`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from msgspec.structs import replace

from tallystick.network.proofs.absence import (
    ABSENCE_PROOF,
    Absence,
    AbsenceProof,
    check_absence,
)
from tallystick.network.proofs.document import (
    block_from_document,
    from_document,
    receipt_from_document,
    state_from_document,
)
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import leaf_hash, root_of_path
from tallystick.network.proofs.receipts import (
    BUNDLE,
    OUTCOME,
    Bundle,
    BundleItem,
    Receipt,
    Status,
    receipt_of,
)
from tallystick.network.proofs.receipts import Finding as WireFinding
from tallystick.network.proofs.receipts import Outcome as WireOutcome
from tallystick.network.proofs.verdict import Verdict
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire.blocks import Header
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import AccountId, BodyId, NodeId, PaymentId, TxDigest
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.reasons import BY_CODE, BY_NUMBER, RejectReason
from tallystick.network.wire.signing import batch_digest, held_message
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import encode
from tallystick.wallet.answers import AccountAnswer, SubmitResult
from tallystick.wallet.core import account_record
from tallystick.wallet.core.account_record import AccountRecord, account_key
from tallystick.wallet.core.outcomes import (
    DECISIONS,
    Accepted,
    Expired,
    FinalOutcome,
    Reference,
    Rejected,
    RuleFinding,
    Settled,
)
from tallystick.wallet.core.signed import Signed
from tallystick.wallet.errors import Denied, NotTaken, Untrusted, from_problem

T = TypeVar("T")

_UNAUTHORISED = (RejectReason.UNKNOWN_ACCOUNT, RejectReason.WRONG_KEYS)


@dataclass(frozen=True, slots=True)
class CheckedAccount:
    """An account's record, proven under a certified header."""

    record: AccountRecord
    header: Header


class Checker:
    """Verifies answers of one network. Remembers the last block proof: many receipts of a block pay for it once."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self._verifier = Verifier(genesis)
        self._member_pins = {member.tls_key_hash for member in genesis.members}

    def is_member(self, pin: bytes) -> bool:
        """Whether an endpoint's pinned key is a member's: of the genesis document, or of the latest epoch in a receipt."""
        later = self._verifier.newest.members
        return pin in self._member_pins or any(pin == member.tls_key_hash for member in later)

    @property
    def members(self) -> MemberSet:
        """Of the latest epoch that a receipt or a certified header has led to."""
        return MemberSet.of(self._verifier.newest, self.genesis.engine)

    def refusal(self, node: str, code: str, detail: str) -> NotTaken | Denied:
        """A node's refusal of one transaction. `Untrusted` if the code is none of those that refuse before ordering."""
        reason = BY_CODE.get(code)
        error = None if reason is None or reason.on_ledger else from_problem(code, detail)
        if not isinstance(error, NotTaken | Denied):
            raise Untrusted(f"{node} refused with {code!r}, which refuses nothing before ordering")
        return error

    def receipt_document(self, node: str, document: object, signed: Signed) -> FinalOutcome:
        """The outcome of our transaction by a node's receipt document, or `Untrusted`."""
        if document is None:
            raise Untrusted(f"{node} says final but gives no receipt")
        receipt = _read(node, "receipt", lambda: receipt_from_document(document))
        self._expect(node, self._verifier.receipt(receipt))
        return self._answering(node, receipt, signed)

    def receipt_of_id(
        self, node: str, document: object, account: bytes, id_: bytes, digest: bytes | None
    ) -> FinalOutcome:
        """The outcome under (account, id), for a caller who no longer has the bytes; `digest` if he knows it."""
        receipt = _read(node, "receipt", lambda: receipt_from_document(document))
        self._expect(node, self._verifier.receipt(receipt))
        outcome = receipt.outcome
        if (outcome.account, outcome.id) != (account, id_):
            raise Untrusted(f"{node} gave the receipt of another transaction")
        if digest is not None and outcome.digest != digest:
            raise Untrusted(f"{node} gave the receipt of another digest")
        reason = BY_NUMBER.get(outcome.reason)
        # Anybody may have sent such bytes, so they say nothing about the payer's own: that one may still settle.
        if reason in _UNAUTHORISED or (digest is None and reason is RejectReason.ID_TAKEN):
            raise Untrusted(f"{node} gave the receipt of a transaction that did not take the id")
        return outcome_of(receipt)

    def absence(
        self, node: str, document: object, transaction: Transaction, ours: Reference
    ) -> Expired:
        """Proof that our transaction was never ordered, or `Untrusted`."""
        proof = _read(node, "absence", lambda: from_document(AbsenceProof, ABSENCE_PROOF, document))
        absence = Absence(1, encode(replace(transaction, witnesses=())), ours.digest, proof)
        self._expect(node, check_absence(self._verifier, absence))
        return Expired(ours, None, None, (), absence)

    def accepted(self, node: str, result: SubmitResult, signed: Signed) -> Accepted:
        """f+1 members' signatures over a batch that holds our transaction, or `Untrusted`."""
        siblings = [BodyId(bytes.fromhex(each)) for each in result.siblings]
        batch = bytes.fromhex(result.batch or "")
        if signed.reference.body_id not in siblings or batch_digest(siblings) != batch:
            raise Untrusted(
                f"{node} says accepted, but the batch is not one that holds the transaction"
            )
        message = held_message(self._verifier.chain, self.genesis.lane, batch)
        holders, members = set(), self.members
        for holder in result.holders:
            key = members.vote_keys.get(NodeId(holder.node))
            if key is None or not verify_vote(key, message, bytes.fromhex(holder.signature)):
                raise Untrusted(
                    f"{node} says accepted, but the signature of {holder.node} is not genuine"
                )
            holders.add(holder.node)
        if len(holders) <= members.faults:
            raise Untrusted(
                f"{node} says accepted with {len(holders)} holders; more than f are needed"
            )
        return Accepted(signed.reference, tuple(sorted(holders)))

    def account(self, node: str, answer: AccountAnswer, account: AccountId) -> CheckedAccount:
        """The proven record of `account`, or `Untrusted`."""
        proof = answer.proof
        key = account_key(account)
        if proof.key != key.hex() or proof.value is None:
            raise Untrusted(f"{node} gave the proof of another record")
        value, blind = bytes.fromhex(proof.value), bytes.fromhex(proof.blind)
        state = _read(node, "state proof", lambda: state_from_document(proof.state))
        block = _read(node, "block proof", lambda: block_from_document(proof.block))
        if len(blind) != 32:
            raise Untrusted(f"{node} gave a blind of {len(blind)} bytes")
        self._expect(node, self._verifier.record(key, value, blind, state, block))
        record = _read(node, "account record", lambda: account_record.read(value))
        return CheckedAccount(record, block.header)

    def bundle(self, node: str, raw: bytes) -> Bundle:
        """A bundle whose block is certified; its items are still to be checked. `Untrusted` otherwise."""
        bundle = _read(node, "bundle", lambda: BUNDLE.decode(raw))
        self._expect(node, self._verifier.block(bundle.block))
        return bundle

    def bundle_item(
        self, node: str, bundle: Bundle, item: BundleItem, signed: Signed
    ) -> FinalOutcome:
        """One item of a checked bundle as the outcome of our transaction.

        Cheaper than a whole receipt's verification: the bytes are ours, so their signature and digest need no check, only
        that this block ordered them and that the quorum signed this outcome of them.
        """
        outcome, header, result = item.outcome, bundle.block.header, bundle.block.result
        ours = signed.reference
        if (outcome.body_id, outcome.digest, outcome.account, outcome.id) != (
            ours.body_id,
            ours.digest,
            ours.account,
            ours.id,
        ):
            raise Untrusted(f"{node} gave the receipt of another transaction")
        ordered = root_of_path(ours.body_id, outcome.index, item.transaction_path)
        executed = root_of_path(
            leaf_hash(OUTCOME.encode(outcome)), outcome.index, item.outcome_path
        )
        if (ordered, executed) != (header.tx_root, result.receipts_root):
            raise Untrusted(f"{node} gave a receipt whose paths do not lead to the block's roots")
        if (outcome.height, outcome.lane, outcome.final) != (header.height, header.lane, True):
            raise Untrusted(f"{node} gave a receipt of another height or lane")
        return outcome_of(receipt_of(signed.raw, bundle.block, item))

    def _answering(self, node: str, receipt: Receipt, signed: Signed) -> FinalOutcome:
        outcome, ours = receipt.outcome, signed.reference
        if (outcome.digest, outcome.account, outcome.id) != (ours.digest, ours.account, ours.id):
            raise Untrusted(f"{node} gave the receipt of another transaction")
        other_body = receipt.transaction != signed.raw
        if other_body and BY_NUMBER.get(outcome.reason) in _UNAUTHORISED:
            raise Untrusted(f"{node} gave the receipt of a stranger's copy of the transaction")
        return outcome_of(receipt)

    def _expect(self, node: str, verdict: Verdict) -> None:
        if verdict.failed is not None:
            check = verdict.failed
            raise Untrusted(
                f"{node} gave evidence that does not verify ({check.name}): {check.sentence}"
            )


def outcome_of(receipt: Receipt) -> FinalOutcome:
    """A *verified* receipt as an outcome."""
    wire = receipt.outcome
    reference = _reference(wire)
    findings = tuple(_finding(finding) for finding in wire.findings)
    if wire.status == Status.SETTLED:
        opened = AccountId(wire.opened) if wire.opened else None
        return Settled(reference, receipt, findings, opened)
    if wire.status == Status.EXPIRED:
        return Expired(reference, receipt, None, findings)
    reason = BY_NUMBER.get(wire.reason)
    if wire.status != Status.REJECTED or reason is None:
        raise Untrusted(
            f"a receipt of status {wire.status} and reason {wire.reason} is not known to this release"
        )
    return Rejected(reference, receipt, reason, findings)


def _reference(wire: WireOutcome) -> Reference:
    return Reference(
        AccountId(wire.account), PaymentId(wire.id), TxDigest(wire.digest), BodyId(wire.body_id)
    )


def _finding(finding: WireFinding) -> RuleFinding:
    return RuleFinding(
        f"R{finding.rule:02}",
        finding.version,
        DECISIONS[finding.outcome],
        finding.observed_minor,
        finding.threshold_minor,
        finding.headroom_minor,
    )


def _read(node: str, what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except Refused as refused:
        raise Untrusted(f"{node} gave a {what} that cannot be read: {refused.detail}") from None
