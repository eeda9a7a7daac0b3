"""When a leader serves others past what waits: the censorship bound (architecture section 8; P28).

Decided here: that a final block was unfair to a bank, and that so many of them are enough to leave the view. A bank's oldest
transaction here is overdue once it has been sent on to this view's leader twice. From then on a block is unfair to that bank
which lacks it and either holds nothing of the bank, or something of it that came here even later. An honest leader makes no
such block: it takes the bank with the oldest transaction first, something of every bank, and of each bank the oldest first.
Not here: what leaving a view does (the engine). Raft's leaders only crash: nothing is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tallystick.consensus.api import Engine, Unfair
from tallystick.contracts.machine import work_of
from tallystick.network.wire.genesis import Parameters
from tallystick.network.wire.ids import BodyId
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.mempool import STRANGER, Mempool

UNFAIR_BLOCKS_MAX = 16
"""More than the proposals that a leader may have in flight when it first hears of a transaction, and few enough that a
censored bank waits for milliseconds under load."""


@dataclass(slots=True)
class _Tracked:
    oldest: BodyId
    since: int
    """How many transactions had ever come in when it was found overdue: whatever is numbered above came much later."""
    unfair: int = 0


@dataclass(slots=True)
class Fairness:
    pool: Mempool
    transactions_max: int
    """Of a block. With more banks than that waiting, an honest block cannot hold one of each: nothing is counted."""
    work_max: int
    """Of a block, and the same: one of each bank must fit into half of it, for the leader's oldest may be heavier than ours."""
    _marks: tuple[int, ...] = ()
    """Up to which arrival everything was sent on to this leader, the last two times. It may not hear of more: a member that
    keeps a transaction from the leader alone must not cost it its view."""
    _banks: dict[int, _Tracked] = field(default_factory=dict)

    @classmethod
    def of(cls, pool: Mempool, parameters: Parameters) -> "Fairness":
        return cls(pool, parameters.block_transactions_max, parameters.block_work_max)

    def view_entered(self) -> None:
        """Another leader: it owes nothing yet."""
        self._marks = ()
        self._banks.clear()

    def sent_on(self, up_to: int) -> None:
        """All that may be ordered has been sent to the leader up to this number of arrival; called about every second."""
        self._marks = (*self._marks, up_to)[-2:]

    def served_by(self, bodies: Sequence[CheckedBody]) -> dict[int, int] | None:
        """Before a block leaves the pool: bank → the highest arrival number in it. None: nothing is overdue, so nothing
        need be counted, and a block costs one comparison."""
        if len(self._marks) < 2 or self.pool.oldest_number > min(self._marks):
            return None
        served: dict[int, int] = {}
        for body in bodies:
            waiting = self.pool.get(body.body_id)
            if waiting is not None:
                served[waiting.bank] = max(served.get(waiting.bank, 0), waiting.number)
        return served

    def _work(self, heads: dict[int, tuple[BodyId, int]]) -> int:
        """What one of each bank costs."""
        waiting = [self.pool.get(body_id) for body_id, _ in heads.values()]
        return sum(work_of(each.body.transaction) for each in waiting if each is not None)

    def passed_over(self, served: dict[int, int], engine: Engine) -> Unfair | None:
        """After it has left the pool: what the engine hears, if a bank was passed over too often."""
        bank = self.count(served)
        return None if bank is None else Unfair(engine.status().view, bank)

    def count(self, served: dict[int, int]) -> int | None:
        """The bank that was passed over too often, or None."""
        heads = self.pool.heads()
        if len(heads) > self.transactions_max or 2 * self._work(heads) > self.work_max:
            return None
        for bank in [bank for bank in self._banks if bank not in heads]:
            del self._banks[bank]
        overdue = min(self._marks)
        for bank, (body_id, number) in sorted(heads.items()):
            if bank == STRANGER or number > overdue:
                self._banks.pop(bank, None)
                continue
            tracked = self._banks.get(bank)
            if tracked is None or (tracked.oldest != body_id and bank in served):
                self._banks[bank] = _Tracked(body_id, self.pool.arrived)
                continue
            # The one before may have passed its deadline: that is no service.
            tracked.oldest = body_id
            if bank not in served or served[bank] > tracked.since:
                tracked.unfair += 1
            if tracked.unfair >= UNFAIR_BLOCKS_MAX:
                return bank
        return None
