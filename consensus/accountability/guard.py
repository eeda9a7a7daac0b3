"""The double-sign guard: may this key sign this statement? (EIP-3076 in spirit; CometBFT ADR-056 for what it prevents)

Decided here, from what this key signed before and from nothing else: one slot per (height, kind) whose view only grows and
which keeps its link within a view; nothing in a view below the highest view change signed; within a view each PREPARE is
for a child of the block last PREPAREd there, or of a block that is known to be committed.
Not here: when it is wise to sign (the engine), where the record lives (beside the key, `node.storage.guard_file`).
"""

from typing import Annotated

from msgspec import Meta, Struct

from tallystick.network.wire.blocks import U64
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.ids import Height, Link, View

PROPOSE, PREPARE, COMMIT, VIEW_CHANGE, NEW_VIEW = range(5)

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Slot(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    kind: Annotated[int, Meta(ge=0, le=4)]
    height: U64
    """0 for view changes and new views, which have one slot each."""
    view: U64
    link: Digest


class GuardRecord(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    sequence: U64
    """Grows with every record; a record ahead of the database's copy means that the database was rolled back."""
    epoch: U64
    floor: U64
    """Nothing is signed in a view below this."""
    low: U64
    """Slots below this height are gone: nothing is signed there any more."""
    slots: tuple[Slot, ...]
    prepared: Slot | None
    """The last PREPARE signed."""


GUARD_RECORD = Codec(GuardRecord, bytes_max=64 * 1024)


class Guard:
    """Ask before every signature; a refusal changes nothing, a permission is remembered at once."""

    __slots__ = ("_epoch", "_floor", "_low", "_prepared", "_sequence", "_slots")

    def __init__(self, epoch: int, record: bytes | None) -> None:
        self._epoch = epoch
        self._sequence = self._floor = self._low = 0
        self._slots: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._prepared: Slot | None = None
        if record is None:
            return
        kept = GUARD_RECORD.decode(record)
        invariant(
            kept.epoch <= epoch, "the guard has signed in a later epoch", kept=kept.epoch, now=epoch
        )
        self._sequence = kept.sequence
        if kept.epoch == epoch:
            self._floor, self._low, self._prepared = kept.floor, kept.low, kept.prepared
            self._slots = {(slot.kind, slot.height): (slot.view, slot.link) for slot in kept.slots}

    @property
    def floor(self) -> View:
        return View(self._floor)

    @property
    def unused(self) -> bool:
        """Nothing was signed in this epoch yet."""
        return not (self._slots or self._floor or self._low or self._prepared)

    @property
    def sequence(self) -> int:
        return self._sequence

    def last_prepared(self, view: View) -> tuple[Height, Link] | None:
        """The block last PREPAREd in `view`, if any."""
        last = self._prepared
        return (
            (Height(last.height), Link(last.link))
            if last is not None and last.view == view
            else None
        )

    def remembers(self, kind: int, view: View, height: Height, link: bytes) -> bool:
        """Was this signed, as far as the record goes? In a slot that has moved on, or that is closed, everything was."""
        if 0 < height < self._low:
            return True
        held = self._slots.get((kind, height))
        return held is not None and (view < held[0] or (view, link) == held)

    def may_propose(self, view: View, height: Height, link: Link) -> bool:
        return self._vacant(PROPOSE, view, height, link)

    def may_prepare(
        self, view: View, height: Height, link: Link, parent_link: Link, committed_link: Link
    ) -> bool:
        """`committed_link`: the last block that we hold a commit certificate for."""
        last = self._prepared
        goes_on = (
            last is not None and last.view == view and (last.height, last.link) != (height, link)
        )
        if goes_on and last is not None and not _child(last, height, parent_link, committed_link):
            return False
        if not self._vacant(PREPARE, view, height, link):
            return False
        self._prepared = Slot(PREPARE, height, view, link)
        return True

    def may_commit(self, view: View, height: Height, link: Link) -> bool:
        return self._vacant(COMMIT, view, height, link)

    def may_change_view(self, view: View, statement: bytes) -> bool:
        """`statement`: digest of the certificate carried; the same view is never left twice with different ones."""
        if not self._vacant(VIEW_CHANGE, view, Height(0), statement):
            return False
        self._floor = max(self._floor, view)
        return True

    def may_open_view(self, view: View, statement: bytes) -> bool:
        return self._vacant(NEW_VIEW, view, Height(0), statement)

    def join(self, view: View) -> None:
        """Joining a view, by whatever message, raises the floor."""
        self._floor = max(self._floor, view)

    def forget_below(self, height: Height) -> None:
        """Slots below `height` (exclusive: the last final block may be voted for again) are closed for ever."""
        if height > self._low:
            self._low = height
            self._slots = {
                key: slot for key, slot in self._slots.items() if not 0 < key[1] < height
            }

    def record(self) -> bytes:
        """The next durable record."""
        self._sequence += 1
        slots = tuple(
            Slot(kind, height, *slot) for (kind, height), slot in sorted(self._slots.items())
        )
        return GUARD_RECORD.encode(
            GuardRecord(self._sequence, self._epoch, self._floor, self._low, slots, self._prepared)
        )

    def _vacant(self, kind: int, view: View, height: Height, link: bytes) -> bool:
        if view < self._floor or (height and height < self._low):
            return False
        held = self._slots.get((kind, height))
        if held is not None and (view < held[0] or (view == held[0] and link != held[1])):
            return False
        self._slots[kind, height] = (view, link)
        return True


def _child(last: Slot, height: Height, parent_link: Link, committed_link: Link) -> bool:
    """Higher than the last PREPARE of this view, and on it or on a committed block."""
    return height > last.height and parent_link in (last.link, committed_link)
