"""`tallystick ledger verify`: the levels in their order over one ledger, which nobody else writes meanwhile.

Decided here: what is looked at in which order, and that a level is begun whatever the one before it found: the more is known
of a damaged ledger the better. Nothing is written except to the scratch ledger of level 4.
"""

from collections.abc import Callable

from tallystick.network.proofs.certificates import Verify
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.ledger import whole_from
from tallystick.node.core.ports import Store
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.chain import Walk, check_state
from tallystick.node.upkeep.epochs import Epochs
from tallystick.node.upkeep.findings import Findings, Level, Progress, Report, silent
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.replaying import Replay, compare_rows
from tallystick.node.upkeep.rows import check_rows, last_final
from tallystick.node.upkeep.windows import check_windows


def verify(
    store: Store,
    genesis: Genesis,
    level: Level,
    progress: Progress = silent,
    *,
    scratch: Callable[[], WritableStore] = MemoryStore,
    check_vote: Verify = verify_vote,
) -> Report:
    """Look at the whole ledger. `scratch` opens an empty database for level 4, as large as this one gets."""
    findings = Findings()
    whole_from = _whole_from(store, level)
    height, link, fault = last_final(store)
    if fault is not None:
        findings.add(Level.RECORDS, schema.FINAL, fault)
    counts = check_rows(store, genesis.engine, height, findings, progress)
    walk = Walk(store, genesis, Epochs(genesis, check_vote), findings, level >= Level.MERKLE)
    walk.whole_from = whole_from
    root = b""
    if level >= Level.HEADERS:
        walk.run(height, progress)
        if not findings.found and walk.link != link:
            findings.add(Level.HEADERS, schema.FINAL, "is not the link of the last block", height)
    if level >= Level.MERKLE:
        progress("state", 0, 0)
        root = check_state(store, height, walk.state_root, findings)
        if walk.blocks == height:
            _count(schema.TAKEN, walk.taken, counts.of, findings)
            _count(schema.REFUSED, walk.refused, counts.of, findings)
        check_windows(store, counts.of[schema.CONSUMED], findings)
    if level >= Level.EXECUTE:
        _execute(store, genesis, height, findings, progress, scratch)
    return Report(
        level,
        height,
        link,
        root,
        counts.rows,
        walk.blocks,
        walk.transactions,
        tuple(findings.found),
        findings.left_out,
        whole_from,
    )


def _whole_from(store: Store, level: Level) -> int:
    """Where whole blocks begin. `OperationalError` if they would have to be executed from genesis and are not there."""
    first = whole_from(store)
    if level >= Level.EXECUTE and first > 1:
        raise OperationalError(
            f"{RejectReason.BELOW_SNAPSHOT.code}: this ledger was joined from a snapshot and has no transactions below block"
            f" {first}, so nothing can be executed from genesis. Use level merkle here, and execute at another node"
        )
    return first


def _count(table: bytes, wanted: int, have: dict[bytes, int], findings: Findings) -> None:
    """Each transaction has its row (`Walk` looked at each); more rows than transactions are nobody's."""
    surplus = have[table] - wanted
    if surplus > 0:
        findings.add(Level.MERKLE, table, f"has {surplus} rows more than there are transactions")


def _execute(
    store: Store,
    genesis: Genesis,
    height: int,
    findings: Findings,
    progress: Progress,
    scratch: Callable[[], WritableStore],
) -> None:
    made = scratch()
    try:
        ledger = Replay(store, genesis, made, findings).run(height, progress)
        if ledger.height == height:
            compare_rows(store, made, findings)
    finally:
        made.close()
