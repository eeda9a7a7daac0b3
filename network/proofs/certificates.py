"""Votes and the quorum certificate over a link: ⌈2n/3⌉ members under PBFT, a majority under Raft.

A certificate holds votes of one view, one phase and one link only; equal votes of two views never add up. Votes sign the
parent's link too, so a certificate for height h also certifies every uncommitted ancestor.
"""

from collections.abc import Callable, Mapping
from typing import Annotated

from msgspec import Meta, Struct

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.network.wire.transactions import SignatureBytes

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) → genuine. `keys.verify_vote` in production."""


def quorum_of(members: int) -> int:
    """⌈2n/3⌉: any two quorums share an honest member while f = ⌊(n-1)/3⌋ are not (2f+1 is wrong for n = 5)."""
    return -(-2 * members // 3)


def faults_of(members: int) -> int:
    """⌊(n-1)/3⌋: how many members may be arbitrary."""
    return (members - 1) // 3


def majority_of(members: int) -> int:
    """⌊n/2⌋ + 1: any two majorities share a member, which is enough while members only crash."""
    return members // 2 + 1


def crashes_of(members: int) -> int:
    """⌊(n-1)/2⌋: how many members may be down while a majority is up."""
    return (members - 1) // 2


class CertVote(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    signer: Annotated[NodeId, Meta(ge=0, lt=2**16)]
    signature: SignatureBytes


class Certificate(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """q votes of one phase over one link in one view, sorted by signer."""

    phase: Annotated[int, Meta(ge=1, le=2)]
    epoch: Annotated[Epoch, Meta(ge=0, le=2**63 - 1)]
    view: Annotated[View, Meta(ge=0, le=2**63 - 1)]
    height: Annotated[Height, Meta(ge=0, le=2**63 - 1)]
    link: Annotated[Link, Meta(min_length=32, max_length=32)]
    parent_link: Annotated[Link, Meta(min_length=32, max_length=32)]
    votes: Annotated[tuple[CertVote, ...], Meta(min_length=1, max_length=64)]

    @property
    def rank(self) -> tuple[int, int]:
        """Certificates are ordered by (view, height): one tip for a new view."""
        return self.view, self.height

    @property
    def commits(self) -> bool:
        return self.phase == Phase.COMMIT


def check_certificate(
    certificate: Certificate,
    chain: int,
    lane: int,
    vote_keys: Mapping[NodeId, bytes],
    verify: Verify,
    quorum: int,
) -> None:
    """`Refused(BAD_CERTIFICATE)` unless at least `quorum` distinct members signed, each signature genuine.

    `vote_keys`: NodeId → 32-byte Ed25519 key of every member of `certificate.epoch`. `quorum`: what the network's engine
    needs (`MemberSet.quorum`).
    """
    signers = [vote.signer for vote in certificate.votes]
    if signers != sorted(set(signers)):
        raise Refused(RejectReason.BAD_CERTIFICATE, "signers are not distinct and sorted")
    if len(signers) < quorum:
        raise Refused(RejectReason.BAD_CERTIFICATE, "fewer votes than a quorum")
    message = vote_message(
        chain,
        lane,
        certificate.epoch,
        certificate.view,
        certificate.height,
        Phase(certificate.phase),
        certificate.link,
        certificate.parent_link,
    )
    for vote in certificate.votes:
        key = vote_keys.get(vote.signer)
        if key is None:
            raise Refused(RejectReason.BAD_CERTIFICATE, f"signer {vote.signer} is not a member")
        if not verify(key, message, vote.signature):
            raise Refused(
                RejectReason.BAD_CERTIFICATE,
                f"the signature of member {vote.signer} is not genuine",
            )
