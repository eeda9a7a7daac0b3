"""What a PBFT replica remembers, and the small questions that every rule asks of it.

Durable: view, largest certificate, own view change (`EngineRecord`), the guard's record, and every block kept before a
vote. All else is rebuilt by listening.
"""

from dataclasses import dataclass, field

from msgspec import Struct

from tallystick.consensus.accountability.evidence import Convictions
from tallystick.consensus.accountability.guard import Guard
from tallystick.consensus.api import Block, Crypto, Effect, KeepGuard, KeepRecord, Note, Say, Setup
from tallystick.consensus.batching import Batching
from tallystick.consensus.pbft.messages import (
    MESSAGE,
    Message,
    NewView,
    Proposal,
    Statement,
    ViewChange,
    Vote,
)
from tallystick.consensus.pbft.synchronizer import Synchronizer
from tallystick.network.proofs.certificates import Certificate, CertVote, faults_of, quorum_of
from tallystick.network.proofs.evidence import Kind
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import invariant
from tallystick.network.wire.ids import Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message

HEIGHTS_AHEAD_MAX = 64
"""Votes and proposals further above the last final block are not kept: whoever is that far behind catches up."""

HELP_MS_MIN = 50
"""A member that asks again sooner is not answered: each answer is signed and written. Honest ones wait three times as long."""

CHECK_COST_MS = 20
"""A view change of another member, or its question what it signed, costs a quorum of signature checks: one in so many milliseconds is looked at …"""

CHECKS_AHEAD_MS = 400
"""… after a burst of twenty. Honest members leave a few views in a second, and say each change again."""

VIEWS_AHEAD_MAX = 2
"""Votes and proposals of views further ahead are not kept: a new view brings what is needed."""


class EngineRecord(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The engine's durable record."""

    view: View
    high: Certificate | None
    change: ViewChange | None
    """Our own view change for `view`, said again after a restart."""


RECORD = Codec(EngineRecord, bytes_max=64 * 1024)


@dataclass(slots=True)
class Asking:
    """The rollback check of this start (`rollback_check`)."""

    remembered: Guard
    """What the record beside the key held when we began; the guard itself moves on."""
    round: int
    answered: set[NodeId] = field(default_factory=set)


@dataclass(slots=True)
class PbftState:
    setup: Setup
    crypto: Crypto
    guard: Guard
    synchronizer: Synchronizer
    batching: Batching
    final_height: Height
    final_link: Link
    final_certificate: Certificate | None
    view: View
    active: bool = True
    """The view is open: proposals are judged and voted for."""
    may_lead: bool = True
    """False for a leader that restarted: what it proposed in this view before, it may not remember."""
    tip: Certificate | None = None
    """The certificate on which the view was opened."""
    high: Certificate | None = None
    """The largest certificate known, prepared or commit; replaced only by a larger one."""
    change: ViewChange | None = None
    new_view: NewView | None = None
    blocks: dict[Link, Block] = field(default_factory=dict)
    """Known blocks from the last final height on."""
    proposals: dict[Height, Link] = field(default_factory=dict)
    """What the leader of this view proposed."""
    proposal_signatures: dict[Height, bytes] = field(default_factory=dict)
    """Checked; should the leader propose another block for the same height, they convict it."""
    accepted: dict[Height, Link] = field(default_factory=dict)
    """What we PREPAREd in this view."""
    last: tuple[Height, Link] | None = None
    """The block last PREPAREd in this view."""
    head: tuple[Height, Link] | None = None
    """The leader's last proposal in this view."""
    making: Link | None = None
    """The parent of the block being made."""
    judging: Link | None = None
    refused: set[Link] = field(default_factory=set)
    prepared: set[Height] = field(default_factory=set)
    """Heights for which we saw a prepared certificate of this view."""
    ballots: dict[tuple[View, Height, Phase], dict[NodeId, Vote]] = field(default_factory=dict)
    genuine: set[tuple[NodeId, bytes, bytes]] = field(default_factory=set)
    """(signer, message, signature) of votes whose signature has been checked."""
    changes: dict[NodeId, ViewChange] = field(default_factory=dict)
    disagreements: dict[Link, set[NodeId]] = field(default_factory=dict)
    stash: dict[View, list[Proposal]] = field(default_factory=dict)
    helped_ms: dict[NodeId, int] = field(default_factory=dict)
    """When each member was last told again what we had said."""
    checked_until_ms: dict[NodeId, int] = field(default_factory=dict)
    """Until when the view changes and questions that we have looked at are paid for, by member."""
    reads: dict[int, dict[NodeId, Height]] = field(default_factory=dict)
    """By round of our own reads: how far each member that answered has shown to be."""
    heard_of: dict[NodeId, dict[Kind, Statement]] = field(default_factory=dict)
    """The highest statement of each kind that each other member made in this epoch, as it told us itself."""
    asking: Asking | None = None
    """Nothing is signed until enough peers have said what our key signed before; None: they have."""
    connected: set[NodeId] = field(default_factory=set)
    """Members that we have a connection to."""
    outstanding: int = 0
    """Transactions that are known and not final."""
    alarm: str | None = None
    halted: bool = False
    resend_at_ms: int = 0
    out: list[Effect] = field(default_factory=list)
    convictions: Convictions = field(init=False)
    members: tuple[NodeId, ...] = field(init=False)
    """Everybody who votes in this epoch, ascending; with `quorum` and `faults` it never changes, and every event asks."""
    quorum: int = field(init=False)
    faults: int = field(init=False)

    def __post_init__(self) -> None:
        setup, verify = self.setup, self.crypto.verify
        self.convictions = Convictions(setup.chain, setup.lane, setup.epoch, verify)
        self.members = tuple(sorted(setup.vote_keys))
        self.quorum = quorum_of(len(self.members))
        self.faults = faults_of(len(self.members))

    # -- questions -----------------------------------------------------------------------------------------------------

    def closes(self, link: Link) -> bool:
        """Whether this block is the last of our epoch: whatever stands on it is not ours to propose or to judge."""
        block = self.blocks.get(link)
        return block is not None and block.closes

    def leader_of(self, view: View) -> NodeId:
        members = self.members
        return members[view % len(members)]

    @property
    def final_view(self) -> View:
        """The view in which the last final block was decided."""
        return self.final_certificate.view if self.final_certificate is not None else View(0)

    @property
    def reaches_quorum(self) -> bool:
        """Alone, leaving a view helps nobody: the timer counts only while a quorum is connected."""
        return len(self.connected) + 1 >= self.quorum

    @property
    def leads(self) -> bool:
        return (
            self.leader_of(self.view) == self.setup.me
            and self.active
            and self.may_lead
            and self.may_sign
        )

    @property
    def may_sign(self) -> bool:
        """Enough peers have said what our key signed before, and nothing has halted us."""
        return self.asking is None and not self.halted

    @property
    def in_flight(self) -> int:
        return max(0, self.head[0] - self.final_height) if self.head is not None else 0

    def vote_bytes(
        self, phase: Phase, view: View, height: Height, link: Link, parent: Link
    ) -> bytes:
        setup = self.setup
        return vote_message(setup.chain, setup.lane, setup.epoch, view, height, phase, link, parent)

    def may_help(self, member: NodeId, now_ms: int) -> bool:
        """Has it been long enough since we last said everything again to this member? Asking costs nothing, answering does."""
        last_ms = self.helped_ms.get(member)
        if last_ms is not None and now_ms < last_ms + HELP_MS_MIN:
            return False
        self.helped_ms[member] = now_ms
        return True

    def may_check(self, member: NodeId, now_ms: int) -> bool:
        """Is this member still near the rate at which its view changes are looked at?"""
        until_ms = max(now_ms, self.checked_until_ms.get(member, 0))
        if until_ms > now_ms + CHECKS_AHEAD_MS:
            return False
        self.checked_until_ms[member] = until_ms + CHECK_COST_MS
        return True

    # -- effects -------------------------------------------------------------------------------------------------------

    def sign(self, message: bytes) -> bytes:
        """The one place where this engine's statements get their signature."""
        invariant(self.may_sign, "a signature before the peers were asked", view=self.view)
        return self.crypto.sign(message)

    def say(self, message: Message, to: NodeId | None = None) -> None:
        """What claims nothing about us."""
        self.out.append(Say(MESSAGE.encode(message), to))

    def promise(self, message: Message, to: NodeId | None = None) -> None:
        """What we are held to: to one or all, and to ourselves, once this step and all before it are durable.

        Said again, it is as much a promise as the first time: the record that it rests on may still be on its way.
        """
        self.out.append(Say(MESSAGE.encode(message), to, promise=True))

    def note(self, name: str, **facts: object) -> None:
        self.out.append(Note(name, facts))

    def keep(self) -> None:
        self.out.append(KeepRecord(RECORD.encode(EngineRecord(self.view, self.high, self.change))))

    def keep_guard(self) -> None:
        self.out.append(KeepGuard(self.guard.record()))

    # -- votes ---------------------------------------------------------------------------------------------------------

    def raise_high(self, certificate: Certificate) -> bool:
        """Take the certificate if it is larger; at the same rank a commit replaces a prepared one."""
        high = self.high
        if high is not None and (certificate.rank, certificate.commits) <= (
            high.rank,
            high.commits,
        ):
            return False
        self.high = certificate
        return True

    def quorum_certificate(
        self, phase: Phase, view: View, height: Height, link: Link
    ) -> Certificate | None:
        """A certificate from the votes of one view, if q of them are genuine. Only as many as needed are checked."""
        ballots = self.ballots.get((view, height, phase))
        if ballots is None or len(ballots) < self.quorum:
            return None
        votes = [vote for vote in ballots.values() if vote.link == link]
        if len(votes) < self.quorum:
            return None
        parent_link = self._parent_of(votes, link)
        message = self.vote_bytes(phase, view, height, link, parent_link)
        chosen: list[CertVote] = []
        for sender, vote in sorted(ballots.items()):
            if vote.link != link or vote.parent_link != parent_link:
                continue
            if self._genuine(sender, message, vote.signature):
                chosen.append(CertVote(sender, vote.signature))
            else:
                del ballots[sender]
            if len(chosen) == self.quorum:
                break
        if len(chosen) < self.quorum:
            return None
        epoch = self.setup.epoch
        return Certificate(phase, epoch, view, height, link, parent_link, tuple(chosen))

    def _parent_of(self, votes: list[Vote], link: Link) -> Link:
        """The parent that the link has: from the block if we hold it, else what most votes say."""
        block = self.blocks.get(link)
        if block is not None:
            return block.parent_link
        parents = [vote.parent_link for vote in votes]
        return max(sorted(set(parents)), key=parents.count)

    def _genuine(self, sender: NodeId, message: bytes, signature: bytes) -> bool:
        if sender == self.setup.me or (sender, message, signature) in self.genuine:
            return True
        if not self.crypto.verify(self.setup.vote_keys[sender], message, signature):
            self.note("forged-vote", sender=sender)
            return False
        self.genuine.add((sender, message, signature))
        return True

    # -- housekeeping --------------------------------------------------------------------------------------------------

    def begin_view(self, view: View, active: bool) -> None:
        """Forget what belongs to the view that is left; blocks stay, for a tip may need them."""
        self.view, self.active, self.tip, self.head = view, active, None, None
        self.making = self.judging = None
        self.may_lead = True
        self.proposals.clear()
        self.proposal_signatures.clear()
        self.accepted.clear()
        self.prepared.clear()
        self.refused.clear()
        self.disagreements.clear()
        self.last = self.guard.last_prepared(view)
        # COMMIT votes of views left behind may still make a certificate; it is as good as any.
        self.ballots = {
            key: votes
            for key, votes in self.ballots.items()
            if key[0] >= view or key[2] is Phase.COMMIT
        }
        self.genuine.clear()
        self.stash = {ahead: kept for ahead, kept in self.stash.items() if ahead >= view}

    def forget_below(self, height: Height) -> None:
        """The last final height itself stays open: its block may be voted for again in a later view."""
        self.blocks = {link: block for link, block in self.blocks.items() if block.height >= height}
        self.ballots = {key: votes for key, votes in self.ballots.items() if key[1] >= height}
        for table in (self.proposals, self.accepted, self.proposal_signatures):
            for old in [known for known in table if known < height]:
                del table[old]
        self.prepared = {known for known in self.prepared if known >= height}
        if len(self.genuine) > 4096:
            self.genuine.clear()
        self.guard.forget_below(height)
