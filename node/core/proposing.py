"""What a leader proposes: waiting transactions in fair turns, executed on the parent's state before anybody hears of them.

Decided here: which waiting transactions may stand in this block. Not here: when a block is due (`consensus.batching`), whether
it is voted for (`judging`).
"""

from dataclasses import dataclass

from tallystick.consensus import api
from tallystick.contracts import ordering_fault
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import block_time
from tallystick.node.core.block_data import block_of
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.layers import LayeredState
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.step import Step


@dataclass(frozen=True, slots=True)
class Proposing:
    me: NodeId
    ledger: Ledger
    pool: Mempool

    def make(self, wish: api.MakeBlock, now_ms: int, step: Step) -> api.BlockMade | None:
        """A block on the parent that the engine names. None: we cannot, and the view must pass to another leader."""
        ledger, parent, parameters = self.ledger, wish.parent_link, self.ledger.genesis.parameters
        if not ledger.knows(parent) or ledger.epoch_after(parent) != ledger.members.epoch:
            return None
        time_ms = block_time.stamp(now_ms, ledger.parent_of(parent)[1])
        taken: list[CheckedBody] = []
        if not wish.empty:
            taken = self.pool.take(parameters.block_transactions_max, parameters.block_work_max)
        bodies = self._orderable(taken, ledger.state_at(parent), time_ms)
        try:
            layer = ledger.execute(parent, time_ms, self.me, bodies)
        except InvariantError as error:
            step.note("poison-block", height=wish.height, error=str(error))
            return None
        return api.BlockMade(parent, block_of(layer.data()), len(taken))

    def _orderable(
        self, bodies: list[CheckedBody], state: LayeredState, time_ms: int
    ) -> list[CheckedBody]:
        """What may stand in a block of this time on this state. What may never, leaves the pool when its place is final."""
        validity_ms = self.ledger.genesis.parameters.max_validity_ms
        taken = state.taken({body.key for body in bodies})
        refused = state.refused({body.body_id for body in bodies})
        return [
            body
            for body in bodies
            if ordering_fault(body.transaction.valid_until_ms, time_ms, validity_ms) is None
            and taken.get(body.key) != body.digest
            and body.body_id not in refused
        ]
