"""Who voted in which epoch, for whoever walks old certificates: genesis names epoch 0, the block that closes an epoch the next.

Decided here: where the sets of later epochs are looked for, and that an unknown one is never guessed.
"""

from tallystick.network.proofs.certificates import Certificate, Verify, check_certificate
from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.ids import Epoch
from tallystick.network.wire.membership import EpochMembers, members_digest
from tallystick.network.wire.reasons import RejectReason


class Epochs:
    """The member sets of one network, as far as they are proven."""

    def __init__(self, genesis: Genesis, verify: Verify) -> None:
        self._genesis = genesis
        self._chain = chain_of(genesis_hash(genesis))
        self._verify = verify
        self._sets = {Epoch(0): MemberSet.from_genesis(genesis)}

    def learn(self, members: EpochMembers, next_epoch: bytes) -> None:
        """The set that a certified block's `next_epoch` names. `Refused` when the digest is another's."""
        if members_digest(members) != next_epoch:
            raise Refused(RejectReason.BAD_CERTIFICATE, "the block names other members")
        self._sets[Epoch(members.epoch)] = MemberSet.of(members, self._genesis.engine)

    def at(self, epoch: Epoch) -> MemberSet | None:
        return self._sets.get(epoch)

    def check(self, certificate: Certificate) -> None:
        """`Refused(BAD_CERTIFICATE)` unless a quorum of its epoch's members signed."""
        members = self.at(certificate.epoch)
        if members is None:
            raise Refused(
                RejectReason.BAD_CERTIFICATE,
                f"the members of epoch {certificate.epoch} are not known here",
            )
        check_certificate(
            certificate,
            self._chain,
            self._genesis.lane,
            members.vote_keys,
            self._verify,
            members.quorum,
        )
