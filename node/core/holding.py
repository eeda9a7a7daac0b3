"""Who holds a forwarded batch: what is signed for it, and when enough members have.

f+1 signatures include an honest holder, who sends the transactions on until they are ordered or past their deadline. Signatures
are checked when somebody waits for them, and no more of them than that needs. Not here: who waits (`outcomes`).
"""

from dataclasses import dataclass

from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.signing import held_message
from tallystick.node.core.effects import Answer
from tallystick.node.core.forwarding import Batch
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.ports import VerifyVote, VoteSigner


@dataclass(frozen=True, slots=True)
class Holding:
    ledger: Ledger
    signer: VoteSigner
    verify: VerifyVote

    def signature(self, digest: bytes) -> bytes:
        """Ours, over a batch that is durable here (or is once this step and the earlier ones are)."""
        return self.signer.sign(self._message(digest))

    def enough(self, digest: bytes, batch: Batch) -> bool:
        """Have f+1 members signed that they hold the batch?"""
        members = self.ledger.members
        if self.signer.node not in members:
            return False  # who does not vote signs nothing
        message, holders, needed = self._message(digest), batch.holders, members.faults + 1
        if batch.durable and self.signer.node not in holders:
            holders[self.signer.node] = self.signer.sign(message)
        while len(holders) < needed and batch.claims:
            member, signature = batch.claims.popitem()
            if self.verify(members.vote_keys[member], message, signature):
                holders[member] = signature
        return len(holders) >= needed

    def _message(self, digest: bytes) -> bytes:
        return held_message(self.ledger.chain, self.ledger.genesis.lane, digest)


def accepted(body_id: BodyId, digest: bytes, batch: Batch) -> Answer:
    """What a client is told, with the evidence."""
    holders = tuple(sorted(batch.holders.items()))
    return Answer("accepted", body_id, holders=holders, batch=digest, siblings=batch.ids)
