"""Evidence as a file: what a member signed twice, and the member sets that lead from the genesis document to its epoch.

Decided here: the one text of the file, and an outsider's verdict from the genesis document alone. A chain of steps as in a receipt says
who held which number and which vote key in that epoch; nothing else does, so a number means somebody only within its epoch.
Not here: which two statements convict (`evidence`), the walk along the steps (`verify`).
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from tallystick.network.proofs.document import from_document, json_of, to_document
from tallystick.network.proofs.evidence import Evidence, Kind, verify_evidence
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.receipts import EpochStep
from tallystick.network.proofs.verdict import Verdict
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.reasons import RejectReason

FORMAT: Final = "tallystick/evidence"


class EvidenceFile(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Evidence, complete."""

    evidence: Evidence
    epochs: Annotated[tuple[EpochStep, ...], Meta(max_length=bounds.EPOCHS_PROVEN_MAX)] = ()
    """From genesis to the evidence's epoch, one step for each change of members; empty in epoch 0."""


EVIDENCE_FILE: Final = Codec(EvidenceFile, bytes_max=bounds.RECEIPT_BYTES_MAX)


def convict(file: EvidenceFile, genesis: Genesis) -> Verdict:
    """Check it against the genesis document and nothing else: whose key signed both, and was it a member's in that epoch?

    It is as true as a receipt: whoever could certify a false change of members could name anybody.
    """
    verifier, evidence = Verifier(genesis), file.evidence

    def signed(members: MemberSet) -> str:
        verify_evidence(evidence, members, verifier.chain, genesis.lane, verify_vote)
        return evidence.sentence

    return verifier.signed_by_members(file.epochs, evidence.height, signed, "statements")


def name_of(file: EvidenceFile, genesis: Genesis) -> str:
    """What the signer was called in its epoch. Only of a file that `convict` has verified."""
    listed = file.epochs[-1].members.members if file.epochs else genesis.members
    return next(member.name for member in listed if member.id == file.evidence.signer)


def evidence_to_document(file: EvidenceFile) -> dict[str, Any]:
    """JSON by field names; bytes in hex, the kind by name, and `epochs` last where there are any."""
    evidence = file.evidence
    written = {"format": FORMAT} | to_document(evidence) | {"kind": Kind(evidence.kind).name}
    return written | ({"epochs": to_document(file)["epochs"]} if file.epochs else {})


def evidence_from_document(document: object) -> EvidenceFile:
    """The inverse, as strict as a receipt's, or `Refused`."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise Refused(RejectReason.MALFORMED, f"the document is not a {FORMAT}")
    fields = {name: value for name, value in document.items() if name != "format"}
    numbers = {kind.name: kind.value for kind in Kind}
    name = fields.get("kind")
    if not isinstance(name, str) or name not in numbers:
        raise Refused(RejectReason.MALFORMED, "kind: not a known name")
    fields["kind"] = numbers[name]
    epochs = fields.pop("epochs", [])
    if "epochs" in document and epochs == []:
        raise Refused(RejectReason.NON_CANONICAL, "epochs: stands there only where there are any")
    return from_document(EvidenceFile, EVIDENCE_FILE, {"evidence": fields, "epochs": epochs})


def evidence_from_bytes(data: bytes) -> EvidenceFile:
    """The evidence of a file, or `Refused` with OVERSIZED, MALFORMED or NON_CANONICAL. White space is free, nothing else is."""
    file = evidence_from_document(json_of(data))
    if msgspec.json.format(data, indent=-1) != msgspec.json.encode(evidence_to_document(file)):
        raise Refused(
            RejectReason.NON_CANONICAL, "a key stands twice or out of order, or a text is escaped"
        )
    return file


def evidence_to_bytes(file: EvidenceFile) -> bytes:
    """The file."""
    return msgspec.json.format(msgspec.json.encode(evidence_to_document(file)), indent=2) + b"\n"
