"""Windows of deadlines: what every ordered transaction leaves behind, and how a closed window commits to all of it.

An entry is account 20 ‖ id 32 ‖ digest 32 ‖ flag 1 ‖ body id 32. While a window is open its record counts them and chains
them block by block; once no block may order into it any more, they become the leaves of one RFC 6962 tree, ascending. The
record `windows` holds the mark below which every window is closed: a window below it without a record never had an entry.
Decided here: the bytes. Not here: who closes when (`contracts.consumption`), what a proof shows (`absence`).
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from tallystick.network.wire.blocks import U64, Hash
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag

WINDOWS_KEY: Final = b"windows"
"""Key of the one record `WindowsMark`."""

ENTRY_BYTES: Final = 117
NAME_BYTES: Final = 84
"""account ‖ id ‖ digest: the beginning of an entry, and what an absence is about."""

BYTES_ONLY: Final = b"\x00"
"""The account's keys did not sign these bytes, so anybody may have sent them: they say nothing about the digest."""
TOOK_ID: Final = b"\x01"
"""Authorised, and the first under its (account, id)."""
ID_TAKEN: Final = b"\x02"
"""Authorised, but another digest had taken the (account, id): rejected, and a receipt says so."""
AUTHORISED: Final = TOOK_ID
"""The smallest flag of an entry that is the digest's own."""

_RUNNING = Tag(b"tallystick/window")


def window_key(start_ms: int) -> bytes:
    """Key of the window of deadlines that begins at `start_ms`, a multiple of the genesis `window_ms`."""
    return b"window/" + start_ms.to_bytes(8, "big")


def window_start(time_ms: int, window_ms: int) -> int:
    """Where the window begins that holds this moment: a deadline's own, or a block time's."""
    return time_ms - time_ms % window_ms


def next_running(running: bytes, entries: bytes) -> bytes:
    """The running hash of an open window after one block's entries (joined, in the block's order)."""
    return _RUNNING.hash(running + entries)


class OpenWindow(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What was consumed so far in a window that is not closed yet."""

    count: U64
    blocks: U64
    """In how many blocks: the number of its next row on a node's disk."""
    running: Hash


class ClosedWindow(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """All of a window, for ever: a field less than an open one, so that no running hash can be shown as a root.

    A window that nothing was consumed in has no record.
    """

    count: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    root: Hash


class WindowsMark(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The record `windows`: how far windows are closed, and how far the oldest of the rest is hashed. All starts in ms."""

    format: Annotated[int, Meta(ge=1, le=1)]
    oldest_ms: U64
    """Of the oldest window that is not closed yet."""
    current_ms: U64
    """Of the window that the last block's time lies in: nothing may be ordered into an older one any more."""
    newest_ms: U64
    """Of the newest window that anything was consumed in; 0: none."""
    hashed: U64
    """Leaves of the oldest window in `peaks`."""
    peaks: Annotated[bytes, Meta(max_length=63 * 32)]
    """Complete subtrees over those, largest first, 32 bytes each."""


OPEN_WINDOW = Codec(OpenWindow, bytes_max=64)
CLOSED_WINDOW = Codec(ClosedWindow, bytes_max=64)
WINDOWS_MARK = Codec(WindowsMark, bytes_max=4_096)

_TWO_FIELDS: Final = b"\x92"


def window_record(value: bytes) -> OpenWindow | ClosedWindow:
    """A window's record, open or closed, or `Refused`."""
    return (CLOSED_WINDOW if value.startswith(_TWO_FIELDS) else OPEN_WINDOW).decode(value)
