"""A small genuine chain: blocks with outcomes, links, history, certificates and receipts, signed by real keys."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.proofs.merkle import Log, Tree, leaf_hash
from tallystick.network.proofs.receipts import (
    OUTCOME,
    Anchor,
    BlockProof,
    Finding,
    Outcome,
    Receipt,
    Status,
)
from tallystick.network.proofs.state_map import EMPTY_ROOT
from tallystick.network.wire.blocks import Header, Result, genesis_link, link_of
from tallystick.network.wire.eip712 import Digester, Domain
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, PaymentId, View
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.network.wire.transactions import Transaction, Transfer
from tallystick.network.wire.transactions.codec import body_id, encode, kind_of
from tests.unit.wire.examples import genesis, opening, sign_spend, spend_key, transfer, vote_key

GENESIS = genesis()
HASH = genesis_hash(GENESIS)
CHAIN = chain_of(HASH)
DIGESTER = Digester(Domain(CHAIN, HASH))
TIME_MS = 1_700_000_000_000

ALLOWED = Finding(1, 1, 0, 12_550, 100_000_000, 99_987_450)
FORBIDDEN = Finding(4, 1, 3, 600_000_000, 500_000_000, 0)


def signed(transaction: Transaction, *signers: int) -> Transaction:
    """On this chain, signed by the spend keys of these numbers."""
    draft = replace(transaction, chain=CHAIN)
    digest = DIGESTER.digest(draft)
    witnesses = sorted(
        (sign_spend(spend_key(number), digest) for number in signers or (2,)),
        key=lambda witness: witness.key,
    )
    return replace(draft, witnesses=tuple(witnesses))


def payment(number: int) -> Transfer:
    draft = replace(transfer(), chain=CHAIN, id=PaymentId(number.to_bytes(32, "big")))
    made = signed(draft)
    assert isinstance(made, Transfer)
    return made


@dataclass
class Said:
    """What the execution says of one transaction."""

    status: Status = Status.SETTLED
    reason: RejectReason | None = None
    findings: tuple[Finding, ...] = ()
    opened: bytes = b""


SETTLED = Said(findings=(ALLOWED,))
REJECTED = Said(Status.REJECTED, RejectReason.ROLLING_TOTAL, (ALLOWED, FORBIDDEN))
EXPIRED = Said(Status.EXPIRED, RejectReason.SETTLE_BY_PASSED)


@dataclass
class Block:
    header: Header
    result: Result
    raws: list[bytes]
    outcomes: list[Outcome]

    @property
    def link(self) -> Link:
        return link_of(self.header, self.result)


@dataclass
class Chain:
    """Blocks 1 … n. `state_root` is whatever the test says."""

    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.history = Log([leaf_hash(genesis_link(HASH, EMPTY_ROOT))])
        self.tip = genesis_link(HASH, EMPTY_ROOT)

    def add(
        self,
        work: Sequence[tuple[Transaction, Said]],
        state_root: bytes = EMPTY_ROOT,
        outcomes: list[Outcome] | None = None,
    ) -> Block:
        height = len(self.blocks) + 1
        raws = [encode(transaction) for transaction, _ in work]
        if outcomes is None:
            outcomes = [
                outcome_of(transaction, said, height, index)
                for index, (transaction, said) in enumerate(work)
            ]
        receipts = Tree([leaf_hash(OUTCOME.encode(outcome)) for outcome in outcomes])
        header = Header(
            1,
            CHAIN,
            0,
            0,
            height,
            self.tip,
            self.history.root(),
            TIME_MS + height,
            0,
            Tree([body_id(raw) for raw in raws]).root,
        )
        block = Block(header, Result(state_root, receipts.root), raws, outcomes)
        self.blocks.append(block)
        self.history.append(leaf_hash(block.link))
        self.tip = block.link
        return block

    def proof(self, height: int, certified: int | None = None) -> BlockProof:
        """The block's proof, certified directly or by a later block."""
        block = self.blocks[height - 1]
        if certified is None:
            return BlockProof(block.header, block.result, certificate(block))
        later = self.blocks[certified - 1]
        anchor = Anchor(later.header, later.result, self.history.path(height, certified))
        return BlockProof(block.header, block.result, certificate(later), anchor)

    def receipt(self, height: int, index: int, certified: int | None = None) -> Receipt:
        block = self.blocks[height - 1]
        leaves = [leaf_hash(OUTCOME.encode(outcome)) for outcome in block.outcomes]
        return Receipt(
            1,
            block.raws[index],
            block.outcomes[index],
            Tree([body_id(raw) for raw in block.raws]).path(index),
            Tree(leaves).path(index),
            self.proof(height, certified),
        )


def outcome_of(transaction: Transaction, said: Said, height: int, index: int) -> Outcome:
    return Outcome(
        1,
        0,
        height,
        index,
        0,
        body_id(encode(transaction)),
        DIGESTER.digest(transaction),
        kind_of(transaction),
        transaction.account,
        transaction.id,
        said.status,
        True,
        said.reason.number if said.reason else 0,
        said.findings,
        said.opened,
    )


def certificate(
    block: Block,
    signers: Sequence[int] = (0, 1, 3),
    view: int = 2,
    phase: Phase = Phase.COMMIT,
    epoch: int = 0,
) -> Certificate:
    """Members sign `block`'s link. Member n of the example genesis has vote key n + 1."""
    header = block.header
    names = Epoch(epoch), View(view), Height(header.height)
    parent = Link(header.parent_link)
    message = vote_message(CHAIN, 0, *names, phase, block.link, parent)
    votes = tuple(
        CertVote(NodeId(signer), vote_key(signer + 1).sign(message)) for signer in signers
    )
    return Certificate(phase, *names, block.link, parent, votes)


def network() -> Genesis:
    return GENESIS


def small_chain() -> Chain:
    """Three blocks: five transactions of every sort, one transaction, none."""
    chain = Chain()
    opened = Said(opened=b"\x77" * 20)
    chain.add(
        [
            (payment(1), SETTLED),
            (payment(2), REJECTED),
            (signed(opening(), 2, 3), opened),
            (payment(4), EXPIRED),
            (payment(5), SETTLED),
        ]
    )
    chain.add([(payment(6), SETTLED)])
    chain.add([])
    return chain
