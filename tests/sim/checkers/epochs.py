"""Who may vote in which epoch, recomputed from genesis and from the changes that settled (I1, I2, I5, I11; P18, P27).

Shares no code with the contracts. Every block is of the epoch that the blocks below it make, and certified by a quorum of that
epoch's members under their own keys; a block that settles a change is its epoch's last and names the next set. Nobody signs in an
epoch that does not name him, nor in one that he has left behind; statements are compared within their epoch.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.consensus.pbft.messages import MESSAGE as PBFT_MESSAGE
from tallystick.consensus.pbft.messages import epoch_of as pbft_epoch_of
from tallystick.consensus.raft.messages import MESSAGE as RAFT_MESSAGE
from tallystick.consensus.raft.messages import (
    Acked,
    Append,
    AskVote,
    Countersignature,
    GiveVote,
)
from tallystick.consensus.raft.messages import epoch_of as raft_epoch_of
from tallystick.network.proofs.certificates import (
    Certificate,
    crashes_of,
    faults_of,
    majority_of,
    quorum_of,
)
from tallystick.network.proofs.receipts import Outcome, Status
from tallystick.network.wire.blocks import NO_CHANGE
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import Epoch
from tallystick.network.wire.membership import EpochMembers, MemberEntry, members_digest
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.network.wire.transactions import ActivateSpare, ChangeMembers, Transaction
from tallystick.node.core.ledger import BlockRecord
from tests.sim.checkers import hold
from tests.sim.checkers.ballots import Ballots
from tests.sim.checkers.votes import Votes, statement_of
from tests.sim.crypto import VoteKeys

Entries = dict[int, MemberEntry]


class Epochs:
    """The member sets of one run, by epoch."""

    def __init__(self, genesis: Genesis, keys: VoteKeys) -> None:
        self._chain, self._lane = chain_of(genesis_hash(genesis)), genesis.lane
        self._keys = keys
        self._byzantine = genesis.engine == "pbft"
        self.sets: list[Entries] = [{entry.id: entry for entry in genesis.members}]
        self.spares = {each.id: each.participant for each in genesis.spares}
        self.closed_at: list[int] = []
        """Height of the last block of each epoch that is over."""
        self.answered: dict[bytes, Status] = {}
        """Id of a change of members → what became of it."""

    @property
    def epoch(self) -> int:
        return len(self.sets) - 1

    @property
    def members(self) -> Entries:
        return self.sets[-1]

    def ids(self, epoch: int) -> tuple[int, ...]:
        """Ascending; a violation if no block has opened this epoch."""
        hold(epoch <= self.epoch, "P27", f"somebody speaks in epoch {epoch}, and {self.epoch} is the last")  # fmt: skip
        return tuple(sorted(self.sets[epoch]))

    def quorum(self, epoch: int) -> int:
        count = len(self.sets[epoch])
        return quorum_of(count) if self._byzantine else majority_of(count)

    def faults(self, epoch: int) -> int:
        count = len(self.sets[epoch])
        return faults_of(count) if self._byzantine else crashes_of(count)

    def bind(self, holders: AbstractSet[int]) -> bool:
        """Whether so many members of some epoch hold a transaction that one of them is not faulty."""
        return any(
            len(holders & self.sets[epoch].keys()) > self.faults(epoch)
            for epoch in range(len(self.sets))
        )

    # -- blocks, in order ----------------------------------------------------------------------------------------------

    def certified(self, name: str, height: int, record: BlockRecord) -> None:
        """The first honest node to have this block shows why it is final."""
        epoch, certificate = self.epoch, record.certificate
        hold(
            record.header.epoch == certificate.epoch == epoch,
            "I2",
            f"{name}: block {height} is of epoch {record.header.epoch}, certified in {certificate.epoch}, due in {epoch}",
        )
        signers = {vote.signer for vote in certificate.votes}
        strangers = sorted(signers - self.members.keys())
        hold(not strangers, "P27", f"{name}: {strangers} vote for {height} in epoch {epoch}, which does not name them")  # fmt: skip
        hold(len(signers) >= self.quorum(epoch), "I2", f"{name} has no quorum for {height}")
        if certificate.height == height:
            self._genuine(name, certificate)

    def _genuine(self, name: str, certificate: Certificate) -> None:
        message = vote_message(
            self._chain, self._lane, certificate.epoch, certificate.view, certificate.height,
            Phase.COMMIT, certificate.link, certificate.parent_link,
        )  # fmt: skip
        for vote in certificate.votes:
            key = self.members[vote.signer].vote_key
            good = self._keys.verify(key, message, vote.signature)
            hold(good, "I2", f"{name} counts a forged vote of {vote.signer} for {certificate.height}")  # fmt: skip

    def played(
        self, height: int, record: BlockRecord, played: list[tuple[Transaction, Outcome]]
    ) -> None:
        """What a block's transactions have made of the members."""
        settled = []
        for transaction, outcome in played:
            if isinstance(transaction, ActivateSpare | ChangeMembers):
                status = Status(outcome.status)
                self.answered[transaction.id] = status
                if status == Status.SETTLED:
                    settled.append(transaction)
        closes = record.result.next_epoch != NO_CHANGE
        hold(closes == bool(settled), "I2", f"block {height} closes its epoch: {closes}, for {len(settled)} changes")  # fmt: skip
        if not settled:
            return
        hold(len(settled) == 1, "I2", f"{len(settled)} changes settle in block {height}")
        self._change(settled[0])
        self.closed_at.append(height)
        entries = tuple(self.members[node] for node in sorted(self.members))
        due = members_digest(EpochMembers(Epoch(self.epoch), entries))
        hold(record.result.next_epoch == due, "I2", f"block {height} names another set than {sorted(self.members)}")  # fmt: skip

    def _change(self, change: ActivateSpare | ChangeMembers) -> None:
        entries = dict(self.members)
        if isinstance(change, ActivateSpare):
            old = entries.pop(change.member)
            entries[change.spare] = MemberEntry(change.spare, old.name, old.participant, change.vote_key, change.tls_key_hash)  # fmt: skip
            del self.spares[change.spare]
        else:
            for node in change.leaving:
                del entries[node]
            entries |= {entry.id: entry for entry in change.joining}
            self.spares |= {each.id: each.participant for each in change.spares}
        self.sets.append(entries)


T = TypeVar("T", Votes, Ballots)


@dataclass(slots=True)
class ByEpoch(Generic[T]):
    """What `Votes` or `Ballots` is for one epoch, for each of a run."""

    epochs: Epochs
    make: Callable[[int], T]
    seen: dict[int, T] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    """Member → the highest epoch in which it has promised anything."""

    def of(self, epoch: int) -> T:
        if epoch not in self.seen:
            self.seen[epoch] = self.make(epoch)
        return self.seen[epoch]

    def leaves(self, signer: int, to: int | None, frame: bytes, durable: bytes | None, final: dict[int, bytes]) -> None:  # fmt: skip
        if frame[0] != Channel.CONSENSUS:
            return
        epoch, speaks, promises = self._said(signer, frame[1:])
        if speaks:
            ids, before = self.epochs.ids(epoch), self.latest.get(signer, 0)
            hold(signer in ids, "P27", f"{signer} speaks in epoch {epoch} of {ids}")
            if promises:
                hold(
                    epoch >= before, "P27", f"{signer} signs in epoch {epoch} after one of {before}"
                )
                self.latest[signer] = epoch
        self.of(epoch).leaves(signer, to, frame, durable, final)

    def _said(self, signer: int, payload: bytes) -> tuple[int, bool, bool]:
        """The message's epoch, whether it is said as a member of it, and whether it binds its sender."""
        raise NotImplementedError

    def written(self, signer: int, record: bytes) -> None:
        self.of(GUARD_RECORD.decode(record).epoch).written(signer, record)

    def restarted(self, signer: int, durable: bytes | None) -> None:
        if durable is not None:
            self.of(GUARD_RECORD.decode(durable).epoch).restarted(signer, durable)

    @property
    def view_changes(self) -> int:
        return sum(each.view_changes for each in self.seen.values())


class VotesByEpoch(ByEpoch[Votes]):
    """PBFT's."""

    def __init__(self, epochs: Epochs) -> None:
        super().__init__(epochs, self._one)

    def _one(self, epoch: int) -> Votes:
        ids = self.epochs.ids(epoch)
        return Votes(len(ids), ids=ids, epoch=epoch)

    def _said(self, signer: int, payload: bytes) -> tuple[int, bool, bool]:
        epoch = pbft_epoch_of(PBFT_MESSAGE.decode(payload)) or 0
        signs = statement_of(signer, payload, self.epochs.ids(epoch)) is not None
        return epoch, signs, signs


class BallotsByEpoch(ByEpoch[Ballots]):
    """Raft's."""

    def __init__(self, epochs: Epochs) -> None:
        super().__init__(epochs, self._one)
        self.again = 0
        """Closing blocks that a later leader took again."""

    def _one(self, epoch: int) -> Ballots:
        ids = self.epochs.ids(epoch)
        return Ballots(max(ids) + 1, self.epochs.quorum(epoch), epoch=epoch)

    def _said(self, signer: int, payload: bytes) -> tuple[int, bool, bool]:
        message = RAFT_MESSAGE.decode(payload)
        if isinstance(message, Append):
            self.again += sum(entry.carried for entry in message.entries)
        speaks = isinstance(message, AskVote | GiveVote | Append | Acked | Countersignature)
        # A trial promises nothing, so it may leave before the turn of its epoch is durable, and a crash takes both back.
        trial = isinstance(message, AskVote | GiveVote) and message.trial
        refused = isinstance(message, GiveVote) and not message.granted
        return raft_epoch_of(message), speaks, speaks and not trial and not refused

    def nothing_lost(self, final: dict[int, bytes]) -> None:
        for each in self.seen.values():
            each.nothing_lost(final)
