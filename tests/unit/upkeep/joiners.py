"""Members that give a snapshot through their own serving code, honest or not, and whoever joins from it."""

import asyncio
from collections.abc import Callable

from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.judging import Judging
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.messages import (
    CATCH_UP_MESSAGE,
    CatchUpMessage,
)
from tallystick.node.core.serving import Served
from tallystick.node.core.step import Step
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.joining import Joining
from tallystick.node.upkeep.peers import answers
from tests.unit.core.lab import Lab

SAME = (
    schema.ACCOUNT,
    schema.RECORD,
    schema.TAKEN,
    schema.REFUSED,
    schema.CONSUMED,
    schema.LINK,
    schema.EPOCH,
)
"""Tables in which a joined ledger equals an executed one byte for byte."""

Spoil = Callable[[CatchUpMessage, CatchUpMessage], CatchUpMessage | None]
"""(question, honest answer) → what a traitor says."""


def honest(question: CatchUpMessage, answer: CatchUpMessage) -> CatchUpMessage | None:
    return answer


class Members:
    """`joining.Sources`: members' ledgers behind their own serving code, a clock that moves when somebody waits."""

    def __init__(self, lab: Lab, nodes: tuple[int, ...] = (0, 1, 2), **spoil: Spoil) -> None:
        self.lab = lab
        self.served = {NodeId(node): Served() for node in nodes}
        self.spoil = {NodeId(int(name[1:])): lie for name, lie in spoil.items()}
        self.now_ms = lab.now_ms
        self.asked: list[tuple[NodeId, CatchUpMessage]] = []
        self.waited = 0

    async def members(self) -> list[NodeId]:
        return sorted(self.served)

    async def ask(self, peer: NodeId, question: CatchUpMessage) -> CatchUpMessage | None:
        self.asked.append((peer, question))
        self.now_ms += 150  # more than anything costs here
        if peer not in self.served:
            return None
        ledger, step = self.lab.core(peer).ledger, Step()
        judging = Judging(ledger, Mempool(peer))
        self.served[peer].answer(question, NodeId(1000), ledger, judging, self.now_ms, step)
        (said,) = step.now
        answer = CATCH_UP_MESSAGE.decode(said.frame[1:])  # type: ignore[union-attr]
        spoilt = self.spoil.get(peer, honest)(question, answer)
        return spoilt if spoilt is not None and answers(question, spoilt) else None

    async def sleep(self, seconds: float) -> None:
        self.waited += 1
        self.now_ms += int(seconds * 1_000)


def joining(lab: Lab, store: MemoryStore, members: Members) -> Joining:
    return Joining(lab.genesis, store, members, verify=lab.keys.verify, sleep=members.sleep)


def joined(lab: Lab, members: Members, turn: int = 0) -> tuple[MemoryStore, Joining]:
    store = MemoryStore()
    attempt = joining(lab, store, members)
    attempt._turn = turn
    assert asyncio.run(attempt.run()) == lab.core(0).ledger.height
    return store, attempt


def table(rows: dict[bytes, bytes], letter: bytes) -> dict[bytes, bytes]:
    return {key: value for key, value in rows.items() if key.startswith(letter)}


def equals_executed(lab: Lab, store: MemoryStore) -> None:
    rows, executed = store.snapshot(), lab.box(0).store.snapshot()
    for letter in SAME:
        assert table(rows, letter) == table(executed, letter), letter
    assert rows[schema.FINAL] == executed[schema.FINAL]
    assert schema.JOINING not in rows
    assert Ledger(lab.genesis, store).state.root == lab.core(0).ledger.state.root


class Dying(MemoryStore):
    """The power fails at the n-th write."""

    def __init__(self, rows: dict[bytes, bytes], writes: int) -> None:
        super().__init__(rows)
        self._left = writes

    def write(self, batches: object) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        super().write(batches)  # type: ignore[arg-type]
