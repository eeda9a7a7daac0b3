"""What must hold of a Raft cluster at every step: agreement, election safety, one vote per term, log matching, honest
matches, countersignatures after commit, and reads that miss nothing. What has been true so far is kept here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from tallystick.consensus.api import Note
from tallystick.consensus.raft.messages import MESSAGE, Countersignature, GiveVote
from tallystick.network.wire.ids import Link, NodeId
from tests.unit.raft.owner import Member, Wire, hold


@dataclass(slots=True)
class Checks:
    """`Broken` when something does not hold."""

    members: Mapping[NodeId, Member]
    leaders: dict[tuple[int, int], NodeId] = field(default_factory=dict)
    placed: dict[tuple[int, int], Link] = field(default_factory=dict)
    committed: dict[int, Link] = field(default_factory=dict)
    votes: dict[tuple[NodeId, int, int], NodeId] = field(default_factory=dict)
    matches: dict[tuple[NodeId, int, int, NodeId], int] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)
    """By round of a read: the highest block that was final anywhere when it was asked for."""
    answered: int = 0

    def settled(self, height: int, link: Link) -> None:
        known = self.committed.setdefault(height, link)
        hold(known == link, f"two blocks are committed at height {height}")

    def noted(self, member: Member, note: Note) -> None:
        if note.name == "leader":
            term = member.state.term
            earlier = self.leaders.setdefault((member.epoch, term), member.node)
            hold(earlier == member.node, f"two leaders of term {term}")
            log, final = member.state.log, member.state.final_height
            for height, link in self.committed.items():
                if height > final:
                    hold(log.link_at(height) == link, f"leader of {term} lacks committed {height}")

    def carried(self, wire: Wire) -> None:
        vote = wire.message
        if isinstance(vote, GiveVote) and vote.granted and not vote.trial:
            earlier = self.votes.setdefault((wire.sender, vote.epoch, vote.term), wire.to)
            hold(earlier == wire.to, f"{wire.sender} voted twice in term {vote.term}")

    def promised(self, member: Member, data: bytes) -> None:
        match MESSAGE.decode(data):
            case Countersignature(_, _, height, link):
                entry = next((b for b in member.disk.kept.values() if b.link == link), None)
                durable = entry is not None or any(b.link == link for b in member.disk.final)
                hold(durable, f"{member.node} countersigned what is not on its disk")
                hold(self.committed.get(height) == link, f"{height} was signed, not committed")

    def read_asked(self) -> int:
        """A new round; what it must not miss is remembered."""
        round_ = len(self.asked) + 1
        self.asked[round_] = max(member.height for member in self.members.values())
        return round_

    def read_answered(self, round_: int, index: int) -> None:
        hold(index >= self.asked[round_], f"read {round_} misses height {self.asked[round_]}")
        self.answered += 1

    def step(self, member: Member) -> None:
        """After each step of a member."""
        state = member.state
        log = state.log
        for below, above in pairwise(log.entries):
            hold(not below.block.closes, "an entry above the end of its epoch")
            hold(above.term >= below.term, "terms go back")
        for entry in log.entries:
            place = (entry.block.height, entry.term)
            hold(
                self.placed.setdefault(place, entry.block.link) == entry.block.link, "log matching"
            )
        for height in range(state.final_height + 1, state.commit + 1):
            link = log.link_at(height)
            if link is not None:
                self.settled(height, link)
        hold(state.final_height == member.height, "engine and ledger stand apart")
        hold(log.last_height >= state.final_height, "the log ends below the ledger")
        if state.leads:
            self._matches(member)

    def _matches(self, member: Member) -> None:
        state = member.state
        for peer, progress in state.progress.items():
            key = (member.node, member.epoch, state.term, peer)
            hold(progress.match >= self.matches.get(key, 0), "match went back")
            self.matches[key] = progress.match
            other = self.members[peer]
            same = (other.epoch, other.state.term) == (member.epoch, state.term)
            if other.up and same and progress.match > other.height:
                link = state.log.link_at(progress.match)
                hold(other.state.log.link_at(progress.match) == link, "match is not true")
