"""Arbitrary members: correct code behind a network card that lies. Up to f of them, and nothing may break.

Each takes the frames that its honest core wants to send and sends others. It has its own vote key, so what it signs is
genuine; it has nobody else's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from msgspec.structs import replace

from tallystick.consensus.pbft.messages import (
    MESSAGE,
    Decided,
    GiveBlock,
    Message,
    NewView,
    Proposal,
    Standing,
    ViewChange,
    Vote,
    epoch_of,
)
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.frames import Channel, pack, unpack
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import (
    Phase,
    new_view_message,
    proposal_message,
    view_change_message,
    vote_message,
)
from tallystick.node.core.block_data import BLOCK_DATA
from tallystick.node.core.messages import (
    BODY_MESSAGE,
    CATCH_UP_MESSAGE,
    Blocks,
    CatchUpMessage,
    Forward,
    GiveBodies,
    Held,
)
from tests.sim.crypto import VoteKeys

FIRST = Epoch(0)

Make = Callable[[], bytes]
"""Gives a well-formed transaction of this network."""


@dataclass(slots=True)
class Hostile:
    """One arbitrary member. `outgoing` says what really leaves for one peer."""

    node: int
    nature: str
    draw: Random
    keys: VoteKeys
    genesis: Genesis
    far_future: Make
    """A signed transaction whose deadline lies further ahead than the network allows."""
    epoch: Epoch = FIRST
    """Of what it said last."""

    @property
    def chain(self) -> int:
        return chain_of(genesis_hash(self.genesis))

    def outgoing(self, to: int, frame: bytes) -> list[bytes]:
        if frame[:1] == bytes([Channel.CONSENSUS]):
            self.epoch = epoch_of(MESSAGE.decode(frame[1:])) or self.epoch
        match self.nature:
            case "wrong-link":
                return self._consensus(frame, self._wrong_link)
            case "amnesia":
                return self._consensus(frame, self._forget)
            case "liar-in-catch-up":
                return self._lie(frame)
            case "garbage":
                return self._noise(frame)
            case "stuffer":
                return [frame, *self._stuffing(to)]
            case "withholder":
                return self._withhold(frame)
            case "selective":
                return [frame] if self.draw.random() < 0.5 else []
            case "silent":
                return []
            case _:
                return [frame]

    # -- consensus -----------------------------------------------------------------------------------------------------

    def _consensus(self, frame: bytes, change: Callable[[Message], Message]) -> list[bytes]:
        channel, payload = unpack(frame)
        if channel is not Channel.CONSENSUS:
            return [frame]
        return [pack(channel, MESSAGE.encode(change(MESSAGE.decode(payload))))]

    def _wrong_link(self, message: Message) -> Message:
        """Half of its proposals claim another result, or another history, for the same transactions."""
        if not isinstance(message, Proposal) or self.draw.random() < 0.5:
            return message
        data = BLOCK_DATA.decode(message.block)
        if self.draw.random() < 0.5:
            data = replace(data, result=replace(data.result, state_root=b"\x66" * 32))
        else:
            data = replace(data, header=replace(data.header, history_root=b"\x66" * 32))
        return self._proposal(message.view, BLOCK_DATA.encode(data))

    def _proposal(self, view: View, encoded: bytes) -> Proposal:
        data = BLOCK_DATA.decode(encoded)
        signed = proposal_message(
            self.chain, 0, self.epoch, view, Height(data.header.height), link_of(data.header, data.result), Link(data.header.parent_link)
        )  # fmt: skip
        return Proposal(self.epoch, view, encoded, self.keys.sign(self.node, signed))

    def _forget(self, message: Message) -> Message:
        """Its view changes show no certificate, and half of its votes are for a block that nobody knows."""
        if isinstance(message, ViewChange) and message.signer == self.node:
            signed = view_change_message(
                self.chain, 0, self.epoch, message.view, 0, View(0), Height(0), Link(bytes(32))
            )
            signature = self.keys.sign(self.node, signed)
            return ViewChange(self.epoch, message.view, NodeId(self.node), None, signature)
        if isinstance(message, Vote) and self.draw.random() < 0.5:
            link = Link(self.draw.choice((b"\x01", b"\x02")) * 32)
            signed = vote_message(
                self.chain, 0, self.epoch, message.view, message.height, Phase(message.phase), link, message.parent_link
            )  # fmt: skip
            return replace(message, link=link, signature=self.keys.sign(self.node, signed))
        return message

    # -- catching up ---------------------------------------------------------------------------------------------------

    def _lie(self, frame: bytes) -> list[bytes]:
        channel, payload = unpack(frame)
        if channel is not Channel.CATCH_UP:
            return [frame]
        message = CATCH_UP_MESSAGE.decode(payload)
        if not isinstance(message, Blocks) or not message.blocks:
            return [frame]
        return [pack(channel, CATCH_UP_MESSAGE.encode(self._false_run(message)))]

    def _false_run(self, run: Blocks) -> CatchUpMessage:
        first = run.blocks[0]
        match self.draw.randrange(6):
            case 0:
                return replace(run, blocks=run.blocks[:-1])
            case 1:
                return replace(run, certificate=None, final_height=2**40)
            case 2:
                junk = replace(first, bodies=(*first.bodies, b"\x90"))
                return replace(run, blocks=(junk, *run.blocks[1:]))
            case 3:
                thin = replace(first, bodies=first.bodies[:-1])
                return replace(run, blocks=(thin, *run.blocks[1:]))
            case 4:
                other = replace(first, bodies=(self.far_future(),))
                return replace(run, blocks=(other, *run.blocks[1:]))
            case _:
                moved = replace(first, header=replace(first.header, time_ms=first.header.time_ms + 1))  # fmt: skip
                return replace(run, blocks=(moved, *run.blocks[1:]))

    # -- noise ---------------------------------------------------------------------------------------------------------

    def _noise(self, frame: bytes) -> list[bytes]:
        """A third of its frames arrive damaged, cut or doubled; some are nothing at all."""
        draw = self.draw
        match draw.randrange(9):
            case 0:
                at = draw.randrange(len(frame))
                return [frame[:at] + bytes([frame[at] ^ (1 << draw.randrange(8))]) + frame[at + 1 :]]  # fmt: skip
            case 1:
                return [frame[: draw.randrange(len(frame))]]
            case 2:
                return [frame, draw.randbytes(draw.randrange(200)), frame]
            case _:
                return [frame]

    def _withhold(self, frame: bytes) -> list[bytes]:
        """Its clients' transactions reach half of the members, and it answers no question about them."""
        channel, payload = unpack(frame)
        if channel is Channel.BODIES:
            message = BODY_MESSAGE.decode(payload)
            if isinstance(message, GiveBodies | Held) or self.draw.random() < 0.5:
                return []
        return [frame]

    def _stuffing(self, to: int) -> list[bytes]:
        """Now and then something that nobody asked for, meant to fill a queue or a memory."""
        draw = self.draw
        if draw.random() < 0.9:
            return []
        far = View(draw.randrange(2**40))
        soon = View(draw.randrange(4))
        votes = tuple([CertVote(NodeId(node), bytes(64)) for node in range(len(self.genesis.members))])  # fmt: skip
        false = Certificate(2, self.epoch, soon, Height(10**6), Link(b"\x05" * 32), Link(bytes(32)), votes)  # fmt: skip
        change = ViewChange(self.epoch, far, NodeId(self.node), false, bytes(64))
        nothing = new_view_message(self.chain, 0, self.epoch, far, bytes(32))
        messages: tuple[Message, ...] = (
            Proposal(self.epoch, far, draw.randbytes(40), bytes(64)),
            Proposal(self.epoch, soon, draw.randbytes(40), bytes(64)),
            Vote(1, self.epoch, far, Height(draw.randrange(2**40)), Link(bytes(32)), Link(bytes(32)), bytes(64)),
            Decided(false),
            change,
            NewView(self.epoch, far, (change,), self.keys.sign(self.node, nothing)),
            Standing(self.epoch, View(0), False, Height(0)),
            GiveBlock(draw.randbytes(100)),
        )  # fmt: skip
        extra = [pack(Channel.CONSENSUS, MESSAGE.encode(draw.choice(messages)))]
        body = self.far_future()
        extra.append(pack(Channel.BODIES, BODY_MESSAGE.encode(GiveBodies((body, body)))))
        extra.append(pack(Channel.BODIES, BODY_MESSAGE.encode(Forward((body, body)))))
        return extra


def readable(frame: bytes) -> bool:
    """Whether the frame is a frame at all."""
    try:
        unpack(frame)
    except Refused:
        return False
    return True
