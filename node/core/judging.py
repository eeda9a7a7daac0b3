"""May this proposal be voted for? Valid by bytes, believable in time, executed here, and with the same link.

Decided here: `ACCEPT`, `REFUSE` (invalid) or `DISAGREE` (valid, but we computed something else), and what to ask for while
that cannot be told: bodies on their way, an ancestor's bytes, a time that has not come yet. No honest leader is refused for
a block whose state moved under it: keys, accounts and balances are answered by outcomes.
Not here: chain rules and votes (consensus), the contracts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.consensus.api import Judge, Judged, Verdict
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import VERSION
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import BodyId, Link, NodeId
from tallystick.node.core import block_time
from tallystick.node.core.block_data import BLOCK_DATA, BlockData, describe
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.step import Step

ASK_AFTER_MS = 30
"""Bodies are usually on their way already: ask for them only after this."""

ASK_AGAIN_MS = 150
"""Without an answer, ask the next member."""

UNCOMMITTED_MAX = 256
"""Blocks kept above the last final height."""

HEARSAY_MAX = UNCOMMITTED_MAX // 2
"""Of these, such as we neither voted for nor asked for: a hostile member may fill this part, never the rest."""


@dataclass(slots=True)
class _Parked:
    request: Judge
    data: BlockData
    first_seen_ms: int
    wake_ms: int | None = None


@dataclass(slots=True)
class Judging:
    ledger: Ledger
    pool: Mempool
    uncommitted: dict[Link, BlockData] = field(default_factory=dict)
    """Blocks above the last final one whose bytes we hold."""
    wanted_bodies: dict[BodyId, int] = field(default_factory=dict)
    """Body id → when to ask (again)."""
    wanted_blocks: dict[Link, int] = field(default_factory=dict)
    _parked: dict[Link, _Parked] = field(default_factory=dict)
    _lacking: dict[Link, set[BodyId]] = field(default_factory=dict)
    """What is still missing of each block that was looked through: it is not looked through again before all has come."""
    _ask_ms: int = 0
    """No wanted body is to be asked for before."""
    _asked: int = 0

    def judge(self, request: Judge, now_ms: int, step: Step) -> Judged | None:
        """The verdict, or None while something is missing; `retry` gives it later."""
        link = request.block.link
        if link in self.ledger.layers:
            return Judged(request.view, link, Verdict.ACCEPT, link)
        known = self._parked.get(link)
        data = known.data if known is not None else BLOCK_DATA.decode(request.block.data)
        self.hold(link, data, needed=True)
        first_seen_ms = known.first_seen_ms if known is not None else now_ms
        self._parked[link] = _Parked(request, data, first_seen_ms)
        return self._try(link, now_ms, step)

    def retry(self, now_ms: int, step: Step) -> list[Judged]:
        """Whatever can be told now: bodies have come, or time has."""
        answers = [self._try(link, now_ms, step) for link in list(self._parked)]
        return [answer for answer in answers if answer is not None]

    @property
    def waits(self) -> bool:
        return bool(self._parked)

    @property
    def lacks(self) -> bool:
        """Bodies or blocks are to be asked for, now or later."""
        return bool(self.wanted_bodies or self.wanted_blocks)

    def hold(self, link: Link, data: BlockData, *, needed: bool) -> None:
        """`needed`: we vote for it, are to judge it, or asked for it."""
        if len(self.uncommitted) < (UNCOMMITTED_MAX if needed else HEARSAY_MAX):
            self.uncommitted[link] = data

    def given(self, encoded: bytes) -> bool:
        """A peer's answer to a question for a block's bytes; False when nobody here asked."""
        block = describe(encoded)
        if block is None or self.wanted_blocks.pop(block.link, None) is None:
            return False
        self.hold(block.link, BLOCK_DATA.decode(encoded), needed=True)
        return True

    def view_entered(self) -> None:
        """The engine asks anew for whatever it still wants to know."""
        self._parked.clear()
        self._lacking.clear()
        self.wanted_bodies.clear()
        self.wanted_blocks.clear()

    def forget_below(self, keep_wants: bool) -> None:
        """Blocks up to the last final height are judged. `keep_wants`: somebody else still waits for what is missing."""
        height = self.ledger.height
        self.uncommitted = {
            link: data for link, data in self.uncommitted.items() if data.header.height > height
        }
        for link in [
            link for link, kept in self._parked.items() if kept.data.header.height <= height
        ]:
            del self._parked[link]
        self._lacking.clear()
        if not self._parked and not keep_wants:
            self.wanted_bodies.clear()
            self.wanted_blocks.clear()

    # -- the verdict ---------------------------------------------------------------------------------------------------

    def _try(self, link: Link, now_ms: int, step: Step) -> Judged | None:
        parked = self._parked[link]
        parked.wake_ms = None
        if link in self.ledger.layers:
            verdict, own = Verdict.ACCEPT, link
        else:
            told = self._verdict(link, parked, now_ms, step)
            if told is None:
                return None
            verdict, own = told
        del self._parked[link]
        return Judged(parked.request.view, link, verdict, own)

    def _verdict(
        self, link: Link, parked: _Parked, now_ms: int, step: Step
    ) -> tuple[Verdict, Link] | None:
        if self._lacking.get(link):
            return None
        ledger, data, header = self.ledger, parked.data, parked.data.header
        parent = Link(header.parent_link)
        if not self._well_formed(data):
            return Verdict.REFUSE, link
        if not self.stand_on(parent, now_ms, step):
            return None
        parent_height, parent_time_ms = ledger.parent_of(parent)
        if header.epoch != ledger.epoch_after(parent):
            return Verdict.REFUSE, link  # on the last block of an epoch that is not final yet
        if header.height != parent_height + 1 or header.time_ms < parent_time_ms:
            return Verdict.REFUSE, link
        if parked.request.fresh:
            parameters = ledger.genesis.parameters
            wake_ms = block_time.believable_at(header.time_ms, parameters)
            if now_ms < wake_ms:
                parked.wake_ms = wake_ms
                return None
            age = parked.request.view_age
            if block_time.too_late(header.time_ms, parked.first_seen_ms, age, parameters):
                return Verdict.REFUSE, link
        bodies = self._bodies(link, data, now_ms)
        if bodies is None:
            return None
        fault = ledger.block_fault(parent, header.time_ms, bodies)
        if fault is not None:
            step.note("invalid-block", height=header.height, reason=fault.code)
            return Verdict.REFUSE, link
        layer = self._execute(parent, data, bodies, step)
        if layer is None:
            return Verdict.DISAGREE, Link(bytes(32))
        if layer.link == link:
            self.pool.claim([body.body_id for body in bodies])
            return Verdict.ACCEPT, link
        if layer.header != header:
            return Verdict.REFUSE, link
        return Verdict.DISAGREE, layer.link

    def _well_formed(self, data: BlockData) -> bool:
        ledger, header = self.ledger, data.header
        ids = data.body_ids()
        return (
            header.version == VERSION
            and header.chain == ledger.chain
            and header.lane == ledger.genesis.lane
            and header.epoch == ledger.members.epoch
            and header.proposer in ledger.members
            and len(set(ids)) == len(ids)
        )

    def _execute(
        self, parent: Link, data: BlockData, bodies: list[CheckedBody], step: Step
    ) -> Layer | None:
        try:
            return self.ledger.execute(
                parent, data.header.time_ms, NodeId(data.header.proposer), bodies
            )
        except InvariantError as error:
            step.note("poison-block", height=data.header.height, error=str(error))
            return None

    def _bodies(self, link: Link, data: BlockData, now_ms: int) -> list[CheckedBody] | None:
        """The block's transactions from the pool, or None: then the missing ones are wanted."""
        if self._lacking.get(link):
            return None
        bodies: list[CheckedBody] = []
        missing: list[BodyId] = []
        for body_id in data.body_ids():
            waiting = self.pool.get(body_id)
            if waiting is None:
                missing.append(body_id)
            else:
                bodies.append(waiting.body)
        self._lacking[link] = set(missing)
        if not missing:
            return bodies
        ask_ms = now_ms + ASK_AFTER_MS
        self._ask_ms = min(self._ask_ms, ask_ms) if self.wanted_bodies else ask_ms
        for body_id in missing:
            self.wanted_bodies.setdefault(body_id, ask_ms)
        return None

    def stand_on(self, link: Link, now_ms: int, step: Step) -> bool:
        """Make sure that `link` is executed, its ancestors first; False while something is missing."""
        ledger = self.ledger
        if ledger.knows(link):
            return True
        data = self.uncommitted.get(link)
        if data is None:
            self.wanted_blocks.setdefault(link, now_ms)
            return False
        if data.header.height <= ledger.height:
            return False
        parent = Link(data.header.parent_link)
        if not self.stand_on(parent, now_ms, step):
            return False
        bodies = self._bodies(link, data, now_ms)
        if bodies is None:
            return False
        layer = self._execute(parent, data, bodies, step)
        return layer is not None and layer.link == link

    # -- what to ask for -----------------------------------------------------------------------------------------------

    def wants(
        self, now_ms: int, peers: list[NodeId], is_on_its_way: Callable[[BodyId], bool]
    ) -> tuple[NodeId, tuple[BodyId, ...], tuple[Link, ...]] | None:
        """(whom, bodies, blocks) to ask for now; the next member each time."""
        if not peers or not self.lacks:
            return None
        ids = self._bodies_to_ask_for(now_ms, is_on_its_way) if now_ms >= self._ask_ms else []
        links = [link for link, at_ms in self.wanted_blocks.items() if at_ms <= now_ms]
        if not ids and not links:
            return None
        for link in links:
            self.wanted_blocks[link] = now_ms + ASK_AGAIN_MS
        self._asked += 1
        return peers[self._asked % len(peers)], tuple(ids), tuple(links)

    def _bodies_to_ask_for(
        self, now_ms: int, is_on_its_way: Callable[[BodyId], bool]
    ) -> list[BodyId]:
        """Those that are due, as many as one question may hold; each is due again later."""
        ids: list[BodyId] = []
        for body_id, at_ms in self.wanted_bodies.items():
            if at_ms > now_ms:
                continue
            if is_on_its_way(body_id):
                self.wanted_bodies[body_id] = now_ms + ASK_AFTER_MS
            elif len(ids) < bounds.BODIES_PER_FRAME_MAX:
                self.wanted_bodies[body_id] = now_ms + ASK_AGAIN_MS
                ids.append(body_id)
        self._ask_ms = min(self.wanted_bodies.values(), default=0)
        return ids

    def last_asked(self, peers: list[NodeId]) -> NodeId | None:
        """Who was asked last, if anybody was."""
        return peers[self._asked % len(peers)] if self._asked and peers else None

    @property
    def wake_ms(self) -> int | None:
        """When the time of a proposed block becomes believable, if one waits for that."""
        moments = [parked.wake_ms for parked in self._parked.values() if parked.wake_ms is not None]
        return min(moments, default=None)

    def came(self, ids: list[BodyId]) -> None:
        """These are in the pool now."""
        if self.wanted_bodies:
            for body_id in ids:
                self.wanted_bodies.pop(body_id, None)
            for lacking in self._lacking.values():
                lacking.difference_update(ids)

    @property
    def deadline_ms(self) -> int | None:
        if not (self._parked or self.lacks):
            return None  # almost always, and asked after every event
        moments = [parked.wake_ms for parked in self._parked.values() if parked.wake_ms is not None]
        if self.wanted_bodies:
            moments.append(self._ask_ms)
        moments.extend(self.wanted_blocks.values())
        return min(moments, default=None)
