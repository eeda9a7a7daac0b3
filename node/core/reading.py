"""What a node tells readers: the certified ledger with its proofs, and nothing of blocks in flight.

The last few blocks keep their trees; older ones are rebuilt from the stored block when somebody asks. A block that was
certified through a descendant is anchored in that descendant's history root.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from msgspec import Raw

from tallystick.contracts.state import Account, account_key
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.checkpoints import FORMAT, KEPT, CheckpointDocument, note_of
from tallystick.network.proofs.evidence_file import EvidenceFile
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.merkle import Tree
from tallystick.network.proofs.merkle import leaf_hash as tree_leaf
from tallystick.network.proofs.notes import Note
from tallystick.network.proofs.receipts import (
    BUNDLE,
    OUTCOME,
    Anchor,
    BlockProof,
    BundleItem,
    EpochStep,
    Receipt,
    receipt_of,
)
from tallystick.network.proofs.state_map import StateProof, blind_of
from tallystick.network.wire.blocks import Header, Result
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.faults import Refused, present
from tallystick.network.wire.ids import BodyId, Height, Link
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.absences import Absences, Finish
from tallystick.node.core.evidence_kept import kept_in
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import BlockRecord, Ledger
from tallystick.node.core.outlines import body_ids_of

BLOCKS_REMEMBERED = 16
"""Blocks whose trees stay in memory: clients ask for receipts of the newest."""


@dataclass(frozen=True, slots=True)
class Location:
    height: Height
    index: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class BlockView:
    header: Header
    result: Result
    certificate: Certificate
    body_ids: tuple[BodyId, ...]
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Proven:
    """A block with its trees."""

    record: BlockRecord
    transactions: Tree
    outcomes: Tree
    proof: BlockProof


class LedgerReader:
    """Reads of one node's certified ledger. Every method may raise `Refused(NOT_FOUND)`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._layers: dict[int, Layer] = {}
        self._proven: dict[int, _Proven] = {}
        self._absences = Absences(ledger)
        self._steps: list[EpochStep] = []
        """The changes of members so far, as far as somebody asked."""

    def remember(self, layer: Layer) -> None:
        """A block became final: keep its trees, its receipts are asked for next."""
        self._layers[layer.header.height] = layer
        for table in (self._layers, self._proven):
            while len(table) > BLOCKS_REMEMBERED:
                del table[next(iter(table))]

    @property
    def height(self) -> int:
        return self._ledger.height

    @property
    def time_ms(self) -> int:
        return self._ledger.time_ms

    @property
    def link(self) -> Link:
        return self._ledger.link

    @property
    def state_root(self) -> bytes:
        return self._ledger.state.root

    @property
    def chain(self) -> int:
        return self._ledger.chain

    def account(self, account: bytes, /) -> Account | None:
        return self._ledger.account(account)

    def account_proof(
        self, account: bytes, /
    ) -> tuple[bytes, bytes | None, bytes, StateProof, BlockProof]:
        """(key, value or None, blind, state proof, block proof) at the last final height."""
        ledger, key = self._ledger, account_key(account)
        row = ledger.account_row(account)
        value, blind = (None, ZERO) if row is None else (row[2], blind_of(row[1], row[0]))
        proof = ledger.state.prove(sha256(key).digest())
        return key, value, blind, proof, self._proof_of(ledger.height).proof

    def absence(
        self, account: bytes, payment_id: bytes, digest: bytes, valid_until_ms: int, /
    ) -> Finish:
        """The proof that this digest was never ordered; what is slow about it is left to the call that is returned."""
        block = self._proof_of(self._ledger.height).proof
        return self._absences.prove(account, payment_id, digest, valid_until_ms, block)

    def locate(self, account: bytes, payment_id: bytes, /) -> Location | None:
        place = self._ledger.place_of(account + payment_id)
        return None if place is None else Location(Height(place[1]), place[2], place[0])

    def locate_body(self, body: bytes, /) -> Location | None:
        """A transaction that was ordered without taking its (account, id)."""
        place = self._ledger.place_of_refused(body)
        if place is None:
            return None
        outcome = OUTCOME.decode(self._proof_of(place[0]).record.outcomes[place[1]])
        return Location(Height(place[0]), place[1], outcome.digest)

    def receipt(self, height: int, index: int, /) -> Receipt:
        proven = self._proof_of(height)
        if not 0 <= index < len(proven.record.bodies):
            raise Refused(RejectReason.NOT_FOUND, f"block {height} has no transaction {index}")
        raw = proven.record.bodies[index]
        if not raw:
            raise Refused(
                RejectReason.BELOW_SNAPSHOT, height=height, whole_from=self._ledger.whole_from
            )
        return receipt_of(raw, proven.proof, _item(proven, index))

    def bundle(self, height: int, indexes: Sequence[int], /) -> bytes:
        """The encoded `Bundle`. Outcomes are put in as they stand in the block: what was encoded once is not read."""
        proven = self._proof_of(height)
        outcomes = proven.record.outcomes
        items = zip(
            (Raw(outcomes[index]) for index in indexes),
            proven.transactions.paths(indexes),
            proven.outcomes.paths(indexes),
            strict=True,
        )
        return BUNDLE.encode((proven.proof, list(items)))

    def evidence(self) -> list[EvidenceFile]:
        """Against members that signed two things which exclude each other, as far as this node met both; by epoch, signer and
        position, each with the member sets that lead to its epoch."""
        found = kept_in(self._ledger.store)
        return [EvidenceFile(each, self._epochs_to(each.epoch)) for each in found]

    def block(self, height: int, /) -> BlockView | None:
        record = self._ledger.block(height)
        if record is None:
            return None
        ids = tuple([BodyId(each) for each in body_ids_of(record)])
        return BlockView(record.header, record.result, record.certificate, ids, record.bodies)

    def checkpoint(self, height: int | None, /) -> tuple[CheckpointDocument, Note]:
        """The checkpoint at this height, None for the newest, as a document and as a note of its members."""
        ledger = self._ledger
        if height is None:
            newest = ledger.store.get(schema.CHECKPOINT_NEWEST)
            if newest is None:
                raise Refused(RejectReason.NOT_FOUND, "There is no checkpoint yet.")
            height = int.from_bytes(newest, "big")
        stored = ledger.store.get(schema.at_height(schema.CHECKPOINT, height))
        if stored is None:
            raise Refused(
                RejectReason.NOT_FOUND, f"There is no checkpoint at height {height} here."
            )
        kept = KEPT.decode(stored)
        epoch = kept.checkpoint.statement.epoch
        epochs = self._epochs_to(epoch)
        members = MemberSet.from_genesis(ledger.genesis)
        if epoch:
            members = MemberSet.of(epochs[-1].members, ledger.genesis.engine)
        document = CheckpointDocument(FORMAT, 1, kept.checkpoint, epochs)
        return document, note_of(kept, ledger.genesis, members)

    def consistency(self, first: int, second: int, /) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        """(root over the links 0 … first, root over 0 … second, the proof that the one log begins the other)."""
        history, final = self._ledger.history, self._ledger.height
        if not 0 <= first <= second <= final:
            raise Refused(RejectReason.NOT_FOUND, f"Heights are from 0 to {final} here, ascending.")
        sizes = first + 1, second + 1
        return history.root(sizes[0]), history.root(sizes[1]), history.consistency(*sizes)

    def links(self, first: int, count: int, /) -> bytes:
        """The links of heights from `first` on, at most `count` of them, 32 bytes each."""
        ledger = self._ledger
        if not 0 <= first <= ledger.height:
            raise Refused(RejectReason.NOT_FOUND, f"Heights are from 0 to {ledger.height} here.")
        heights = range(first, min(first + count, ledger.height + 1))
        rows = [ledger.store.get(schema.at_height(schema.LINK, height)) for height in heights]
        return b"".join([present(row, "a final block without a link") for row in rows])

    def _proof_of(self, height: int) -> _Proven:
        known = self._proven.get(height)
        if known is not None:
            return known
        record = self._ledger.block(height)
        if record is None:
            raise Refused(RejectReason.NOT_FOUND, f"there is no block {height}")
        layer = self._layers.get(height)
        if layer is not None:
            transactions, outcomes = layer.transactions, layer.outcomes
        else:
            transactions = Tree(body_ids_of(record))
            outcomes = Tree([tree_leaf(outcome) for outcome in record.outcomes])
        proven = _Proven(record, transactions, outcomes, self._block_proof(record))
        if len(self._proven) >= 4 * BLOCKS_REMEMBERED:
            self._proven.clear()
        self._proven[height] = proven
        return proven

    def _block_proof(self, record: BlockRecord) -> BlockProof:
        certificate, height = record.certificate, record.header.height
        epochs = self._epochs_to(record.header.epoch)
        if certificate.height == height:
            return BlockProof(record.header, record.result, certificate, None, epochs)
        above = present(
            self._ledger.block(certificate.height),
            "a block is certified by one that is not there",
            height=height,
        )
        path = self._ledger.history.path(height, certificate.height)
        anchor = Anchor(above.header, above.result, path)
        return BlockProof(record.header, record.result, certificate, anchor, epochs)

    def _epochs_to(self, epoch: int) -> tuple[EpochStep, ...]:
        """The changes of members from genesis to this epoch."""
        while len(self._steps) < epoch:
            height, members = self._ledger.opening_of(len(self._steps) + 1)
            closing = present(self._ledger.block(height), "an epoch's last block is not there")
            step = EpochStep(closing.header, closing.result, closing.certificate, members)
            self._steps.append(step)
        return tuple(self._steps[:epoch])


def _item(proven: _Proven, index: int) -> BundleItem:
    outcome = OUTCOME.decode(proven.record.outcomes[index])
    return BundleItem(outcome, proven.transactions.path(index), proven.outcomes.path(index))
