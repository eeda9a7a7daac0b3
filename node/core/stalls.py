"""What the node around the engine waits for: peers, blocks and bodies on their way, a clock, the disk.

Decided here: whether the engine's own answer (`consensus.waiting`) has its cause on this machine, and the few moments that such
an answer needs. Asked by people; on the way of a payment stand two assignments for each batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tallystick.consensus.api import EngineStatus
from tallystick.consensus.waiting import Phase, Waiting, names
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.catch_up import CatchUp
from tallystick.node.core.judging import Judging
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.status import NodeStatus


@dataclass(slots=True)
class Moments:
    """Since when."""

    me: NodeId
    began_at_height: int
    """The last final height that this process found on its disk."""
    down_since_ms: dict[NodeId, int]
    """Every other member that is not connected; since our start, if it never was."""
    disk_since_ms: int | None = None
    """Since when nothing has become durable though something waits for it; None: nothing waits."""
    behind_since_ms: int = 0

    @classmethod
    def of(cls, me: NodeId, members: Iterable[NodeId], height: int, now_ms: int) -> "Moments":
        return cls(me, height, {member: now_ms for member in members if member != me})

    def up(self, peer: NodeId) -> None:
        self.down_since_ms.pop(peer, None)

    def down(self, peer: NodeId, now_ms: int) -> None:
        """`peer`: a member."""
        self.down_since_ms[peer] = now_ms

    def handed_over(self, now_ms: int) -> None:
        """A batch is on its way to the disk."""
        if self.disk_since_ms is None:
            self.disk_since_ms = now_ms

    def durable(self, now_ms: int, more: bool) -> None:
        """A batch is on the disk; `more` are not."""
        self.disk_since_ms = now_ms if more else None


def around(
    waiting: Waiting,
    moments: Moments,
    judging: Judging | None,
    catch_up: CatchUp,
    peers: list[NodeId],
    halted: str | None,
) -> Waiting:
    """The engine's answer, or what on this machine is the cause of it. `peers`: connected members; `judging` None: an observer."""
    if halted is not None:
        return replace(waiting, phase=Phase.PEOPLE, awaited=(), needed=0, unblocks=_READ_DIAGNOSIS)
    target = catch_up.target
    if target is not None and catch_up.behind:
        owing = tuple(sorted(catch_up.owing & set(peers))) or tuple(peers)
        what = f"final blocks up to height {target.height}, of {names(owing) if owing else 'any member'}"
        return replace(
            waiting,
            phase=Phase.CATCH_UP,
            awaited=owing,
            needed=min(1, len(owing)),
            since_ms=moments.behind_since_ms,
            unblocks=what,
        )
    if waiting.phase is Phase.JUDGEMENT and judging is not None:
        return _judgement(waiting, judging, peers)
    if moments.disk_since_ms is not None and moments.me in waiting.awaited:
        return replace(
            waiting,
            phase=Phase.DISK,
            awaited=(moments.me,),
            needed=1,
            since_ms=max(waiting.since_ms, moments.disk_since_ms),
            unblocks="this node's disk: what it has to say is written there first",
        )
    return waiting


_READ_DIAGNOSIS = "people: the node has halted; read its diagnosis before it is started again"


def _judgement(waiting: Waiting, judging: Judging, peers: list[NodeId]) -> Waiting:
    """Why the leader's block is not judged yet."""
    asked = judging.last_asked(peers)
    whom = () if asked is None else (asked,)
    of = "" if asked is None else f"; last asked of member {asked}, next of the one after it"
    if judging.wanted_blocks:
        what = f"the bytes of {len(judging.wanted_blocks)} blocks{of}"
        return replace(waiting, phase=Phase.BLOCKS, awaited=whom, needed=len(whom), unblocks=what)
    if judging.wanted_bodies:
        what = f"{len(judging.wanted_bodies)} transactions of the proposed block{of}"
        return replace(waiting, phase=Phase.BODIES, awaited=whom, needed=len(whom), unblocks=what)
    wake_ms = judging.wake_ms
    if wake_ms is not None:
        what = f"this node's clock: the proposed block's time is believable from {wake_ms} on"
        return replace(waiting, phase=Phase.CLOCK, unblocks=what)
    return waiting


def status_of(
    me: NodeId,
    ledger: Ledger,
    pool_size: int,
    peers_up: Iterable[NodeId],
    moments: Moments,
    catch_up: CatchUp,
    engine: EngineStatus,
    waiting: Waiting,
    halted: str | None,
) -> NodeStatus:
    """What a member tells of itself."""
    return NodeStatus(
        me,
        ledger.genesis.engine,
        ledger.members.epoch,
        engine.view,
        engine.leader,
        ledger.height,
        ledger.link,
        ledger.state.root,
        ledger.time_ms,
        pool_size,
        tuple(sorted(peers_up)),
        engine.in_flight,
        waiting,
        engine.alarm,
        halted,
        0,
        tuple(sorted(moments.down_since_ms.items())),
        catch_up.target.height if catch_up.target and catch_up.behind else None,
        ledger.height > moments.began_at_height,
    )
