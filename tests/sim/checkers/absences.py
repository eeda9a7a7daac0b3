"""A payment whose window is closed has a receipt of its own, or is proven absent: never both, never neither (I8, I11)."""

from collections.abc import Iterable

from msgspec.structs import replace

from tallystick.network.proofs.absence import Absence, verify_absence
from tallystick.network.proofs.windows import WINDOWS_KEY, WINDOWS_MARK, window_start
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import encode
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.reading import LedgerReader
from tests.sim.checkers import hold
from tests.sim.checkers.chain import Model
from tests.sim.crypto import Bodies


def check_absences(
    name: str,
    ledger: Ledger,
    reader: LedgerReader,
    model: Model,
    bodies: Bodies,
    raws: Iterable[bytes],
) -> int:
    """Ask node `name` for the absence of each; how many were proven. Votes must be checked by the caller's means."""
    return sum(_proven(name, ledger, reader, model, bodies, raw) for raw in raws)


def _proven(
    name: str, ledger: Ledger, reader: LedgerReader, model: Model, bodies: Bodies, raw: bytes
) -> bool:
    checked = bodies.check(raw)
    if not isinstance(checked, CheckedBody):
        return False
    lost, digest = checked.transaction, checked.digest
    genesis: Genesis = ledger.genesis
    mark = WINDOWS_MARK.decode(ledger.record(WINDOWS_KEY) or b"")
    start_ms = window_start(lost.valid_until_ms, genesis.parameters.window_ms)
    own = digest in model.places
    try:
        proof = reader.absence(lost.account, lost.id, digest, lost.valid_until_ms)()
    except Refused as refused:
        ordered = refused.reason is RejectReason.ALREADY_ORDERED
        if not ordered:
            hold(start_ms >= mark.oldest_ms, "I11", f"{name} has no proof of a closed window")
            return False
        # The id may have been taken by another digest: then this one was ordered by its owner, and rejected.
        late = model.settled_ids.get(lost.account + lost.id, digest) != digest
        hold(own or late, "I8", f"{name} says of a payment that nobody ordered that it was ordered")
        return False
    hold(not own, "I8", f"{name} proves the absence of a payment that was ordered")
    absence = Absence(1, encode(replace(lost, witnesses=())), digest, proof)
    verdict = verify_absence(absence, genesis)
    hold(verdict.ok, "I11", f"an absence by {name} does not verify: {verdict.failed}")
    return True
