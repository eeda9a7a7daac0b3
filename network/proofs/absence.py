"""Proof of non-settlement: this transaction was never ordered by authority of its account, and never can be.

Its digest covers its deadline, so it could have been ordered only into the window of that deadline. The mark in a certified
state says that this window is closed; the window's record (or that there is none) says what it holds, and two neighbours
stand on both sides of where the digest would be. Body-only entries are bytes that the account's keys did not sign: they
stand before the place that is shown empty, so a stranger's copies neither feign the digest nor hide its absence.
Decided here: the struct and the check. Not here: the file form (`document`), the bytes of an entry (`windows`).
"""

from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta, Struct

from tallystick.network.proofs.merkle import leaf_hash, verify_inclusion
from tallystick.network.proofs.receipts import BlockProof, Path
from tallystick.network.proofs.state_proof import StateProof, verify_state
from tallystick.network.proofs.state_proof import leaf_hash as state_leaf
from tallystick.network.proofs.verdict import (
    EXIT_NOT_VERIFIED,
    Check,
    Verdict,
    expect,
    run,
    well_formed,
)
from tallystick.network.proofs.verify import Verifier
from tallystick.network.proofs.windows import (
    AUTHORISED,
    CLOSED_WINDOW,
    ENTRY_BYTES,
    NAME_BYTES,
    WINDOWS_KEY,
    WINDOWS_MARK,
    ClosedWindow,
    WindowsMark,
    window_key,
    window_start,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.blocks import U64, Hash
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import decode
from tallystick.network.wire.transactions.fields import field_fault

_VERSION: Final = 1


class Neighbour(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One entry of a closed window, at its place in the window's tree."""

    index: U64
    entry: Annotated[bytes, Meta(min_length=ENTRY_BYTES, max_length=ENTRY_BYTES)]
    path: Path


class AbsenceProof(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a node gives: the window of one deadline, as of one certified block."""

    mark: WindowsMark
    mark_proof: StateProof
    window: ClosedWindow | None
    """None: nothing was ever consumed in it."""
    window_proof: StateProof
    """Of presence or of absence, as `window` says."""
    before: Neighbour | None
    """The last entry below the place of the digest; None: that is the first place."""
    after: Neighbour | None
    """The first entry above it; None: that is the place behind the last."""
    block: BlockProof


class Absence(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One proof, complete."""

    version: Annotated[int, Meta(ge=1, lt=2**16)]
    transaction: Annotated[bytes, Meta(max_length=bounds.TRANSACTION_BYTES_MAX)]
    """Without its signatures, which the digest does not cover. It shows the deadline, or any window would do."""
    digest: Hash
    proof: AbsenceProof


ABSENCE_PROOF = Codec(AbsenceProof, bytes_max=bounds.RECEIPT_BYTES_MAX)
ABSENCE = Codec(Absence, bytes_max=bounds.RECEIPT_BYTES_MAX)


def sought(account: bytes, id_: bytes, digest: bytes) -> bytes:
    """The smallest entry that would be the digest's own: what stands below it and what is not its own may be there."""
    return account + id_ + digest + AUTHORISED


def verify_absence(absence: Absence, genesis: Genesis) -> Verdict:
    """Check one absence against the genesis document and nothing else."""
    return check_absence(Verifier(genesis), absence)


def check_absence(verifier: Verifier, absence: Absence) -> Verdict:
    """The same by a verifier that remembers the block it has seen."""
    checks = run([("form", lambda: well_formed(ABSENCE, absence))])
    if not checks[-1].ok:
        return Verdict(False, EXIT_NOT_VERIFIED, checks)
    verdict = verifier.block(absence.proof.block)
    checks = verdict.checks
    if verdict.ok:
        checks += _about(verifier, absence)
    if not checks[-1].ok:
        return Verdict(False, EXIT_NOT_VERIFIED, checks)
    assurance, height, time_ms = verdict.assurance, verdict.height, verdict.time_ms
    return Verdict(True, verdict.exit_code, checks, assurance, height, time_ms)


def _about(verifier: Verifier, absence: Absence) -> tuple[Check, ...]:
    try:
        transaction = decode(absence.transaction)
    except Refused as refusal:
        return (Check("transaction", False, refusal.detail),)
    proof = absence.proof
    root, window_ms = proof.block.result.state_root, verifier.genesis.parameters.window_ms
    start_ms = window_start(transaction.valid_until_ms, window_ms)
    place = sought(transaction.account, transaction.id, absence.digest)
    return run(
        [
            ("transaction", lambda: _this_network(verifier, absence, transaction)),
            ("identity", lambda: _identity(verifier, absence, transaction)),
            ("closed", lambda: _closed(proof, root, start_ms)),
            ("window", lambda: _window(proof, root, start_ms)),
            ("absent", lambda: _absent(proof, place)),
        ]
    )


def _this_network(verifier: Verifier, absence: Absence, transaction: Transaction) -> str:
    expect(absence.version == _VERSION, f"absence version {absence.version} is not known")
    expect(transaction.chain == verifier.chain, "the transaction is for another network")
    expect(transaction.lane == verifier.genesis.lane, "the transaction is for another lane")
    expect(
        not transaction.witnesses, "the transaction carries signatures, which nothing here covers"
    )
    fault = field_fault(transaction)
    expect(fault is None, fault or "")
    return "the transaction's bytes are canonical and for this network"


def _identity(verifier: Verifier, absence: Absence, transaction: Transaction) -> str:
    digest = verifier.digest(transaction)
    expect(digest == absence.digest, "the absence is about another digest than its transaction's")
    until_ms = transaction.valid_until_ms
    return f"digest {digest.hex()} covers its deadline: it could be ordered until {until_ms} only"


def _closed(proof: AbsenceProof, root: bytes, start_ms: int) -> str:
    value = WINDOWS_MARK.encode(proof.mark)
    held = _holds(root, WINDOWS_KEY, value, proof.mark_proof)
    expect(held, "the proof does not lead from the mark of windows to the state root")
    oldest_ms = proof.mark.oldest_ms
    expect(start_ms < oldest_ms, "the window of the deadline was not closed yet")
    return f"every window before {oldest_ms} is closed, and so is the deadline's, from {start_ms}"


def _window(proof: AbsenceProof, root: bytes, start_ms: int) -> str:
    value = None if proof.window is None else CLOSED_WINDOW.encode(proof.window)
    held = _holds(root, window_key(start_ms), value, proof.window_proof)
    expect(held, "the proof does not lead from this window's record to the state root")
    if proof.window is None:
        return "the window has no record: nothing was ever consumed in it"
    return f"the window holds {proof.window.count} entries under root {proof.window.root.hex()}"


def _absent(proof: AbsenceProof, place: bytes) -> str:
    window, before, after = proof.window, proof.before, proof.after
    if window is None:
        expect(before is None and after is None, "an empty window has no entries to show")
        return "nothing stands there, and nothing ever can"
    first = 0 if before is None else before.index + 1
    last = window.count if after is None else after.index
    expect(first == last, "something may stand between the two neighbours")
    for neighbour in (before, after):
        if neighbour is not None:
            leaf = leaf_hash(neighbour.entry)
            stands = verify_inclusion(
                leaf, neighbour.index, window.count, neighbour.path, window.root
            )
            expect(stands, "a neighbour does not stand where it is said to")
    below = before is None or before.entry < place
    above = after is None or after.entry[:NAME_BYTES] > place[:NAME_BYTES]
    expect(below and above, "the digest's place is not between the neighbours")
    return f"the digest's place is between entries {first - 1} and {last} of {window.count}, empty"


def _holds(root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    leaf = None if value is None else state_leaf(key, value)
    return verify_state(root, sha256(key).digest(), leaf, proof)
