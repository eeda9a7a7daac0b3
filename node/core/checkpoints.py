"""Checkpoints at one node: when to sign one, whose shares make it, and what is kept (architecture section 7).

After a checkpoint's block is final each member signs the statement and the log's text, and sends its share to the others; whoever
has a quorum's aggregates them. Decided here: the statement is kept before a share leaves, and no second one at its height or below
ever follows; both follow from the certified ledger alone, so honest members say the same. Only the newest of a run of blocks is signed,
and none at the last block of an epoch. Cost: 0.7 ms to sign and 3 ms to check one aggregate, per `checkpoint_blocks` blocks.
Not here: the cryptography (`network.proofs.checkpoints`, `network.wire.bls`), the engines, which hear nothing of this.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from tallystick.network.proofs.certificates import CertVote
from tallystick.network.proofs.checkpoints import (
    KEPT,
    BlsSignature,
    Checkpoint,
    KeptCheckpoint,
    Statement,
    bitmap_of,
    check_checkpoint,
    checkpoint_keys,
    is_due,
)
from tallystick.network.wire import bls, bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused, invariant
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.transactions import SignatureBytes
from tallystick.node.core import schema
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.ports import CheckpointSigner, VerifyVote, VoteSigner
from tallystick.node.core.step import Step

ROUNDS_MAX = 4
"""Own statements whose shares are still collected; older ones stay without a checkpoint here, and the next one covers them."""


class Share(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One member's part of a checkpoint."""

    statement: Statement
    signature: BlsSignature
    """Over the statement, with the checkpoint key."""
    note_signature: SignatureBytes
    """Over the log's text, with the vote key."""


SHARE = Codec(Share, bytes_max=bounds.CHECKPOINT_MESSAGE_BYTES_MAX)


@dataclass(slots=True)
class _Round:
    """One own statement and the shares for it."""

    statement: Statement
    shares: dict[NodeId, Share] = field(default_factory=dict)
    heard: set[NodeId] = field(default_factory=set)
    """Whose share has come: the first one counts, so a false one costs us its check once."""
    done: bool = False


class Checkpoints:
    """One per replica. Without checkpoint keys in genesis it does nothing."""

    def __init__(self, ledger: Ledger, voter: VoteSigner, verify: VerifyVote) -> None:
        self.signer: CheckpointSigner | None = None
        """Set before the first event. None: this node signs none, but collects the others' shares."""
        self._ledger = ledger
        self._voter = voter
        self._verify = verify
        self._time_ms = ledger.time_ms
        self._rounds: dict[int, _Round] = {}
        """By height, ascending."""
        self._early: dict[NodeId, Share] = {}
        """Shares for heights that are not final here yet: each member's newest."""
        newest = ledger.store.get(schema.CHECKPOINT_NEWEST)
        self._newest = -1 if newest is None else int.from_bytes(newest, "big")
        said = ledger.store.get(schema.CHECKPOINT_SAID)
        own = self._own = None if said is None else SHARE.decode(said)
        """Our newest share, which is on our disk or in the batch of this step."""
        if own is not None and self._is_of_our_ledger(own.statement):
            height = own.statement.height
            round_ = self._rounds[height] = _Round(own.statement, {voter.node: own}, {voter.node})
            round_.done = ledger.store.get(schema.at_height(schema.CHECKPOINT, height)) is not None

    # -- what happens --------------------------------------------------------------------------------------------------

    def became_final(self, layers: Sequence[Layer], step: Step) -> None:
        """Blocks became final here, in this order."""
        if not self._ledger.genesis.checkpoint_keys:
            return
        parameters, epoch, due = self._ledger.genesis.parameters, self._ledger.members.epoch, None
        for layer in layers:
            header = layer.header
            if is_due(parameters, header.height, header.time_ms, self._time_ms):
                due = layer if header.epoch == epoch else None
            self._time_ms = header.time_ms
        if due is not None:
            self._begin(due, step)

    def heard(self, peer: NodeId, payload: bytes, step: Step) -> None:
        """A member's share, which may be late, early, false or hostile. `Refused` if it is none."""
        share = SHARE.decode(payload)
        statement = share.statement
        if statement.epoch != self._ledger.members.epoch or peer not in self._keys():
            return
        if statement.height > self._ledger.height:
            self._early[peer] = share
            return
        round_ = self._rounds.get(statement.height)
        if round_ is not None:
            self._take(round_, peer, share, step)

    def peer_up(self, peer: NodeId, step: Step) -> None:
        """It may have missed our newest share, which has been kept by now, or is kept with this step."""
        if self._own is not None and peer in self._ledger.members:
            step.promise(Channel.CHECKPOINTS, SHARE.encode(self._own), peer)

    # -- one round -----------------------------------------------------------------------------------------------------

    def _begin(self, layer: Layer, step: Step) -> None:
        """Our own statement for a block that has just become final."""
        ledger, height = self._ledger, layer.header.height
        root = ledger.history.root(height + 1)
        statement = Statement(layer.header.epoch, height, layer.link, root)
        self._rounds[height] = round_ = _Round(statement)
        while len(self._rounds) > ROUNDS_MAX:
            del self._rounds[min(self._rounds)]
        keys = self._keys()
        if self.signer is not None and self._voter.node in keys:
            self._sign(round_, self.signer, step)
        for peer in sorted(self._early):
            if self._early[peer].statement.height <= height:
                share = self._early.pop(peer)
                if share.statement.height == height and peer in keys:
                    self._take(round_, peer, share, step)

    def _sign(self, round_: _Round, signer: CheckpointSigner, step: Step) -> None:
        """Kept before it is sent, and never a second one: a share is a promise."""
        statement, own, ledger = round_.statement, self._own, self._ledger
        if own is not None and statement.height <= own.statement.height:
            # A ledger that is made again from its peers' blocks passes heights of which we have spoken.
            if statement.height == own.statement.height:
                invariant(
                    statement == own.statement,
                    "two statements at one checkpoint's height",
                    height=statement.height,
                )
                round_.shares[self._voter.node] = own
                round_.heard.add(self._voter.node)
            return
        message = statement.message(ledger.chain, ledger.genesis.lane)
        text = statement.head(ledger.genesis).text().encode()
        share = Share(statement, signer.sign(message), self._voter.sign(text))
        encoded = SHARE.encode(share)
        self._own = share
        step.pairs[schema.CHECKPOINT_SAID] = encoded
        step.promise(Channel.CHECKPOINTS, encoded)
        # What a quorum certified is final wherever it is lost, so our own share may count before it is on our disk.
        round_.shares[self._voter.node] = share
        round_.heard.add(self._voter.node)
        self._complete(round_, step)

    def _take(self, round_: _Round, peer: NodeId, share: Share, step: Step) -> None:
        if peer in round_.heard or round_.done:
            return
        round_.heard.add(peer)
        if share.statement != round_.statement:
            step.note("checkpoint-differs", peer=peer, height=round_.statement.height)
            return
        key = self._ledger.members.vote_keys[peer]
        text = share.statement.head(self._ledger.genesis).text().encode()
        if not self._verify(key, text, share.note_signature):
            step.note("peer-garbage", peer=peer, reason="BAD_SIGNATURE")
            return
        round_.shares[peer] = share
        self._complete(round_, step)

    def _complete(self, round_: _Round, step: Step) -> None:
        """A quorum's shares are one checkpoint. A false one is found only if the sum is false, and its sender is named."""
        ledger, members = self._ledger, self._ledger.members
        if round_.done or len(round_.shares) < members.quorum:
            return None
        signature = bls.aggregate([share.signature for share in round_.shares.values()])
        if signature is None:
            return self._sort_out(round_, step)
        bitmap = bitmap_of(members, set(round_.shares))
        checkpoint = Checkpoint(round_.statement, bitmap, signature)
        lane = ledger.genesis.lane
        try:
            check_checkpoint(checkpoint, ledger.chain, lane, members, self._keys())
        except Refused:
            return self._sort_out(round_, step)
        lines = tuple(
            CertVote(member, round_.shares[member].note_signature)
            for member in sorted(round_.shares)
        )
        round_.done = True
        height = round_.statement.height
        step.pairs[schema.at_height(schema.CHECKPOINT, height)] = KEPT.encode(
            KeptCheckpoint(checkpoint, lines)
        )
        if height > self._newest:
            self._newest = height
            step.pairs[schema.CHECKPOINT_NEWEST] = height.to_bytes(8, "big")
        step.note("checkpoint", height=height, signers=len(lines))
        return None

    def _sort_out(self, round_: _Round, step: Step) -> None:
        """Check each share by itself, and go on with those that are good."""
        message = round_.statement.message(self._ledger.chain, self._ledger.genesis.lane)
        keys = self._keys()
        for member in sorted(round_.shares):
            if not bls.verify(keys[member], message, round_.shares[member].signature):
                invariant(member != self._voter.node, "our own checkpoint share is not genuine")
                del round_.shares[member]
                step.note("peer-garbage", peer=member, reason="BAD_SIGNATURE")

    # -- questions -----------------------------------------------------------------------------------------------------

    def _keys(self) -> dict[NodeId, bytes]:
        return checkpoint_keys(self._ledger.genesis, self._ledger.members)

    def _is_of_our_ledger(self, said: Statement) -> bool:
        """Whether shares for what was said still count. Another statement than the ledger's own is a broken invariant."""
        ledger = self._ledger
        if said.height > ledger.height or said.epoch != ledger.members.epoch:
            return False
        link = ledger.store.get(schema.at_height(schema.LINK, said.height))
        root = ledger.history.root(said.height + 1)
        invariant(
            (link, root) == (said.link, said.history_root),
            "we signed a checkpoint that our ledger does not say",
            height=said.height,
        )
        return True
