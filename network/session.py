"""How two nodes begin to talk: who dials, what both say first, when each refuses, how long to wait before trying again.

TLS has already shown which key the peer holds (`network.transport.tls`); the hello shows that both mean the same network.
Decided here: rules only. Not here: sockets, time, random numbers (they come in as arguments).
"""

from enum import IntEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.frames import Channel, pack, unpack
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.transactions import Bytes32, Chain

PROTOCOL_VERSION = 2
"""Of everything that nodes say to each other. Nodes of different versions refuse each other in words."""

OBSERVER_ID_MIN = 1_000
"""Ids from here on read and never vote."""

BACK_OFF_MS_MIN = 50
BACK_OFF_MS_MAX = 1_000
"""Between two dials of one peer: short enough that a restarted leader's peers are back within a second."""

HELLO_SECONDS_MAX = 5.0
"""From the open WebSocket to the peer's hello."""

HEARTBEAT_SECONDS = 4.0
"""Between pings; a peer that answers none for half of that is gone. A killed process is noticed at once by its socket."""

REFUSAL_CHARACTERS_MAX = 512
"""The sentence that says why."""


class Role(IntEnum):
    MEMBER = 0
    OBSERVER = 1


def role_of(node: NodeId) -> Role:
    """What an id may do is in the id."""
    return Role.OBSERVER if node >= OBSERVER_ID_MIN else Role.MEMBER


class Hello(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """The first frame of both sides."""

    version: Annotated[int, Meta(ge=0, lt=2**16)]
    chain: Chain
    genesis_hash: Bytes32
    node: Annotated[NodeId, Meta(ge=0, lt=2**16)]
    role: Literal[0, 1]


class Refusal(Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """The last frame before the connection closes: why."""

    sentence: Annotated[str, Meta(max_length=REFUSAL_CHARACTERS_MAX)]


SESSION: Codec[Hello | Refusal] = Codec(Hello | Refusal, bytes_max=bounds.SESSION_MESSAGE_BYTES_MAX)


def hello_frame(hello: Hello) -> bytes:
    return pack(Channel.SESSION, SESSION.encode(hello))


def refusal_frame(sentence: str) -> bytes:
    return pack(Channel.SESSION, SESSION.encode(Refusal(sentence[:REFUSAL_CHARACTERS_MAX])))


def session_message(frame: bytes) -> Hello | Refusal | None:
    """What a frame says on the session channel, None on another channel, or `Refused`."""
    channel, payload = unpack(frame)
    return SESSION.decode(payload) if channel is Channel.SESSION else None


def dials(me: NodeId, peer: NodeId) -> bool:
    """One connection per pair: the lower member dials; observers dial members; nobody dials an observer."""
    if role_of(peer) is Role.OBSERVER:
        return False
    return role_of(me) is Role.OBSERVER or me < peer


def objection(mine: Hello, theirs: Hello, authenticated: NodeId) -> str | None:
    """Why this hello is refused, in a sentence for the peer's operator; None when the two may talk.

    `authenticated` is the node whose pinned key the TLS session showed.
    """
    if theirs.version != mine.version:
        return f"we speak protocol version {mine.version}, you speak {theirs.version}"
    if theirs.genesis_hash != mine.genesis_hash or theirs.chain != mine.chain:
        return (
            f"we are on chain {mine.chain} (genesis {mine.genesis_hash.hex()[:16]}), "
            f"you are on chain {theirs.chain} (genesis {theirs.genesis_hash.hex()[:16]})"
        )
    if theirs.node != authenticated:
        return (
            f"your TLS key is pinned for node {authenticated}, you say you are node {theirs.node}"
        )
    if theirs.role != role_of(theirs.node):
        return f"node {theirs.node} is {role_of(theirs.node).name.lower()} by its id"
    if theirs.node == mine.node:
        return f"both ends say that they are node {mine.node}"
    return None


def back_off_ms(attempt: int, draw: float) -> int:
    """Before dial number `attempt` (from 0) after a failure. `draw` in [0, 1) spreads nodes that failed together."""
    ceiling = min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN << min(attempt, 10))
    return ceiling // 2 + int((ceiling - ceiling // 2) * draw)


CHANNELS: dict[Role, frozenset[Channel]] = {
    Role.MEMBER: frozenset(
        {Channel.CONSENSUS, Channel.BODIES, Channel.CATCH_UP, Channel.CHECKPOINTS}
    ),
    Role.OBSERVER: frozenset({Channel.CATCH_UP}),
}
"""What a peer of each role may say to us and hear from us once the hello is done."""
