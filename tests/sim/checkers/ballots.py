"""Watches what leaves each Raft member's network card (I1, I3, I4, I5): one vote per member and term, across restarts; one
leader per term, with a majority behind it; nothing leaves before its record is durable beside the key; what is called
committed, or countersigned, lies on the disks of a majority in that term, and is never another block afterwards.

Sources: the thesis, figure 3.2 (election safety, leader completeness); `consensus/raft/DESIGN.md` for the guard's slots.
"""

from dataclasses import dataclass, field

from tallystick.consensus.accountability.guard import (
    COMMIT,
    GUARD_RECORD,
    PREPARE,
    VIEW_CHANGE,
    GuardRecord,
    Slot,
)
from tallystick.consensus.raft.elections import vote_statement
from tallystick.consensus.raft.messages import (
    MESSAGE,
    Acked,
    Append,
    AskVote,
    Countersignature,
    GiveVote,
)
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import NodeId
from tests.sim.checkers import Violation, hold

Entry = tuple[int, int, bytes]
"""Term of its first proposal, height, link."""


@dataclass(slots=True)
class Ballots:
    """All that members have promised so far."""

    members: int
    majority: int
    voted: dict[tuple[int, int], int] = field(default_factory=dict)
    """(term, voter) → candidate."""
    leaders: dict[int, int] = field(default_factory=dict)
    """Term → who led it."""
    announced: dict[int, int] = field(default_factory=dict)
    """Term → the highest height that its leader called committed."""
    promised: dict[int, int] = field(default_factory=dict)
    """Member → the highest term of its votes and acknowledgements."""
    holders: dict[Entry, set[int]] = field(default_factory=dict)
    """On whose disks an entry once was, put there in its own term. Counted, never iterated."""
    countersigned: dict[int, bytes] = field(default_factory=dict)
    """Height → the link that somebody countersigned."""
    _kept: dict[int, dict[int, Slot]] = field(default_factory=dict)
    """Member → height → the entry that its last durable record names."""
    view_changes: int = 0
    """Terms in which somebody stood."""
    epoch: int = 0
    """Whose terms these are. A guard that has gone on to a later epoch says nothing of this one any more."""

    # -- disks ---------------------------------------------------------------------------------------------------------

    def written(self, signer: int, record: bytes) -> None:
        """A guard record has become durable."""
        kept = self._kept.setdefault(signer, {})
        for slot in GUARD_RECORD.decode(record).slots:
            if slot.kind == PREPARE and kept.get(slot.height) != slot:
                kept[slot.height] = slot
                entry = (slot.view, slot.height, slot.link)
                self.holders.setdefault(entry, set()).add(signer)

    def restarted(self, signer: int, durable: bytes | None) -> None:
        """An entry whose record was durable counts, though the crash came before anybody heard of it."""
        if durable is not None:
            self.written(signer, durable)

    # -- what leaves ---------------------------------------------------------------------------------------------------

    def leaves(
        self,
        signer: int,
        to: int | None,
        frame: bytes,
        durable: bytes | None,
        final_links: dict[int, bytes],
    ) -> None:
        """A frame of a member is put on the wire. `durable`: the record beside its key at this moment."""
        if frame[0] != Channel.CONSENSUS:
            return
        message = MESSAGE.decode(frame[1:])
        match message:
            case AskVote(trial=False):
                self._votes(signer, message.term, signer, durable)
            case GiveVote(trial=False, granted=True):
                if to is None:
                    raise Violation("I1", f"member {signer} gives its vote to everybody")
                self._votes(signer, message.term, to, durable)
            case Acked():
                self._is_no_older(signer, message.term, "acknowledges")
            case Append():
                self._leads(signer, message, final_links)
            case Countersignature():
                self._countersigns(signer, message, durable, final_links)
            case _:
                pass

    def _votes(self, voter: int, term: int, candidate: int, durable: bytes | None) -> None:
        name = f"vote of member {voter} for {candidate} in term {term}"
        known = self.voted.setdefault((term, voter), candidate)
        hold(known == candidate, "I5", f"second {name}, after one for {known}")
        self._is_no_older(voter, term, "votes")
        if voter == candidate:
            self.view_changes = max(self.view_changes, term)
        record = _record(name, durable)
        if record.epoch > self.epoch:
            return None
        for slot in record.slots:
            if slot.kind == VIEW_CHANGE:
                same = slot.view == term and slot.link == vote_statement(NodeId(candidate))
                return hold(slot.view > term or same, "I5", f"{name} is not what the guard says")
        raise Violation("I5", f"{name} left before its guard record was durable")

    def _is_no_older(self, member: int, term: int, what: str) -> None:
        known = self.promised.get(member, 0)
        hold(term >= known, "I5", f"member {member} {what} in term {term}, after term {known}")
        self.promised[member] = term

    def _leads(self, leader: int, append: Append, final: dict[int, bytes]) -> None:
        term = append.term
        known = self.leaders.setdefault(term, leader)
        hold(known == leader, "I1", f"members {known} and {leader} both lead term {term}")
        voters = [v for v in range(self.members) if self.voted.get((term, v)) == leader]
        hold(
            len(voters) >= self.majority, "I1", f"member {leader} leads {term} by votes of {voters}"
        )
        before = self.announced.get(term, 0)
        hold(
            append.commit >= before,
            "I4",
            f"term {term}: commit went from {before} to {append.commit}",
        )
        if append.commit > before:
            self.announced[term] = append.commit
            held = append.commit in final or self._is_held(append.commit, term)
            hold(
                held, "I4", f"{append.commit} is called committed in term {term}, on too few disks"
            )

    def _is_held(self, height: int, term: int) -> bool:
        """Whether a majority has put an entry at this height in its own term, this one or an earlier one."""
        return any(
            len(signers) >= self.majority
            for (entry_term, entry_height, _), signers in self.holders.items()
            if entry_height == height and entry_term <= term
        )

    def _countersigns(
        self,
        signer: int,
        said: Countersignature,
        durable: bytes | None,
        final: dict[int, bytes],
    ) -> None:
        name = f"countersignature of member {signer} in term {said.term} at height {said.height}"
        holders = self.holders.get((said.term, said.height, said.link), set())
        committed = len(holders) >= self.majority or self._taken_again(said)
        hold(committed, "I4", f"{name}: only {sorted(holders)} have the entry")
        known = self.countersigned.setdefault(said.height, said.link)
        hold(known == said.link, "I2", f"{name} is for another block than one before")
        ordered = final.get(said.height, said.link)
        hold(ordered == said.link, "I2", f"{name} is for another block than the final one")
        record = _record(name, durable)
        if said.height < record.low or record.epoch > self.epoch:
            return None
        for slot in record.slots:
            if (slot.kind, slot.height) == (COMMIT, said.height):
                same = slot.view == said.term and slot.link == said.link
                return hold(
                    slot.view > said.term or same, "I5", f"{name} is not what the guard says"
                )
        raise Violation("I5", f"{name} left before its guard record was durable")

    def _taken_again(self, said: Countersignature) -> bool:
        """A closing block may be committed in one term and countersigned in a later one, whose leader took it again."""
        return any(
            len(signers) >= self.majority
            for (term, height, link), signers in self.holders.items()
            if term < said.term and (height, link) == (said.height, said.link)
        )

    # -- at the end ----------------------------------------------------------------------------------------------------

    def nothing_lost(self, final: dict[int, bytes]) -> None:
        """What was countersigned is final, as it was."""
        for height, link in self.countersigned.items():
            hold(final.get(height, link) == link, "I3", f"a committed block at {height} was lost")


def _record(name: str, durable: bytes | None) -> GuardRecord:
    if durable is None:
        raise Violation("I5", f"{name} left before any guard record was durable")
    return GUARD_RECORD.decode(durable)
