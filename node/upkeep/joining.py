"""A node without a ledger gets one from its peers' snapshot: `node run --join`, `observer run --join`.

Beside the place of the ledger it makes `data/join`: outlines from all members in turn, the state from one of them, then a look
at the whole as `ledger verify` has it, then the exchange (`aside`). Decided here: whom to ask, who is named and dropped for
what does not hold, and where a call that was cut off goes on. A member whose guard has signed is refused: it would forget its
votes. Not here: what holds (`snapshots`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from tallystick.network.proofs.certificates import Certificate, Verify
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.keys import verify_vote
from tallystick.node.core import schema
from tallystick.node.core.messages import (
    AskOutlines,
    AskState,
    CatchUpMessage,
    NotNow,
    Outlines,
    StateChunk,
    StateGone,
)
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.upkeep.aside import Aside
from tallystick.node.upkeep.findings import Level, Progress, Report, silent
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.rows import Damaged
from tallystick.node.upkeep.snapshots import Snapshot
from tallystick.node.upkeep.stores import Keys
from tallystick.node.upkeep.verifying import verify

FAILURES_MAX = 24
"""Questions in a row that brought nothing: each of four members asked six times."""

WAITED_MS_MAX = 20_000
"""How long one peer may put off one question in all; an honest one that serves four says less than 200 at once."""

HEIGHT_MAX = 2**63 - 1

_log = structlog.get_logger("join")


class Sources(Protocol):
    """Who can be asked."""

    async def members(self) -> list[NodeId]:
        """Connected members, ascending; empty when nobody came within the patience."""
        ...

    async def ask(self, peer: NodeId, question: CatchUpMessage) -> CatchUpMessage | None:
        """One answer; None when it did not come in time."""
        ...


@dataclass(slots=True)
class Joining:
    """One attempt to fill `target`."""

    genesis: Genesis
    target: WritableStore
    sources: Sources
    progress: Progress = silent
    verify: Verify = verify_vote
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    dropped: dict[NodeId, str] = field(default_factory=dict)
    """Who gave something that does not hold, and what."""
    _turn: int = 0
    _failures: int = 0

    async def run(self) -> int:
        """Fill the target; the height, or 0 when nobody has a block. `OperationalError`: nobody gives the rest now."""
        if self.target.get(schema.FINAL) is not None:
            return int.from_bytes((self.target.get(schema.FINAL) or b"")[:8], "big")
        made = Snapshot(self.genesis, self.target, self.verify)
        while True:
            source = await self._resumed(made) or await self._begun(made)
            if source is None:
                return 0
            if await self._rows(made, source):
                return made.height

    # -- blocks --------------------------------------------------------------------------------------------------------

    async def _outlines(self, made: Snapshot, anchor: Certificate | None) -> None:
        """Up to the anchor, or as far as every member says that there are blocks."""
        level: set[NodeId] = set()
        last = HEIGHT_MAX if anchor is None else anchor.height
        while made.height < last:
            peer = await self._next_peer(level)
            if peer is None:
                if anchor is None:
                    return
                level.clear()
                continue
            asked = AskOutlines(made.height + 1, last)
            answer = await self._asked(peer, asked)
            if not isinstance(answer, Outlines) or answer.height != asked.height:
                self._failed()
                continue
            try:
                count = made.take_outlines(answer, anchor)
            except Refused as refused:
                self._drop(peer, refused)
                continue
            if not count:
                level.add(peer)
                if anchor is not None:
                    self._failed()
                continue
            self._failures = 0
            self.progress("blocks", made.height, max(made.height, answer.final_height))

    async def _next_peer(self, level: set[NodeId]) -> NodeId | None:
        """The next member that is not known to lie; None once all that are here have nothing more."""
        while True:
            here = [each for each in await self.sources.members() if each not in self.dropped]
            if not here:
                self._failed()
                continue
            left = [each for each in here if each not in level]
            if not left:
                return None
            self._turn += 1
            return left[self._turn % len(left)]

    # -- the state -----------------------------------------------------------------------------------------------------

    async def _resumed(self, made: Snapshot) -> NodeId | None:
        """Who goes on giving the state that was begun before this process, if it still does."""
        taking = made.taking
        if taking is None:
            return None
        source = NodeId(taking[0])
        if source in await self.sources.members() and source not in self.dropped:
            _log.info("goes on", source=source, height=taking[1], chunk=taking[2])
            return source
        made.drop_state()
        return None

    async def _begun(self, made: Snapshot) -> NodeId | None:
        """All blocks, and the member whose state of the last one is taken; None: nobody has any block."""
        while True:
            await self._outlines(made, None)
            peer = await self._next_peer(set())
            if peer is None:
                continue
            if not made.height:
                return None
            answer = await self._asked(peer, AskState(0, 0))
            if not isinstance(answer, StateChunk) or (certificate := answer.certificate) is None:
                self._failed()
                continue
            if certificate.height < made.height:
                self._failed()  # it lags behind the others
                continue
            try:
                if certificate.height > made.height:
                    made.check(certificate)
                    await self._outlines(made, certificate)
                made.begin_state(certificate, peer)
            except Refused as refused:
                if certificate.epoch == made.epoch:
                    self._drop(peer, refused)
                else:
                    self._failed()  # members changed meanwhile
                continue
            _log.info("takes the state", source=peer, height=made.height)
            return peer

    async def _rows(self, made: Snapshot, source: NodeId) -> bool:
        """The state from `source`; False: begin anew, elsewhere if it lied."""
        silent_once = False
        while (taking := made.taking) is not None:
            _, height, number = taking
            answer = await self._asked(source, AskState(height, number))
            if not isinstance(answer, StateChunk):
                self._failed()
                if isinstance(answer, StateGone) or silent_once:
                    _log.warning("state gone", source=source, height=height)
                    made.drop_state()
                silent_once = True
                continue
            try:
                if made.take_rows(answer):
                    made.finish()
                    return True
            except Refused as refused:
                self._drop(source, refused)
                made.drop_state()
                return False
            self._failures, silent_once = 0, False
            self.progress("state", number, 0)
        return False

    # -- one question --------------------------------------------------------------------------------------------------

    async def _asked(self, peer: NodeId, question: CatchUpMessage) -> CatchUpMessage | None:
        """The answer, once the peer has time for one."""
        waited_ms = 0
        while waited_ms <= WAITED_MS_MAX:
            answer = await self.sources.ask(peer, question)
            if not isinstance(answer, NotNow):
                return answer
            waited_ms += max(1, answer.wait_ms)
            await self.sleep(min(answer.wait_ms, WAITED_MS_MAX) / 1_000)
        return None

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            named = "; ".join(f"member {peer}: {why}" for peer, why in sorted(self.dropped.items()))
            raise OperationalError(
                "no member gives the rest of the snapshot now. What was fetched is kept: run it again when members can be"
                " reached" + (f". Not asked any more: {named}" if named else "")
            )

    def _drop(self, peer: NodeId, refused: Refused) -> None:
        self.dropped[peer] = str(refused)
        _log.warning("source dropped", source=peer, code=refused.reason.code, why=refused.detail)


@dataclass(frozen=True, slots=True)
class Joined:
    """What stands in its place now."""

    height: int
    state_root: bytes
    dropped: dict[NodeId, str]


async def join(
    folder: Path,
    genesis: Genesis,
    sources: Sources,
    keys: Keys = (),
    progress: Progress = silent,
    *,
    signed: bool = False,
    check_vote: Verify = verify_vote,
) -> Joined | None:
    """Make `folder`/ledger from the members' snapshot; None: there is one already, or the network has no block yet.

    `signed`: this node's guard has signed. `OperationalError` when it cannot be done (now); what was fetched is kept.
    """
    held = FolderLock(folder)
    try:
        aside = Aside(folder, "join")
        if (folder / "ledger").is_dir() and not aside.ready:
            if aside.exists:
                raise OperationalError(
                    f"{folder} has a ledger, and a join that was begun without one: remove {folder / 'join'}"
                )
            return None
        if signed:
            raise OperationalError(
                "this node's guard has signed before and its ledger is gone: it has forgotten its votes, and a snapshot does"
                " not hold them. Bring the bank back under its spare id (`tallystick node prepare-spare`)"
            )
        if aside.ready:
            aside.exchange()
            return None
        return await _made(aside, genesis, sources, keys, progress, check_vote)
    finally:
        held.release()


async def _made(
    aside: Aside,
    genesis: Genesis,
    sources: Sources,
    keys: Keys,
    progress: Progress,
    check_vote: Verify,
) -> Joined | None:
    target = aside.open(keys)
    try:
        joining = Joining(genesis, target, sources, progress, check_vote)
        height = await _filled(joining, aside)
        report = _looked(target, genesis, progress, check_vote) if height else None
    finally:
        target.close()
    if report is None:
        aside.drop()
        return None
    if report.findings:
        aside.drop()
        raise OperationalError(
            f"what was joined does not hold on this disk: {report.findings[0].sentence()}. It was verified before it was"
            f" written, so the disk or the memory cannot be trusted; nothing was put in place"
        )
    aside.set_ready()
    aside.exchange()
    return Joined(report.height, report.state_root, joining.dropped)


async def _filled(joining: Joining, aside: Aside) -> int:
    """`joining.run`; what an earlier call left and nobody can read any more is thrown away."""
    try:
        return await joining.run()
    except (Refused, Damaged) as fault:
        aside.drop()
        raise OperationalError(
            f"what was fetched before is damaged ({fault}) and was thrown away: run it again"
        ) from None


def _looked(
    target: WritableStore, genesis: Genesis, progress: Progress, check_vote: Verify
) -> Report:
    return verify(target, genesis, Level.MERKLE, progress, check_vote=check_vote)
