"""The verifier: evidence and the genesis document in, a verdict with its reasons out. Needs no network.

Decided here: which checks make a receipt, or a statement about an account, genuine, and in which order. It
leans on `network.wire` and `network.proofs` alone, so that a stranger can read all of it.
Not here: what checks come to (`verdict`), the file form (`document`), whether a key may spend (a quorum's execution decided that).
"""

from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Final, TypeVar

from tallystick.network.proofs.certificates import Certificate, check_certificate
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import leaf_hash, root_of_path, verify_inclusion
from tallystick.network.proofs.receipts import (
    BLOCK_PROOF,
    OUTCOME,
    RECEIPT,
    BlockProof,
    Cause,
    EpochStep,
    Outcome,
    Receipt,
    Status,
)
from tallystick.network.proofs.state_proof import StateProof, verify_state
from tallystick.network.proofs.state_proof import leaf_hash as state_leaf
from tallystick.network.proofs.verdict import (
    EXIT_NOT_VERIFIED,
    EXIT_VERIFIED,
    Check,
    Step,
    Verdict,
    expect,
    run,
    well_formed,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import VERSION, Header, link_of
from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.keys import is_low_s, verify_spend, verify_vote
from tallystick.network.wire.membership import EpochMembers, members_digest
from tallystick.network.wire.reasons import BY_NUMBER, RejectReason
from tallystick.network.wire.transactions import (
    SUITE_SECP256K1_EIP712,
    OpenAccount,
    Transaction,
    Transfer,
)
from tallystick.network.wire.transactions.codec import body_id, decode, kind_of
from tallystick.network.wire.transactions.fields import field_fault

ACCOUNT_KEY: Final = b"account/"
"""Key of an account's record in the state map, before its 20 bytes."""

T = TypeVar("T")
_ASSURANCE: Final = {"pbft": "BFT", "raft": "CFT"}
_UNAUTHORISED: Final = (RejectReason.UNKNOWN_ACCOUNT, RejectReason.WRONG_KEYS)
_RULE_ALLOWS: Final = 1  # a finding's outcome: 0 ALLOW and 1 REPORT let a payment settle


def verify_receipt(receipt: Receipt, genesis: Genesis) -> Verdict:
    """Check one receipt against the genesis document and nothing else."""
    return Verifier(genesis).receipt(receipt)


def verify_account(
    account: bytes,
    value: bytes | None,
    blind: bytes,
    proof: StateProof,
    block: BlockProof,
    genesis: Genesis,
) -> Verdict:
    """Check that the record of `account` (20 bytes) was `value` after the block; None: did not exist."""
    return Verifier(genesis).record(ACCOUNT_KEY + account, value, blind, proof, block)


class Verifier:
    """Checks evidence of one network. Remembers the last block proof, so a bundle pays for it once."""

    __slots__ = (
        "_block",
        "_block_checks",
        "_digester",
        "_epochs",
        "_first",
        "_members",
        "_newest",
        "chain",
        "genesis",
    )

    def __init__(self, genesis: Genesis) -> None:
        """`Refused(BAD_FIELD)` if the genesis document names no usable member set."""
        hash_ = genesis_hash(genesis)
        self.genesis = genesis
        self.chain = chain_of(hash_)
        self._digester = Digester(Domain(self.chain, hash_))
        self._first = self._members = MemberSet.from_genesis(genesis)
        self._newest = EpochMembers(0, genesis.members)
        self._epochs: tuple[EpochStep, ...] | None = ()
        """The changes of members that lead to `_members`; None while they do not hold."""
        self._block: BlockProof | None = None
        self._block_checks: tuple[Check, ...] = ()

    @property
    def newest(self) -> EpochMembers:
        """The members of the latest epoch that any evidence has led to, each signed for by the ones before."""
        return self._newest

    def digest(self, transaction: Transaction) -> bytes:
        """What the account's keys sign, on this network."""
        return self._digester.digest(transaction)

    def receipt(self, receipt: Receipt) -> Verdict:
        """The verdict on one receipt."""
        checks = run([("form", lambda: well_formed(RECEIPT, receipt))])
        if checks[-1].ok:
            checks += self._block_proof(receipt.block)
        if checks[-1].ok:
            checks += self._transaction(receipt)
        outcome = receipt.outcome
        return self._verdict(checks, receipt.block, outcome.status, outcome.reason)

    def block(self, block: BlockProof) -> Verdict:
        """The verdict on a block's header, result and certificate alone."""
        checks = run([("form", lambda: well_formed(BLOCK_PROOF, block))])
        if checks[-1].ok:
            checks += self._block_proof(block)
        return self._verdict(checks, block)

    def signed_by_members(
        self,
        epochs: tuple[EpochStep, ...],
        height: int,
        signed: Callable[[MemberSet], str],
        name: str = "certificate",
    ) -> Verdict:
        """The verdict on a statement about `height` that members to whom `epochs` lead have signed (`signed` says how, and is
        the check called `name`)."""
        steps: list[Step] = [
            ("members", lambda: self._walk(epochs)),
            (name, lambda: signed(self._members)),
        ]
        checks = run(steps)
        if not checks[-1].ok:
            return Verdict(False, EXIT_NOT_VERIFIED, checks)
        assurance = _ASSURANCE[self.genesis.engine]
        return Verdict(True, EXIT_VERIFIED, checks, assurance=assurance, height=height)

    def record(
        self, key: bytes, value: bytes | None, blind: bytes, proof: StateProof, block: BlockProof
    ) -> Verdict:
        """The verdict on "after this block, the record at `key` was `value`" (None: was not there)."""

        def state() -> str:
            leaf = None if value is None else state_leaf(key, value, blind)
            held = verify_state(block.result.state_root, sha256(key).digest(), leaf, proof)
            expect(held, "the proof does not lead from this record to the state root")
            what = "holds no such record" if value is None else "holds exactly this record"
            return f"the state after height {block.header.height} {what}"

        checks = self.block(block).checks
        if checks[-1].ok:
            checks += run([("state", state)])
        return self._verdict(checks, block)

    def _verdict(
        self, checks: tuple[Check, ...], block: BlockProof, status: int = 0, reason: int = 0
    ) -> Verdict:
        if not checks[-1].ok:
            return Verdict(False, EXIT_NOT_VERIFIED, checks)
        why = BY_NUMBER[reason] if reason else None
        return Verdict(
            True,
            EXIT_VERIFIED,
            checks,
            assurance=_ASSURANCE[self.genesis.engine],
            height=block.header.height,
            time_ms=block.header.time_ms,
            status=Status(status) if status else None,
            reason=why,
            consumed=why not in _UNAUTHORISED if status else None,
        )

    # The block: this network's header, one link, a quorum over it or over a later one.

    def _block_proof(self, block: BlockProof) -> tuple[Check, ...]:
        if block is not self._block:  # frozen, and held here, so the same object is the same proof
            self._block_checks = run(
                [
                    ("members", lambda: self._walk(block.epochs)),
                    ("header", lambda: self._header(block.header)),
                    ("link", lambda: self._link(block)),
                    ("certificate", lambda: self._certificate(block)),
                ]
            )
            self._block = block
        return self._block_checks

    def _header(self, header: Header) -> str:
        expect(header.version == VERSION, f"header version {header.version} is not known")
        expect(header.chain == self.chain, "the block belongs to another network")
        expect(header.lane == self.genesis.lane, "the block belongs to another lane")
        expect(header.height >= 1, "height 0 is the genesis document and has no header")
        expect(
            header.epoch == self._members.epoch, f"the members of epoch {header.epoch} are unknown"
        )
        return f"the block is height {header.height} of network {self.chain}, lane {header.lane}"

    def _walk(self, epochs: tuple[EpochStep, ...]) -> str:
        """From the genesis document's members to those of the last step: each set is signed for by the one before."""
        if epochs == self._epochs:
            return f"the members of epoch {self._members.epoch} follow from genesis"
        self._epochs, self._members, closed = None, self._first, 0
        for step in epochs:
            header, epoch = step.header, self._members.epoch
            self._header(header)
            expect(header.height > closed, f"epoch {epoch} closes before it begins")
            closed = header.height
            expect(
                step.result.next_epoch == members_digest(step.members)
                and step.members.epoch == epoch + 1,
                f"the block that closes epoch {epoch} names other members",
            )
            link = link_of(header, step.result)
            expect(link == step.certificate.link, "the certificate is about another link")
            self._signed(step.certificate, header)
            self._members = MemberSet.of(step.members, self.genesis.engine)
            if step.members.epoch > self._newest.epoch:
                self._newest = step.members
        self._epochs = epochs
        return f"{len(epochs)} changes lead from genesis to the members of epoch {len(epochs)}"

    def _link(self, block: BlockProof) -> str:
        link, height = link_of(block.header, block.result), block.header.height
        if block.anchor is None:
            expect(link == block.certificate.link, "the certificate is about another link")
            return f"header and result give link {link.hex()}, which the certificate names"
        anchor = block.anchor
        self._header(anchor.header)
        signed = link_of(anchor.header, anchor.result)
        expect(signed == block.certificate.link, "the certificate is about another link")
        size, root = anchor.header.height, anchor.header.history_root
        expect(
            verify_inclusion(leaf_hash(link), height, size, anchor.path, root),
            "the later block's history does not lead to this block's link",
        )
        return f"link {link.hex()} stands in the history that height {size} signs"

    def _certificate(self, block: BlockProof) -> str:
        header = block.header if block.anchor is None else block.anchor.header
        after = self._epochs[-1].header.height if self._epochs else 0
        expect(block.header.height > after, "the block is older than its epoch")
        return self._signed(block.certificate, header)

    def _signed(self, certificate: Certificate, header: Header) -> str:
        """A quorum of the epoch that was walked to signed to commit exactly this header's place."""
        expect(certificate.commits, "the certificate does not commit, it only prepares")
        expect(certificate.epoch == header.epoch, "the certificate is of another epoch")
        expect(certificate.height == header.height, "the certificate is of another height")
        expect(
            certificate.parent_link == header.parent_link, "the certificate names another parent"
        )
        keys = self._members.vote_keys
        quorum = self._members.quorum
        check_certificate(certificate, self.chain, self.genesis.lane, keys, verify_vote, quorum)
        signers = ", ".join(str(vote.signer) for vote in certificate.votes)
        need = f"{self._members.quorum} of {len(self._members)}"
        return f"members {signers} signed to commit height {header.height}; {need} are needed"

    # The receipt: the payer's own bytes, in the block's order, with the outcome the quorum signed.

    def _transaction(self, receipt: Receipt) -> tuple[Check, ...]:
        raw, outcome, header = receipt.transaction, receipt.outcome, receipt.block.header
        try:
            transaction = decode(raw)
        except Refused as refusal:
            return (Check("transaction", False, refusal.detail),)
        roots = header.tx_root, receipt.block.result.receipts_root
        return run(
            [
                ("transaction", lambda: self._this_network(transaction, header)),
                ("identity", lambda: self._identity(transaction, raw, outcome)),
                ("signatures", lambda: _signatures(transaction, outcome.digest)),
                (
                    "ordered",
                    lambda: _included(
                        "transaction",
                        body_id(raw),
                        outcome.index,
                        receipt.transaction_path,
                        roots[0],
                    ),
                ),
                (
                    "executed",
                    lambda: _included(
                        "outcome",
                        leaf_hash(OUTCOME.encode(outcome)),
                        outcome.index,
                        receipt.outcome_path,
                        roots[1],
                    ),
                ),
                ("outcome", lambda: _consistent(outcome, transaction, receipt)),
            ]
        )

    def _this_network(self, transaction: Transaction, header: Header) -> str:
        expect(transaction.chain == self.chain, "the transaction is for another network")
        expect(transaction.lane == self.genesis.lane, "the transaction is for another lane")
        fault = field_fault(transaction)
        expect(fault is None, fault or "")
        ahead = transaction.valid_until_ms - header.time_ms
        expect(ahead >= 0, "the transaction was ordered after its deadline")
        longest = self.genesis.parameters.max_validity_ms
        expect(ahead <= longest, "the transaction's deadline lay too far ahead when it was ordered")
        return "the transaction's bytes are canonical, for this network, and within its deadline"

    def _identity(self, transaction: Transaction, raw: bytes, outcome: Outcome) -> str:
        expect(body_id(raw) == outcome.body_id, "the outcome is about other bytes")
        digest = self.digest(transaction)
        expect(digest == outcome.digest, "the outcome is about another digest")
        return f"the bytes give the outcome's body id and digest {digest.hex()}"


def _signatures(transaction: Transaction, digest: bytes) -> str:
    witnesses = transaction.witnesses
    expect(bool(witnesses), "the transaction carries no signature")
    expect(len(witnesses) <= bounds.SIGNATURES_MAX, "the transaction carries too many signatures")
    ascending = all(left.key < right.key for left, right in pairwise(witnesses))
    expect(ascending, "the signatures are not sorted by key, each key once")
    for witness in witnesses:
        expect(witness.suite == SUITE_SECP256K1_EIP712, "the signature suite is not known")
        expect(is_low_s(witness.signature), "a signature is in high-s form")
        genuine = verify_spend(witness.key, digest, witness.signature)
        expect(genuine, f"the signature of key {witness.key.hex()} is not genuine")
    keys = ", ".join(witness.key.hex() for witness in witnesses)
    return f"signed by {keys}"


def _included(what: str, leaf: bytes, index: int, path: tuple[bytes, ...], root: bytes) -> str:
    led_to = root_of_path(leaf, index, path)
    expect(led_to == root, f"the path does not lead from the {what} to the block's root")
    return f"the {what} stands at index {index} under root {root.hex()}"


def _consistent(outcome: Outcome, transaction: Transaction, receipt: Receipt) -> str:
    """Whether the outcome says of the transaction what an outcome can say."""
    header = receipt.block.header
    expect(receipt.version == 1, f"receipt version {receipt.version} is not known")
    expect(outcome.version == 1, f"outcome version {outcome.version} is not known")
    expect(outcome.cause == Cause.TRANSACTION, "the outcome was not caused by a transaction")
    expect(
        (outcome.lane, outcome.height) == (header.lane, header.height),
        "the outcome is of another lane or height",
    )
    expect(outcome.kind == kind_of(transaction), "the outcome is about another kind")
    expect(outcome.account == transaction.account, "the outcome is about another account")
    expect(outcome.id == transaction.id, "the outcome is about another id")
    expect(outcome.final, "no outcome of this version is interim")
    reason = BY_NUMBER.get(outcome.reason)
    if outcome.status == Status.SETTLED:
        expect(outcome.reason == 0, "a settled outcome has a reason to reject")
        overruled = any(finding.outcome > _RULE_ALLOWS for finding in outcome.findings)
        expect(not overruled, "a settled outcome has a finding that forbids it")
        late = isinstance(transaction, Transfer) and 0 < transaction.settle_by_ms < header.time_ms
        expect(not late, "the payment was settled after settle_by_ms")
    else:
        expect(outcome.status in (Status.REJECTED, Status.EXPIRED), "the status is not known")
        expect(reason is not None and reason.on_ledger, "the reason is not one for the ledger")
    opens = isinstance(transaction, OpenAccount) and outcome.status == Status.SETTLED
    expect(len(outcome.opened) == (20 if opens else 0), "the outcome opens what it cannot open")
    said = f"the outcome is final: {Status(outcome.status).name.lower()}"
    if reason is None:
        return said
    bytes_only = " It is about these bytes only." if reason in _UNAUTHORISED else ""
    return f"{said}, {reason.code}: {reason.sentence}{bytes_only}"
