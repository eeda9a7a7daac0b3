"""Who votes in an epoch, with which keys, and how many make a quorum (architecture section 7).

Epoch 0 is the genesis document's; the block that closes an epoch names the next one's set. Two entries with one id or one vote key would let one member count
twice, so such a document is refused.
Not here: whether a certificate is a quorum's (`certificates`).
"""

from dataclasses import dataclass, field

from tallystick.network.proofs.certificates import crashes_of, faults_of, majority_of, quorum_of
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import EngineName, Genesis
from tallystick.network.wire.ids import Epoch, NodeId
from tallystick.network.wire.membership import EpochMembers
from tallystick.network.wire.reasons import RejectReason


@dataclass(frozen=True, slots=True)
class MemberSet:
    """The members of one epoch."""

    epoch: Epoch
    vote_keys: dict[NodeId, bytes]
    """NodeId → 32-byte Ed25519 public key. Not to be changed."""
    engine: EngineName = "pbft"
    ids: tuple[NodeId, ...] = field(init=False)
    """Sorted."""
    quorum: int = field(init=False)
    """PBFT: ⌈2n/3⌉ votes decide. Raft: a majority."""
    faults: int = field(init=False)
    """PBFT: ⌊(n-1)/3⌋ members may be arbitrary. Raft: ⌊(n-1)/2⌋ may be down, and none may lie."""

    def __post_init__(self) -> None:
        if not self.vote_keys:
            raise Refused(RejectReason.BAD_FIELD, "an epoch has no members")
        if len(set(self.vote_keys.values())) != len(self.vote_keys):
            raise Refused(RejectReason.BAD_FIELD, "two members share a vote key")
        object.__setattr__(self, "ids", tuple(sorted(self.vote_keys)))
        count, byzantine = len(self.vote_keys), self.engine == "pbft"
        object.__setattr__(self, "quorum", quorum_of(count) if byzantine else majority_of(count))
        object.__setattr__(self, "faults", faults_of(count) if byzantine else crashes_of(count))

    @classmethod
    def from_genesis(cls, genesis: Genesis) -> "MemberSet":
        """The members of epoch 0, or `Refused(BAD_FIELD)`."""
        vote_keys = {member.id: member.vote_key for member in genesis.members}
        if len(vote_keys) != len(genesis.members):
            raise Refused(RejectReason.BAD_FIELD, "two members share an id")
        return cls(Epoch(0), vote_keys, genesis.engine)

    @classmethod
    def of(cls, members: EpochMembers, engine: EngineName) -> "MemberSet":
        """The members of a later epoch, or `Refused(BAD_FIELD)`."""
        vote_keys = {member.id: member.vote_key for member in members.members}
        if len(vote_keys) != len(members.members):
            raise Refused(RejectReason.BAD_FIELD, "two members share an id")
        return cls(Epoch(members.epoch), vote_keys, engine)

    def __contains__(self, node: object) -> bool:
        return node in self.vote_keys

    def __len__(self) -> int:
        return len(self.vote_keys)
