"""Holds Raft engines to the specification: votes, appends, acknowledgements and countersignatures that its rules allow.

Raft's members only crash, so all are held to it. An acknowledgement or vote counts from the moment at which it is durable, whether
it left or not. Engines compact their logs, so below what is final only the certificate speaks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.consensus.api import Block
from tallystick.consensus.raft.messages import (
    MESSAGE,
    Acked,
    Append,
    AskVote,
    Countersignature,
    Decided,
    GiveVote,
)
from tests.spec.pbft_witness import NotAllowed
from tests.spec.raft_spec import Rules


@dataclass(slots=True)
class Witness:
    members: int
    describe: Callable[[bytes], Block | None]
    rules: Rules = field(default_factory=Rules)
    statements: int = 0
    _votes: dict[tuple[int, int], int] = field(default_factory=dict)
    """(term, voter) → candidate."""
    _asks: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """(term, candidate) → last entry of its log."""
    _leaders: dict[int, int] = field(default_factory=dict)
    _entries: dict[int, dict[int, tuple[int, bytes]]] = field(default_factory=dict)
    """Term → what its leader's log has: height → (term of the entry, link)."""
    _placed: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """(height, term of the entry) → link: log matching."""
    _acked: dict[tuple[int, int], int] = field(default_factory=dict)
    """(term, member) → highest match."""
    _last: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Member → (term, entry's term, height) of its last acknowledgement: its log is at least that complete."""
    _committed: dict[int, bytes] = field(default_factory=dict)
    _committed_in: dict[int, int] = field(default_factory=dict)
    """Height → the term in which a majority had it: leaders of earlier terms may not know."""
    _signed: dict[tuple[int, int, bytes], set[int]] = field(default_factory=dict)

    @property
    def majority(self) -> int:
        return self.members // 2 + 1

    def said(self, sender: int, data: bytes, to: int | None = None) -> None:
        """A message, durable if it must be. `to`: for votes. Raises `NotAllowed`."""
        message = MESSAGE.decode(data)
        self.statements += 1
        match message:
            case AskVote() if not message.trial:
                self._asks[message.term, sender] = (message.last_term, message.last_height)
                self._vote(message.term, sender, sender)
            case GiveVote() if message.granted and not message.trial and to is not None:
                self._voted(sender, message.term, to)
            case Append():
                self._appended(sender, message)
            case Acked():
                self._acknowledged(sender, message)
            case Countersignature():
                self._countersigned(sender, message)
            case Decided(certificate):
                place = (certificate.view, certificate.height, certificate.link)
                enough = len(self._signed.get(place, set())) >= self.majority
                self._hold(enough, sender, "shows a certificate that nobody could make")
            case _:
                pass

    # -- elections -----------------------------------------------------------------------------------------------------

    def _vote(self, term: int, voter: int, candidate: int) -> None:
        known = self._votes.setdefault((term, voter), candidate)
        self._hold(known == candidate, voter, f"votes for {known} and {candidate} in term {term}")

    def _voted(self, voter: int, term: int, candidate: int) -> None:
        if self._votes.get((term, voter)) == candidate:
            return  # said again, as to a question that came twice: its log may have grown since
        ask = self._asks.get((term, candidate))
        if ask is None:
            raise NotAllowed(f"member {voter} votes for {candidate}, which does not stand")
        _, *last = self._last.get(voter, (0, 0, 0))
        self._hold(
            self.rules.may_lead(ask, (last[0], last[1])),
            voter,
            f"votes for {candidate}, whose log ends at {ask} while its own holds {tuple(last)}",
        )
        self._vote(term, voter, candidate)

    def _leads(self, sender: int, term: int) -> None:
        if term not in self._leaders:
            votes = sum(self._votes.get((term, node)) == sender for node in range(self.members))
            self._hold(votes >= self.majority, sender, f"leads term {term} with {votes} votes")
            self._leaders[term] = sender
        self._hold(self._leaders[term] == sender, sender, f"is a second leader of term {term}")

    # -- the log -------------------------------------------------------------------------------------------------------

    def _appended(self, sender: int, append: Append) -> None:
        self._leads(sender, append.term)
        log = self._entries.setdefault(append.term, {})
        before = self._placed.get((append.prev_height, append.prev_term))
        if before is not None:
            log.setdefault(append.prev_height, (append.prev_term, before))
        for height, row in enumerate(append.entries, append.prev_height + 1):
            block = self.describe(row.block)
            if block is None:
                raise NotAllowed(f"member {sender} appends what is no block")
            entry = (row.term, bytes(block.link))
            self._hold(block.height == height, sender, f"appends another height than {height}")
            self._hold(
                log.setdefault(height, entry) == entry, sender, f"changes its log at {height}"
            )
            placed = self._placed.setdefault((height, row.term), entry[1])
            self._hold(placed == entry[1], sender, f"has another block of term {row.term} there")
            if self._committed_in.get(height, append.term) < append.term:
                known = self._committed[height] == entry[1]
                self._hold(known, sender, f"lacks what is committed at height {height}")
        committed = max(self._committed, default=0)
        self._settle(append.term)
        enough = append.commit <= max(self._committed, default=committed)
        self._hold(enough, sender, f"says that {append.commit} is committed")

    def _acknowledged(self, sender: int, acked: Acked) -> None:
        term, match = acked.term, acked.match
        log = self._entries.setdefault(term, {})
        leader = self._leaders.get(term)
        if leader is None:
            # A leader's first own entry may be durable before its append has been seen.
            votes = [self._votes.get((term, node)) for node in range(self.members)]
            self._hold(votes.count(sender) >= self.majority, sender, "acknowledges to nobody")
            leader = self._leaders[term] = sender
        known = match in log or sender == leader or match <= max(self._committed, default=0)
        self._hold(known, sender, f"acknowledges {match}, which nobody sent in term {term}")
        self._acked[term, sender] = max(self._acked.get((term, sender), 0), match)
        if match in log and term >= self._last.get(sender, (0, 0, 0))[0]:
            before = self._last.get(sender, (0, 0, 0))
            self._last[sender] = max(before, (term, log[match][0], match))
        self._settle(term)

    def _settle(self, term: int) -> None:
        """What a majority has acknowledged in this term, if its entry is of this term, is committed with what is below it."""
        matches = sorted(
            (self._acked.get((term, node), 0) for node in range(self.members)), reverse=True
        )
        index, log = matches[self.majority - 1], self._entries.get(term, {})
        own = [height for height in log if height <= index and log[height][0] == term]
        if not own or not self.rules.may_count(log[max(own)][0], term):
            return
        for height in range(max(own), 0, -1):
            if height not in log:
                break
            link = log[height][1]
            known = self._committed.setdefault(height, link)
            self._committed_in.setdefault(height, term)
            self._hold(known == link, None, f"two blocks are committed at height {height}")

    def _countersigned(self, sender: int, vote: Countersignature) -> None:
        entry = self._entries.get(vote.term, {}).get(vote.height)
        alone = self.members == 1
        if not alone:
            self._hold(
                entry == (vote.term, vote.link), sender, "countersigns no entry of its leader"
            )
            committed = self._committed.get(vote.height) == vote.link
            self._hold(committed, sender, f"countersigns height {vote.height} before it commits")
        self._signed.setdefault((vote.term, vote.height, vote.link), set()).add(sender)

    def _hold(self, allowed: bool, sender: int | None, what: str) -> None:
        if not allowed:
            raise NotAllowed(what if sender is None else f"member {sender} {what}")
