"""The exact bytes that a node signs with its vote key: tag, chain, lane, epoch, then the position and what stands there.

Nothing signs a raw hash, and no message for one purpose, chain, lane, epoch, view, height or phase is valid for another.
All integers are big-endian; every message has a fixed length. `held_message` alone names no epoch: to hold a transaction is
a promise about a disk, made by whoever has the key, in whatever epoch it is asked for.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct

from tallystick.network.wire.digest import Tag
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.ids import BodyId, Epoch, Height, Link, View


class Phase(IntEnum):
    """The two votes of PBFT over one link. Raft's countersignature is a COMMIT."""

    PREPARE = 1
    COMMIT = 2


_BATCH = Tag(b"tallystick/batch")
_VOTE = Struct(">16sQHQQQB32s32s")
_PROPOSAL = Struct(">20sQHQQQ32s32s")
_VIEW_CHANGE = Struct(">23sQHQQBQQ32s")
_NEW_VIEW = Struct(">20sQHQQ32s")
_HELD = Struct(">16sQH32s")
_DISAGREE = Struct(">20sQHQQQ32s32s")
_CHECKPOINT = Struct(">22sQHQQ32s32s")


def _whole(*hashes: bytes) -> None:
    """`struct` would pad a short hash and cut a long one without a word."""
    for hash_ in hashes:
        invariant(len(hash_) == 32, "what is signed is not a 32-byte hash", bytes=len(hash_))


def vote_message(
    chain: int,
    lane: int,
    epoch: Epoch,
    view: View,
    height: Height,
    phase: Phase,
    link: Link,
    parent_link: Link,
) -> bytes:
    """A PREPARE or COMMIT vote for `link` at `height` in `view`."""
    _whole(link, parent_link)
    return _VOTE.pack(
        b"tallystick/vote\0", chain, lane, epoch, view, height, phase, link, parent_link
    )


def proposal_message(
    chain: int, lane: int, epoch: Epoch, view: View, height: Height, link: Link, parent_link: Link
) -> bytes:
    """The leader of `view` proposes `link`."""
    _whole(link, parent_link)
    return _PROPOSAL.pack(
        b"tallystick/proposal\0", chain, lane, epoch, view, height, link, parent_link
    )


def view_change_message(
    chain: int,
    lane: int,
    epoch: Epoch,
    view: View,
    kind: int,
    cert_view: View,
    cert_height: Height,
    link: Link,
) -> bytes:
    """The sender left every view below `view`; its largest certificate is (kind, view, height, link), kind 0 for none."""
    _whole(link)
    return _VIEW_CHANGE.pack(
        b"tallystick/view-change\0", chain, lane, epoch, view, kind, cert_view, cert_height, link
    )


def new_view_message(
    chain: int, lane: int, epoch: Epoch, view: View, changes_digest: bytes
) -> bytes:
    """The leader of `view` opens it on the view-change messages whose digest is given."""
    _whole(changes_digest)
    return _NEW_VIEW.pack(b"tallystick/new-view\0", chain, lane, epoch, view, changes_digest)


def batch_digest(body_ids: Iterable[BodyId]) -> bytes:
    """32 bytes that name a forwarded batch of transactions; what its holders sign with `held_message`."""
    return _BATCH.hash(b"".join(body_ids))


def held_message(chain: int, lane: int, batch_digest: bytes) -> bytes:
    """The sender holds a durable copy of every transaction of a forwarded batch."""
    _whole(batch_digest)
    return _HELD.pack(b"tallystick/held\0", chain, lane, batch_digest)


def disagree_message(
    chain: int, lane: int, epoch: Epoch, view: View, height: Height, proposed: Link, own: Link
) -> bytes:
    """The sender executed the proposed block and got another link (zeros: it could not be executed)."""
    _whole(proposed, own)
    return _DISAGREE.pack(b"tallystick/disagree\0", chain, lane, epoch, view, height, proposed, own)


def checkpoint_message(
    chain: int, lane: int, epoch: Epoch, height: Height, link: Link, history_root: bytes
) -> bytes:
    """What stands at `height` is final, and `history_root` is over the links 0 … height (a tree of height + 1 leaves).

    Signed with the checkpoint key, BLS12-381. It names no view: whatever view made the block final, the statement is one.
    """
    _whole(link, history_root)
    return _CHECKPOINT.pack(
        b"tallystick/checkpoint\0", chain, lane, epoch, height, link, history_root
    )
