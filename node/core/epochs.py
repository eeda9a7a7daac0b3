"""The turn of an epoch at one node: what it forgets, and what it tells its clients while it does not vote.

Decided here: that nothing of the old epoch is carried into the next one but the ledger and the transactions that wait. Signatures
of members that left count no more. Not here: the new engine (`replica`), when an epoch ends (`contracts.membership`).
"""

from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import Submit
from tallystick.node.core.forwarding import Forwarding
from tallystick.node.core.judging import Judging
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.outcomes import Outcomes

BYSTANDER_POLL_MS = 200
"""How often a node that does not vote asks for final blocks."""


def forget_epoch(ledger: Ledger, judging: Judging, pool: Mempool, forwarding: Forwarding) -> None:
    """Proposals of the old epoch are judged no more; their transactions wait again."""
    judging.view_entered()
    pool.put_back()
    for batch in forwarding.out.values():
        for signatures in (batch.claims, batch.holders):
            for member in [each for each in signatures if each not in ledger.members]:
                del signatures[member]


def refuse_all(submit: Submit, outcomes: Outcomes) -> None:
    """A node that does not vote takes nothing in: no member would take it from it."""
    ids = tuple([body_id(raw) for raw in submit.bodies])
    outcomes.begin(submit.token, submit.wait, ids)
    for index, each in enumerate(ids):
        sentence = "This node does not vote in this epoch."
        answer = Answer("refused", each, RejectReason.NOT_READY, sentence)
        outcomes.answer(submit.token, index, answer)
