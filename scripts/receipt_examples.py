"""Receipts for whoever writes another verifier: how one is made, and genuine ones of every kind.

Not here: false ones (`receipt_forgeries`), and texts that are no receipt at all (`receipt_vectors`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from msgspec.structs import replace

from format_examples import (
    CREATED_MS,
    LANE,
    Network,
    example_changes,
    example_genesis,
    example_payments,
    members_of_epoch_1,
    vote_key,
)
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.merkle import Log, Tree, leaf_hash
from tallystick.network.proofs.receipts import (
    OUTCOME,
    Anchor,
    BlockProof,
    EpochStep,
    Finding,
    Outcome,
    Receipt,
)
from tallystick.network.proofs.state_proof import EMPTY_ROOT
from tallystick.network.wire import signing
from tallystick.network.wire.blocks import Header, Result, genesis_link, link_of
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.membership import members_digest
from tallystick.network.wire.signing import Phase
from tallystick.network.wire.transactions import Transaction, Transfer
from tallystick.network.wire.transactions.codec import body_id, encode, kind_of

QUORUM: Final = (0, 2, 3)
U63_MAX: Final = 2**63 - 1
FILLER: Final = sha256(b"another transaction of the block").digest()


@dataclass(frozen=True, slots=True)
class Example:
    """One receipt, the genesis file that it is held against, and the step that fails (None: it is genuine)."""

    name: str
    genesis: str
    receipt: Receipt
    fails: str | None = None


def geneses() -> dict[str, Genesis]:
    """The published network, one under Raft, and one whose member 0 has a vote key of small order."""
    pbft = example_genesis()
    weak = replace(pbft.members[0], vote_key=(1).to_bytes(32, "little"))
    return {
        "pbft": pbft,
        "raft": replace(pbft, engine="raft"),
        "weak": replace(pbft, members=(weak, *pbft.members[1:])),
    }


@dataclass(frozen=True, slots=True)
class Maker:
    """Blocks of one network, signed by whoever is asked."""

    network: Network

    def signed(self, transaction: Transaction, *secrets: int) -> Transaction:
        return self.network.signed(transaction, *secrets)

    def transfer(self, **changes: Any) -> Transfer:
        """The published payment on this network, signed by bank A."""
        payment = replace(example_payments(self.network)[2], **changes)
        signed = self.network.signed(payment, 2, 9)
        assert isinstance(signed, Transfer)
        return signed

    def outcome(self, transaction: Transaction, **changes: Any) -> Outcome:
        """Settled, at height 1 and index 0, unless told otherwise."""
        plain = Outcome(
            version=1,
            lane=LANE,
            height=1,
            index=0,
            cause=0,
            body_id=body_id(encode(transaction)),
            digest=self.network.digester.digest(transaction),
            kind=kind_of(transaction),
            account=transaction.account,
            id=transaction.id,
            status=1,
            final=True,
            reason=0,
        )
        return replace(plain, **changes)

    def block(
        self, body: bytes, outcome: Outcome, **changes: Any
    ) -> tuple[Header, Result, Tree, Tree]:
        """A block of two transactions, ours first."""
        ordered = Tree([body, FILLER])
        executed = Tree([leaf_hash(OUTCOME.encode(outcome)), FILLER])
        first = genesis_link(self.network.hash, EMPTY_ROOT)
        header = Header(
            1,
            self.network.chain,
            LANE,
            0,
            1,
            first,
            Log([leaf_hash(first)]).root(),
            CREATED_MS + 1_000,
            0,
            ordered.root,
        )
        return (
            replace(header, **changes),
            Result(EMPTY_ROOT, executed.root),
            ordered,
            executed,
        )

    def certificate(
        self,
        header: Header,
        link: Link,
        signers: tuple[int, ...] = QUORUM,
        phase: Phase = Phase.COMMIT,
        view: int = 0,
        **changes: Any,
    ) -> Certificate:
        """Votes over what `changes` leave, by the members' published keys."""
        parent = Link(header.parent_link)
        bare = Certificate(
            phase, Epoch(header.epoch), View(view), Height(header.height), link, parent, ()
        )
        bare = replace(bare, **changes)
        message = signing.vote_message(
            self.network.chain,
            LANE,
            bare.epoch,
            bare.view,
            bare.height,
            phase,
            bare.link,
            bare.parent_link,
        )
        votes = (CertVote(NodeId(each), vote_key(0x10 + each).sign(message)) for each in signers)
        return replace(bare, votes=tuple(votes))

    def receipt(
        self,
        transaction: Transaction,
        outcome: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        **votes: Any,
    ) -> Receipt:
        """A receipt whose block, outcome and certificate say what the caller wants."""
        said = self.outcome(transaction, **(outcome or {}))
        raw = encode(transaction)
        top, result, ordered, executed = self.block(body_id(raw), said, **(header or {}))
        proof = BlockProof(top, result, self.certificate(top, link_of(top, result), **votes))
        return Receipt(1, raw, said, ordered.path(0), executed.path(0), proof)


def in_block(receipt: Receipt, **changes: Any) -> Receipt:
    return replace(receipt, block=replace(receipt.block, **changes))


def in_certificate(receipt: Receipt, **changes: Any) -> Receipt:
    return in_block(receipt, certificate=replace(receipt.block.certificate, **changes))


def genuine(make: Maker) -> Iterator[Example]:
    opening, issue, _ = example_payments(make.network)
    change, activation = example_changes(make.network)
    payment = make.transfer()
    most = Finding(30, U63_MAX, 1, U63_MAX, U63_MAX, U63_MAX)
    raft = Maker(Network(geneses()["raft"]))
    stranger = make.signed(payment, 5)
    receipts = {
        "a payment settles": make.receipt(payment),
        "a payment settles at its very settle_by_ms": make.receipt(
            make.transfer(settle_by_ms=CREATED_MS + 1_000)
        ),
        "a payment is ordered at its very deadline": make.receipt(
            make.transfer(valid_until_ms=CREATED_MS + 1_000)
        ),
        "a payment expires": make.receipt(
            make.transfer(settle_by_ms=CREATED_MS), {"status": 3, "reason": 110}
        ),
        "strangers' signatures are rejected, which says nothing of the payer's": make.receipt(
            stranger, {"status": 2, "reason": 101}
        ),
        "an account opens": make.receipt(opening, {"opened": b"\x0f" * 20}),
        "the members change": make.receipt(change),
        "a spare takes a member's place": make.receipt(activation),
        "numbers that no double holds": make.receipt(
            make.signed(replace(issue, amount_minor=U63_MAX), 1),
            {"findings": (most,)},
            view=U63_MAX,
        ),
        "all four members sign": make.receipt(payment, signers=(0, 1, 2, 3)),
        "through the history of a later block": anchored(make),
        "by the members of epoch 1": next_epoch(make),
    }
    for name, receipt in receipts.items():
        yield Example(name, "pbft", receipt)
    yield Example("under Raft", "raft", raft.receipt(raft.transfer()))
    raft_two = raft.receipt(raft.transfer(), signers=(0, 1))
    yield Example("half of Raft's members are no majority", "raft", raft_two, "certificate")


def anchored(make: Maker) -> Receipt:
    """Block 1 has no certificate of its own; block 2, which holds its link, has one."""
    receipt = make.receipt(make.transfer())
    link = link_of(receipt.block.header, receipt.block.result)
    history = Log([leaf_hash(receipt.block.header.parent_link), leaf_hash(link)])
    later = replace(
        receipt.block.header,
        height=2,
        parent_link=link,
        history_root=history.root(),
        tx_root=FILLER,
    )
    result = receipt.block.result
    certificate = make.certificate(later, link_of(later, result))
    anchor = Anchor(later, result, history.path(1, 2))
    return in_block(receipt, anchor=anchor, certificate=certificate)


def closing(make: Maker, **changes: Any) -> EpochStep:
    """Block 1 closes epoch 0: bank A's spare 101 takes the place of member 1."""
    members = members_of_epoch_1(make.network)
    header, result, *_ = make.block(FILLER, make.outcome(make.transfer()))
    result = replace(result, next_epoch=members_digest(members))
    step = EpochStep(header, result, make.certificate(header, link_of(header, result)), members)
    return replace(step, **changes)


def next_epoch(make: Maker, *steps: EpochStep, **header: Any) -> Receipt:
    """Block 2, the first of epoch 1, signed by members 0, 2 and 101."""
    steps = steps or (closing(make),)
    place = {"epoch": 1, "height": 2} | header
    said = {"height": place["height"]}
    receipt = make.receipt(make.transfer(), said, place, signers=(0, 2, 101))
    return in_block(receipt, epochs=steps)
