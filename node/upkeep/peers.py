"""Asks members over the nodes' own links: mutual TLS, pinned keys, the catch-up channel and nothing else.

What members say beside it (votes, payments) is not heard. Not here: whether an answer is believed (`rebuilding`, `joining`).
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from tallystick.network.session import Role, role_of
from tallystick.network.transport.wire_link import PeerSink
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.frames import Channel, pack, unpack
from tallystick.network.wire.ids import NodeId
from tallystick.node.core.messages import (
    CATCH_UP_MESSAGE,
    AskBlocks,
    AskOutlines,
    AskState,
    BelowSnapshot,
    Blocks,
    CatchUpMessage,
    NotNow,
    Outlines,
    StateChunk,
    StateGone,
)

PATIENCE_SECONDS = 5.0
"""For an answer, and for the first member to connect: members serve 16 MB/s, and dial each other every few seconds."""

GATHER_SECONDS = 1.0
"""After the first member has connected, for the others: who asks several wants to know several."""


class PeerLinks(Protocol):
    """`network.transport.links.Links`."""

    def attach(self, sink: PeerSink) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def send(self, to: NodeId | None, frame: bytes, *, promise: bool) -> None: ...


def answers(question: CatchUpMessage, message: CatchUpMessage) -> bool:
    """Whether this is an answer to that question, and not a late one to another."""
    match question:
        case AskBlocks(height):
            return isinstance(message, Blocks | BelowSnapshot) and message.height == height
        case AskOutlines(height, _):
            same = isinstance(message, Outlines) and message.height == height
            return same or isinstance(message, NotNow)
        case AskState(0, 0):
            return isinstance(message, NotNow) or (
                isinstance(message, StateChunk) and message.number == 0
            )
        case AskState(height, number):
            if isinstance(message, StateChunk):
                return (message.height, message.number) == (height, number)
            return isinstance(message, NotNow | StateGone)
    return False


class PeerAnswers:
    """`joining.Sources` over links, which are opened at the first question."""

    def __init__(self, open_links: Callable[[], PeerLinks]) -> None:
        self._open = open_links
        self._links: PeerLinks | None = None
        self._up: set[NodeId] = set()
        self._somebody = asyncio.Event()
        self._answer: asyncio.Future[CatchUpMessage] | None = None
        self._asked: tuple[NodeId, CatchUpMessage] | None = None

    async def members(self) -> list[NodeId]:
        """Connected members, ascending; empty when nobody came within the patience."""
        if self._links is None:
            self._links = self._open()
            self._links.attach(self)
            await self._links.start()
            await self._gather()
        try:
            await asyncio.wait_for(self._somebody.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            return []
        return sorted(self._up)

    async def _gather(self) -> None:
        try:
            await asyncio.wait_for(self._somebody.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECONDS)

    async def ask(self, peer: NodeId, question: CatchUpMessage) -> CatchUpMessage | None:
        """One answer; None when it did not come in time."""
        if self._links is None:
            return None
        self._asked = peer, question
        self._answer = asyncio.get_running_loop().create_future()
        frame = pack(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(question))
        self._links.send(peer, frame, promise=False)
        try:
            return await asyncio.wait_for(self._answer, PATIENCE_SECONDS)
        except TimeoutError:
            return None

    async def close(self) -> None:
        if self._links is not None:
            await self._links.stop()

    # What the links tell ------------------------------------------------------------------------

    def on_peer_up(self, peer: NodeId) -> None:
        if role_of(peer) is Role.MEMBER:
            self._up.add(peer)
            self._somebody.set()

    def on_peer_down(self, peer: NodeId) -> None:
        self._up.discard(peer)
        if not self._up:
            self._somebody.clear()

    def on_frame(self, peer: NodeId, frame: bytes) -> None:
        answer, asked = self._answer, self._asked
        if asked is None or peer != asked[0] or answer is None or answer.done():
            return
        try:
            channel, payload = unpack(frame)
            message = CATCH_UP_MESSAGE.decode(payload) if channel is Channel.CATCH_UP else None
        except Refused:
            return
        if message is not None and answers(asked[1], message):
            answer.set_result(message)


class PeerBlocks:
    """`rebuilding.AskPeers`: one member after the other."""

    def __init__(self, open_links: Callable[[], PeerLinks]) -> None:
        self._answers = PeerAnswers(open_links)
        self._turn = 0

    async def ask(self, height: int) -> Blocks | None:
        """Ask the next member; None when nobody is there, it stays silent, or it has no whole blocks so far down."""
        members = await self._answers.members()
        if not members:
            return None
        self._turn += 1
        answer = await self._answers.ask(members[self._turn % len(members)], AskBlocks(height))
        return answer if isinstance(answer, Blocks) else None

    async def close(self) -> None:
        await self._answers.close()
