"""The exact bytes that a node signs with its vote key: tag, chain, lane, epoch, then the position and what stands there.

Nothing signs a raw hash, and no message for one purpose, chain, lane, epoch, view, height or phase is valid for another.
All integers are big-endian; every message has a fixed length.
"""

from enum import IntEnum
from struct import Struct

from tallystick.network.wire.ids import Epoch, Height, Link, View


class Phase(IntEnum):
    """The two votes of PBFT over one link. Raft's countersignature is a COMMIT."""

    PREPARE = 1
    COMMIT = 2


_VOTE = Struct(">16sQHQQQB32s32s")
_PROPOSAL = Struct(">20sQHQQQ32s32s")
_VIEW_CHANGE = Struct(">23sQHQQBQQ32s")
_NEW_VIEW = Struct(">20sQHQQ32s")
_HELD = Struct(">16sQH32s")
_DISAGREE = Struct(">20sQHQQQ32s32s")


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
    return _VOTE.pack(
        b"tallystick/vote\0", chain, lane, epoch, view, height, phase, link, parent_link
    )


def proposal_message(
    chain: int, lane: int, epoch: Epoch, view: View, height: Height, link: Link, parent_link: Link
) -> bytes:
    """The leader of `view` proposes `link`."""
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
    return _VIEW_CHANGE.pack(
        b"tallystick/view-change\0", chain, lane, epoch, view, kind, cert_view, cert_height, link
    )


def new_view_message(
    chain: int, lane: int, epoch: Epoch, view: View, changes_digest: bytes
) -> bytes:
    """The leader of `view` opens it on the view-change messages whose digest is given."""
    return _NEW_VIEW.pack(b"tallystick/new-view\0", chain, lane, epoch, view, changes_digest)


def held_message(chain: int, lane: int, batch_digest: bytes) -> bytes:
    """The sender holds a durable copy of every transaction of a forwarded batch."""
    return _HELD.pack(b"tallystick/held\0", chain, lane, batch_digest)


def disagree_message(
    chain: int, lane: int, epoch: Epoch, view: View, height: Height, proposed: Link, own: Link
) -> bytes:
    """The sender executed the proposed block and got another link (zeros: it could not be executed)."""
    return _DISAGREE.pack(b"tallystick/disagree\0", chain, lane, epoch, view, height, proposed, own)
