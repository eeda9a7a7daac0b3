"""Watches what leaves each honest node's network card: no two statements of one key conflict, ever, and none leaves before
its record is durable beside the key (invariants I1, I5; "persist before send").

Every kind of statement is held to it, repeats too: whatever was said once may be said again, and nothing else.
"""

from dataclasses import dataclass, field

from tallystick.consensus.accountability.guard import (
    COMMIT,
    GUARD_RECORD,
    NEW_VIEW,
    PREPARE,
    PROPOSE,
    VIEW_CHANGE,
    GuardRecord,
)
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    NewView,
    Proposal,
    ViewChange,
    Vote,
    certificate_digest,
    changes_digest,
    epoch_of,
)
from tallystick.network.proofs.certificates import faults_of
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.signing import Phase
from tallystick.node.core.block_data import describe
from tests.sim.checkers import Violation, hold
from tests.spec.pbft_witness import NotAllowed, Witness

NAMES = {
    PROPOSE: "PROPOSE",
    PREPARE: "PREPARE",
    COMMIT: "COMMIT",
    VIEW_CHANGE: "VIEW-CHANGE",
    NEW_VIEW: "NEW-VIEW",
}


@dataclass(frozen=True, slots=True)
class Statement:
    kind: int
    view: int
    height: int
    link: bytes
    parent: bytes = b""


@dataclass(slots=True)
class Votes:
    """All statements that honest keys have made so far."""

    members: int
    ids: tuple[int, ...] = ()
    """Ascending; none named: 0 to members - 1."""
    epoch: int = 0
    """Whose statements these are. A guard that has gone on to a later epoch says nothing of this one any more."""
    said: dict[tuple[int, int, int, int], bytes] = field(default_factory=dict)
    """(signer, kind, view, height) → link."""
    left: dict[int, int] = field(default_factory=dict)
    """Signer → the highest view that a VIEW-CHANGE of it named."""
    chain: dict[tuple[int, int], tuple[int, bytes]] = field(default_factory=dict)
    """(signer, view) → height and link of the last PREPARE."""
    view_changes: int = 0
    witness: Witness = field(init=False)
    """Holds the statements of the first epoch to the specification."""

    def __post_init__(self) -> None:
        self.ids = self.ids or tuple(range(self.members))
        self.witness = Witness(self.members, None, describe, unseen=faults_of(self.members))

    def leaves(
        self,
        signer: int,
        _to: int | None,
        frame: bytes,
        durable: bytes | None,
        final_links: dict[int, bytes],
    ) -> None:
        """A frame of an honest node is put on the wire. `durable`: the record beside its key at this moment."""
        if frame[0] != Channel.CONSENSUS:
            return
        statement = self._statement(signer, frame[1:])
        if statement is None:
            return
        self._never_conflicts(signer, statement)
        self._is_durable(signer, statement, durable)
        if statement.kind == PREPARE:
            self._stands_on_the_last(signer, statement, final_links)
        if self.epoch == 0 and epoch_of(MESSAGE.decode(frame[1:])) == 0:
            try:
                self.witness.said(signer, frame[1:])
            except NotAllowed as error:
                raise Violation("spec", str(error)) from error

    def written(self, signer: int, record: bytes) -> None:
        """A guard record has become durable: `leaves` is told of it when something rests on it."""

    def restarted(self, signer: int, durable: bytes | None) -> None:
        """A PREPARE whose record was durable counts, though the crash kept it from leaving."""
        record = None if durable is None else GUARD_RECORD.decode(durable)
        last = None if record is None else record.prepared
        if record is not None and last is not None:
            known = self.chain.get((signer, last.view), (-1, b""))
            self.chain[signer, last.view] = max(known, (last.height, last.link))
            if record.epoch == 0:
                self.witness.prepared_before(signer, last.view, last.height, last.link)

    def _statement(self, signer: int, payload: bytes) -> Statement | None:
        return statement_of(signer, payload, self.ids)

    def _never_conflicts(self, signer: int, said: Statement) -> None:
        place = (signer, said.kind, said.view, said.height)
        known = self.said.setdefault(place, said.link)
        name = f"{NAMES[said.kind]} of member {signer} in view {said.view} at height {said.height}"
        hold(known == said.link, "I5", f"two different statements: {name}")
        left = self.left.get(signer, 0)
        if said.kind == VIEW_CHANGE:
            if said.view > left:
                self.left[signer] = said.view
                self.view_changes += 1
        elif said.kind != NEW_VIEW:
            hold(said.view >= left, "I5", f"{name} after it had left for view {left}")

    def _is_durable(self, signer: int, said: Statement, durable: bytes | None) -> None:
        name = f"{NAMES[said.kind]} of member {signer} in view {said.view} at height {said.height}"
        if durable is None:
            raise Violation("I5", f"{name} left before any guard record was durable")
        record: GuardRecord = GUARD_RECORD.decode(durable)
        if record.epoch > self.epoch or 0 < said.height < record.low:
            return None
        for slot in record.slots:
            if slot.kind == said.kind and slot.height == said.height:
                newer = slot.view > said.view
                same = slot.view == said.view and slot.link == said.link
                return hold(newer or same, "I5", f"{name} is not what the guard remembers")
        raise Violation("I5", f"{name} left before its guard record was durable")

    def _stands_on_the_last(self, signer: int, said: Statement, final: dict[int, bytes]) -> None:
        last = self.chain.get((signer, said.view))
        if last is not None and last[0] >= said.height:
            return  # said before, or the tip that is final already
        if last is not None:
            on_final = final.get(said.height - 1) == said.parent
            hold(
                said.parent == last[1] or on_final,
                "I1",
                f"member {signer} PREPAREd a child of another parent in view {said.view}",
            )
        self.chain[signer, said.view] = (said.height, said.link)


def statement_of(signer: int, payload: bytes, ids: tuple[int, ...]) -> Statement | None:
    """What a message signs in its sender's name, if anything. `ids`: the epoch's members, ascending."""
    message = MESSAGE.decode(payload)
    if isinstance(message, Vote):
        kind = PREPARE if message.phase == Phase.PREPARE else COMMIT
        return Statement(kind, message.view, message.height, message.link, message.parent_link)
    if isinstance(message, Proposal):
        block = describe(message.block)
        if block is None:
            raise Violation("I1", f"member {signer} proposed what is no block")
        return Statement(PROPOSE, message.view, block.height, block.link)
    if isinstance(message, ViewChange) and message.signer == signer:
        return Statement(VIEW_CHANGE, message.view, 0, certificate_digest(message.certificate))
    if isinstance(message, NewView) and ids[message.view % len(ids)] == signer:
        return Statement(NEW_VIEW, message.view, 0, changes_digest(message.changes))
    return None
