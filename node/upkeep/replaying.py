"""Level 4: every certified block again through the contracts, from genesis, into a ledger of its own beside the stored one.

What comes out must be the certified link at every height, and in the end every stored row. A block that is whole and
certified and gives something else here is a divergence: no disk did that. Not here: whether certificates hold (`chain`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tallystick.network.proofs.receipts import OUTCOME
from tallystick.network.wire.faults import InvariantError, OperationalError, Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.admission import BodyChecker
from tallystick.node.core.events import CheckedBody
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import BlockRecord, Ledger
from tallystick.node.core.ports import Store
from tallystick.node.upkeep.findings import Findings, Level, Progress
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.rows import Damaged, read_block

BLOCKS_PER_WRITE = 64
"""Blocks between two writes to the scratch ledger: a few thousand rows in memory."""

DERIVED = (
    schema.ACCOUNT,
    schema.RECORD,
    schema.TAKEN,
    schema.REFUSED,
    schema.CONSUMED,
    schema.LINK,
    schema.EPOCH,
)
"""Tables that execution makes again, byte for byte."""


@dataclass(slots=True)
class Replay:
    """One re-execution of what `source` holds; `scratch` is empty and gets every row."""

    source: Store
    genesis: Genesis
    scratch: WritableStore
    findings: Findings

    def run(self, height: int, progress: Progress) -> Ledger:
        """Up to `height`, or to the first block that cannot be executed; the ledger that came out."""
        ledger = Ledger(self.genesis, self.scratch)
        check = BodyChecker(self.genesis).check
        for at in range(1, height + 1):
            try:
                record = read_block(self.source, at)
            except Damaged:
                self._fault(at, "nothing from here on can be executed", diverged=False)
                break
            bodies = [check(raw) for raw in record.bodies]
            layer = self._executed(ledger, record, bodies)
            if layer is None:
                break
            ledger.apply(layer.link, record.certificate)
            if at % BLOCKS_PER_WRITE == 0:
                self.scratch.write([ledger.drain()])
                progress("execute", at, height)
        self.scratch.write([ledger.drain()])
        progress("execute", ledger.height, height)
        return ledger

    def _executed(
        self, ledger: Ledger, record: BlockRecord, bodies: Sequence[object]
    ) -> Layer | None:
        header = record.header
        good: list[CheckedBody] = []
        for index, body in enumerate(bodies):
            if not isinstance(body, CheckedBody):
                self._fault(header.height, f"transaction {index} is not valid", diverged=True)
                return None
            good.append(body)
        if header.parent_link != ledger.link:
            self._fault(header.height, "does not stand on the block below", diverged=False)
            return None
        if record.certificate.epoch != ledger.members.epoch:
            self._fault(header.height, "its certificate is of another epoch", diverged=False)
            return None
        try:
            fault = ledger.block_fault(ledger.link, header.time_ms, good)
            if fault is not None:
                self._fault(header.height, f"may not be a block: {fault.code}", diverged=True)
                return None
            layer = ledger.execute(ledger.link, header.time_ms, NodeId(header.proposer), good)
        except (InvariantError, Refused) as error:
            self._fault(header.height, f"does not execute: {error}", diverged=True)
            return None
        if layer.header == header and layer.result == record.result:
            return layer
        self._fault(header.height, difference(layer, record), diverged=layer.header == header)
        return None

    def _fault(self, height: int, what: str, diverged: bool) -> None:
        key = schema.at_height(schema.BLOCK, height)
        self.findings.add(Level.EXECUTE, key, what, height, diverged=diverged)


def difference(layer: Layer, record: BlockRecord) -> str:
    """Where our execution and the stored block part, as exactly as can be told."""
    ours = layer.header
    for name in ("version", "chain", "lane", "epoch", "height", "history_root", "tx_root"):
        if getattr(ours, name) != getattr(record.header, name):
            return f"its header's {name} is not what its contents give"
    for index, (mine, stored) in enumerate(
        zip(layer.changes.outcomes, record.outcomes, strict=False)
    ):
        if mine != stored:
            outcome = OUTCOME.decode(mine)
            return f"our execution differs from transaction {index} on ({outcome.digest.hex()})"
    if layer.result.state_root != record.result.state_root:
        return (
            f"our execution gives the state root {layer.result.state_root.hex()},"
            f" the certified one is {record.result.state_root.hex()}"
        )
    return "our execution gives another result"


def compare_rows(stored: Store, made: Store, findings: Findings) -> None:
    """Every derived row against the one that execution made: differing, missing and surplus ones are named."""
    for table in DERIVED:
        for key, was, is_ in differing(stored, made, table):
            if was is None:
                what = "is missing"
            elif is_ is None:
                what = "stands there and execution makes no such row"
            else:
                what = "is not the row that execution makes"
            findings.add(Level.EXECUTE, key, what)


def differing(
    one: Store, other: Store, table: bytes
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """(key, value in one, value in other) where the two differ, in no order; what a disk cannot read, level 1 names."""
    for key, value in _whole(one, table):
        if (beside := _value(other, key)) != value:
            yield key, value, beside
    for key, value in _whole(other, table):
        if _value(one, key) is None:
            yield key, None, value


def _value(store: Store, key: bytes) -> bytes | None:
    try:
        return store.get(key)
    except OperationalError:
        return None


def _whole(store: Store, table: bytes) -> Iterator[tuple[bytes, bytes]]:
    try:
        yield from store.scan(table)
    except OperationalError:
        return
