"""Evidence of equivocation: two statements that one vote key signed for one position and that differ.

Decided here: which two statements convict their signer, from their bytes and its key alone. Each pair is one that the
double-sign guard of an honest member never signs, whatever crashes, restarts and view changes lie between them: one proposal,
one PREPARE and one COMMIT for each (view, height), one VIEW-CHANGE and one NEW-VIEW for each view, all within one epoch.
Not here: how it is found and kept (`consensus.accountability.evidence`), its file and who was a member when (`evidence_file`).
Raft's members only crash: there is no claim.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from tallystick.network.proofs.members import MemberSet
from tallystick.network.wire import signing
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions import SignatureBytes

VERSION: Final = 1

Verify = Callable[[bytes, bytes, bytes], bool]
U64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Kind(IntEnum):
    """What was signed twice."""

    PROPOSAL = 0
    PREPARE = 1
    COMMIT = 2
    VIEW_CHANGE = 3
    NEW_VIEW = 4


class Said(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What differs between the two, and the signature. Fields that a kind does not have are zero."""

    link: Hash
    """The block; of a view change its certificate's block; of a new view the digest of its view changes."""
    parent_link: Hash
    certificate_phase: Annotated[int, Meta(ge=0, le=2)]
    certificate_view: U64
    certificate_height: U64
    signature: SignatureBytes

    @property
    def statement(self) -> tuple[bytes, int, int, int]:
        """What may not differ. The parent follows from the link, which is a hash over it."""
        return self.link, self.certificate_phase, self.certificate_view, self.certificate_height


class Evidence(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Two statements of one signer, the smaller statement first: one record for each pair."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    chain: U64
    lane: Annotated[int, Meta(ge=0, lt=2**16)]
    epoch: Annotated[Epoch, Meta(ge=0, le=2**63 - 1)]
    signer: Annotated[NodeId, Meta(ge=0, lt=2**16)]
    kind: Annotated[int, Meta(ge=0, le=4)]
    view: Annotated[View, Meta(ge=0, le=2**63 - 1)]
    height: Annotated[Height, Meta(ge=0, le=2**63 - 1)]
    """0 for view changes and new views."""
    first: Said
    second: Said

    @property
    def sentence(self) -> str:
        """For people."""
        at = f" at height {self.height}" if self.kind in _OF_A_BLOCK else ""
        what = Kind(self.kind).name.replace("_", "-")
        return f"member {self.signer} signed two different {what} statements in view {self.view}{at} of epoch {self.epoch}"


EVIDENCE: Final = Codec(Evidence, bytes_max=1024)
_OF_A_BLOCK: Final = (Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT)
_NOTHING: Final = bytes(32)


def about_block(link: Link, parent_link: Link, signature: bytes) -> Said:
    """A proposal or a vote."""
    return Said(link, parent_link, 0, 0, 0, signature)


def about_view(phase: int, view: int, height: int, link: bytes, signature: bytes) -> Said:
    """A view change and the certificate that it shows: zeros for none."""
    return Said(link, _NOTHING, phase, view, height, signature)


def about_changes(digest: bytes, signature: bytes) -> Said:
    """A new view."""
    return Said(digest, _NOTHING, 0, 0, 0, signature)


def sorted_pair(one: Said, other: Said) -> tuple[Said, Said]:
    """In the order of a record."""
    return (one, other) if one.statement <= other.statement else (other, one)


def check_evidence(evidence: Evidence, chain: int, lane: int, key: bytes, verify: Verify) -> None:
    """`Refused(BAD_PROOF)` unless `key` signed both statements on this chain and they exclude each other.

    `key`: the 32-byte Ed25519 vote key of the signer in the evidence's epoch.
    """
    if (evidence.chain, evidence.lane) != (chain, lane):
        raise Refused(RejectReason.WRONG_CHAIN, "the evidence is about another network")
    first, second = evidence.first, evidence.second
    if not first.statement < second.statement:
        raise Refused(RejectReason.BAD_PROOF, "the statements do not differ, or stand in the wrong order")  # fmt: skip
    for said in (first, second):
        _check_form(evidence, said)
        if not verify(key, signed_bytes(evidence, said), said.signature):
            raise Refused(RejectReason.BAD_PROOF, f"a signature is not member {evidence.signer}'s")


def _check_form(evidence: Evidence, said: Said) -> None:
    """Fields that the kind does not have are zero: one text for each fact."""
    of_block = evidence.kind in _OF_A_BLOCK
    spare = (said.certificate_phase, said.certificate_view, said.certificate_height)
    faulty = (
        (not of_block and (evidence.height != 0 or said.parent_link != _NOTHING))
        or (evidence.kind != Kind.VIEW_CHANGE and any(spare))
        or (said.certificate_phase == 0 and evidence.kind == Kind.VIEW_CHANGE and _shows(said))
    )
    if faulty:
        raise Refused(RejectReason.BAD_PROOF, "a field is set that the kind does not have")


def _shows(said: Said) -> bool:
    return any((said.certificate_view, said.certificate_height)) or said.link != _NOTHING


def signed_bytes(evidence: Evidence, said: Said) -> bytes:
    """What the signer of one of the two has signed."""
    place = evidence.chain, evidence.lane, evidence.epoch, evidence.view
    return statement_bytes(Kind(evidence.kind), place, evidence.height, said)


def statement_bytes(
    kind: Kind, place: tuple[int, int, Epoch, View], height: Height, said: Said
) -> bytes:
    """The layout that was signed (docs/formats.md, section 7). `place`: chain, lane, epoch, view."""
    link, parent = Link(said.link), Link(said.parent_link)
    match kind:
        case Kind.PROPOSAL:
            return signing.proposal_message(*place, height, link, parent)
        case Kind.PREPARE:
            return signing.vote_message(*place, height, signing.Phase.PREPARE, link, parent)
        case Kind.COMMIT:
            return signing.vote_message(*place, height, signing.Phase.COMMIT, link, parent)
        case Kind.VIEW_CHANGE:
            shown = View(said.certificate_view), Height(said.certificate_height)
            return signing.view_change_message(*place, said.certificate_phase, *shown, link)
        case Kind.NEW_VIEW:
            return signing.new_view_message(*place, link)


def verify_evidence(
    evidence: Evidence, members: MemberSet, chain: int, lane: int, verify: Verify
) -> None:
    """An outsider's question: is it against a member of this set? `Refused` says why not."""
    if members.engine != "pbft":
        raise Refused(RejectReason.BAD_PROOF, "Raft's members only crash: there is no evidence")
    if members.epoch != evidence.epoch:
        raise Refused(
            RejectReason.BAD_PROOF,
            f"it is about epoch {evidence.epoch}, these are the members of {members.epoch}",
        )
    key = members.vote_keys.get(evidence.signer)
    if key is None:
        raise Refused(RejectReason.BAD_PROOF, f"{evidence.signer} is no member of that epoch")
    check_evidence(evidence, chain, lane, key, verify)
