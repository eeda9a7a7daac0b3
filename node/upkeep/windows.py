"""Level 3: the entries of every window, against what its record in the state says of them.

An open window's rows give its running hash, in their order; a closed one's give its root, sorted. Not here: whether the
records are the certified ones (`chain.check_state`), whether entries are those of the blocks (level 4 makes them again).
"""

from tallystick.network.proofs.merkle import leaf_hashes, root_of
from tallystick.network.proofs.windows import (
    ENTRY_BYTES,
    OpenWindow,
    window_record,
)
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.node.core import schema
from tallystick.node.core.closing import WindowEntries
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.findings import Findings, Level
from tallystick.node.upkeep.rows import Damaged, read

_RECORDS = schema.RECORD + b"window/"


def check_windows(store: Store, rows: int, findings: Findings) -> None:
    """Every window's rows, and that there are no others. `rows`: how many the table holds."""
    seen = 0
    try:
        for key, value in store.scan(_RECORDS):
            if len(key) == len(_RECORDS) + 8:
                seen += _check(store, key, value, findings)
    except OperationalError:
        return  # told by the scan of all rows
    if rows > seen and not findings.found:
        what = f"has {rows - seen} rows more than windows have"
        findings.add(Level.MERKLE, schema.CONSUMED, what)


def _check(store: Store, key: bytes, value: bytes, findings: Findings) -> int:
    """One window; how many rows it has."""
    try:
        record = window_record(value)
        entries = _entries(store, int.from_bytes(key[-8:], "big"), record.count)
    except (Damaged, Refused) as fault:
        findings.add(Level.MERKLE, key, fault.detail if isinstance(fault, Refused) else str(fault))
        return 0
    if isinstance(record, OpenWindow):
        held = (entries.rows, entries.running) == (record.blocks, record.running)
    else:
        leaves = leaf_hashes(entries.between(0, entries.count))
        held = root_of(leaves) == record.root
    if not held or entries.count != record.count:
        findings.add(Level.MERKLE, key, "is not what the entries of the window give")
    return entries.rows


def _entries(store: Store, start_ms: int, count: int) -> WindowEntries:
    entries = WindowEntries()
    while entries.count < count:
        row = read(store, schema.consumed_row(start_ms, entries.rows))
        if not row or len(row) % ENTRY_BYTES:
            raise Damaged(f"row {entries.rows} of its entries is missing or cut")
        entries.add(row)
    return entries
