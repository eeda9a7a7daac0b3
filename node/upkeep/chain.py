"""Levels 2 and 3: from genesis to the last final block, each header against its parent, its certificate and its contents.

A block may be certified through a descendant: its own certificate is then that descendant's, which is checked once, when the
walk gets there. Decided here: what one damaged block says of the rest (its children are judged by the link that its row of
the link table names, so one fault gives one finding). Not here: execution (`replaying`).
"""

from dataclasses import dataclass, field
from hashlib import sha256

from tallystick.contracts.consumption import TAKES_NO_ID
from tallystick.contracts.state import account_key
from tallystick.network.proofs.merkle import Log, root_of
from tallystick.network.proofs.merkle import leaf_hash as tree_leaf
from tallystick.network.proofs.receipts import OUTCOME, Outcome
from tallystick.network.proofs.state_map import StateMap, blind_of, leaf_hash
from tallystick.network.wire.blocks import NO_CHANGE, VERSION, link_of
from tallystick.network.wire.digest import ZERO
from tallystick.network.wire.faults import InvariantError, OperationalError, Refused
from tallystick.network.wire.genesis import Genesis, chain_of, genesis_hash
from tallystick.network.wire.membership import EPOCH_MEMBERS
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.ledger import BlockRecord, Ledger
from tallystick.node.core.outlines import is_whole
from tallystick.node.core.ports import Store
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.epochs import Epochs
from tallystick.node.upkeep.findings import Findings, Level, Progress
from tallystick.node.upkeep.rows import Damaged, account_row, read, read_block

_PROGRESS_BLOCKS = 200


@dataclass(slots=True)
class Walk:
    """One walk over the chain; `merkle` False: headers only."""

    store: Store
    genesis: Genesis
    epochs: Epochs
    findings: Findings
    merkle: bool
    link: bytes = ZERO
    """Of the block that the walk has reached."""
    epoch: int = 0
    """Of the next block."""
    state_root: bytes = ZERO
    """Of the last block that was whole."""
    blocks: int = 0
    """Blocks that could be read."""
    transactions: int = 0
    whole_from: int = 1
    """Height from which on blocks must have their transactions (`node.core.outlines`)."""
    taken: int = 0
    refused: int = 0
    _history: Log = field(default_factory=Log)
    _time_ms: int = 0
    _open: list[tuple[int, BlockRecord]] = field(default_factory=list)
    """Blocks that wait for the descendant whose certificate they carry."""

    def run(self, height: int, progress: Progress) -> None:
        """Look at every height up to the last final one."""
        self._begin()
        for at in range(1, height + 1):
            self._block(at)
            if at % _PROGRESS_BLOCKS == 0:
                progress("merkle" if self.merkle else "headers", at, height)
        for at, record in self._open:
            self._fault(at, f"its certificate is of height {record.certificate.height}, above all")
        progress("merkle" if self.merkle else "headers", height, height)

    def _begin(self) -> None:
        self._time_ms = self.genesis.created_ms
        first = Ledger(self.genesis, MemoryStore())
        self.link = first.link
        if self._link_row(0) != self.link:
            key = schema.at_height(schema.LINK, 0)
            self.findings.add(Level.HEADERS, key, "is not the link that genesis gives", 0)
        self.state_root = first.state.root
        self._history.append(tree_leaf(self.link))

    def _link_row(self, height: int) -> bytes:
        """The link that the table names; zeros where it names none (level 1 has said so)."""
        try:
            found = read(self.store, schema.at_height(schema.LINK, height))
        except Damaged:
            return ZERO
        return found if found is not None and len(found) == 32 else ZERO

    def _fault(self, height: int, what: str, level: Level = Level.HEADERS) -> None:
        self.findings.add(level, schema.at_height(schema.BLOCK, height), what, height)

    # -- one block -----------------------------------------------------------------------------------------------------

    def _block(self, height: int) -> None:
        named = self._link_row(height)
        try:
            record = read_block(self.store, height)
        except Damaged:
            # Level 1 has named it. What stands above is judged by the link that the table gives.
            self._go_on(named)
            return
        self.blocks += 1
        link = link_of(record.header, record.result)
        for sentence in self._header_faults(record):
            self._fault(height, sentence)
        if link != named:
            key = schema.at_height(schema.LINK, height)
            self.findings.add(Level.HEADERS, key, "is not the link of the stored block", height)
        self._certificates(height, link, record)
        if self.merkle:
            self._contents(height, record)
        self._closing(height, record)
        self.state_root = record.result.state_root
        self._time_ms = record.header.time_ms
        self._go_on(link)

    def _go_on(self, link: bytes) -> None:
        self.link = link
        self._history.append(tree_leaf(link))

    def _header_faults(self, record: BlockRecord) -> list[str]:
        header, genesis = record.header, self.genesis
        checks = (
            (header.version == VERSION, f"its version is {header.version}"),
            (header.chain == chain_of(genesis_hash(genesis)), "it is of another network"),
            (header.lane == genesis.lane, f"it is of lane {header.lane}"),
            (header.epoch == self.epoch, f"it is of epoch {header.epoch}, not {self.epoch}"),
            (header.parent_link == self.link, "its parent is not the block below it"),
            (header.history_root == self._history.root(), "its history root is another"),
            (header.time_ms >= self._time_ms, "its time is before its parent's"),
        )
        return [sentence for holds, sentence in checks if not holds]

    def _certificates(self, height: int, link: bytes, record: BlockRecord) -> None:
        certificate = record.certificate
        if not certificate.commits:
            return self._fault(height, "its certificate is of votes to prepare")
        if certificate.height > height:
            self._open.append((height, record))
            return None
        if certificate.height < height:
            return self._fault(height, f"its certificate is of height {certificate.height}")
        for below, waiting in self._open:
            if waiting.certificate.height == height and waiting.certificate != certificate:
                self._fault(below, f"its certificate is not the one of block {height}")
        self._open = [each for each in self._open if each[1].certificate.height != height]
        if certificate.link != link:
            return self._fault(height, "its certificate is of another block")
        if certificate.epoch != record.header.epoch:
            return self._fault(height, f"its certificate is of epoch {certificate.epoch}")
        try:
            self.epochs.check(certificate)
        except Refused as refused:
            return self._fault(height, f"its certificate does not hold: {refused.detail}")
        return None

    def _closing(self, height: int, record: BlockRecord) -> None:
        """A block that names other members is the last of its epoch; their row must be the one that it names."""
        if record.result.next_epoch == NO_CHANGE:
            return
        self.epoch += 1
        key = schema.at_height(schema.EPOCH, self.epoch)
        try:
            stored = read(self.store, key)
            if stored is None:
                raise Damaged("is missing")
            self.epochs.learn(EPOCH_MEMBERS.decode(stored[8:]), record.result.next_epoch)
            if int.from_bytes(stored[:8], "big") != height:
                raise Damaged(f"does not name block {height}")
        except (Damaged, Refused) as fault:
            what = fault.detail if isinstance(fault, Refused) else str(fault)
            self.findings.add(Level.HEADERS, key, what, height)

    # -- what it holds -------------------------------------------------------------------------------------------------

    def _contents(self, height: int, record: BlockRecord) -> None:
        outcomes = record.outcomes
        ids = self._ids(height, record)
        if root_of(ids) != record.header.tx_root:
            self._fault(height, "its transactions do not give its root", Level.MERKLE)
        if root_of([tree_leaf(each) for each in outcomes]) != record.result.receipts_root:
            self._fault(height, "its outcomes do not give its root", Level.MERKLE)
        self.transactions += len(ids)
        for index, encoded in enumerate(outcomes):
            try:
                outcome = OUTCOME.decode(encoded)
            except Refused as refused:
                sentence = f"outcome {index} does not decode: {refused.detail}"
                self._fault(height, sentence, Level.MERKLE)
                continue
            self._consumed(height, index, outcome)

    def _ids(self, height: int, record: BlockRecord) -> list[bytes]:
        """Body ids; below the snapshot that the ledger was joined from, those that the outcomes name."""
        if is_whole(record):
            return [body_id(raw) for raw in record.bodies]
        if height >= self.whole_from:
            self._fault(height, "transactions of it are missing", Level.MERKLE)
        try:
            outcomes = [OUTCOME.decode(encoded) for encoded in record.outcomes]
            kept = [raw or None for raw in record.bodies]
            if any(
                raw is None and each.reason in TAKES_NO_ID
                for raw, each in zip(kept, outcomes, strict=True)
            ):
                self._fault(height, "a transaction that took no id is missing", Level.MERKLE)
            return [
                each.body_id if raw is None else body_id(raw)
                for raw, each in zip(kept, outcomes, strict=True)
            ]
        except (Refused, ValueError):
            return []  # the root, or the outcomes' own checks, say so

    def _consumed(self, height: int, index: int, outcome: Outcome) -> None:
        """The row that says that this transaction can never be ordered again, where a reader looks for its place."""
        place = schema.place(height, index)
        if outcome.reason in TAKES_NO_ID:
            self.refused += 1
            key, length = schema.REFUSED + outcome.body_id, 12
            wanted = place
        else:
            self.taken += 1
            key, length = schema.TAKEN + outcome.account + outcome.id, 44
            wanted = outcome.digest + place
        try:
            found = read(self.store, key)
        except Damaged as damaged:
            return self.findings.add(Level.MERKLE, key, str(damaged), height)
        if found is None:
            self.findings.add(Level.MERKLE, key, f"transaction {index} has no row", height)
        elif found[:length] != wanted:
            self.findings.add(Level.MERKLE, key, f"is not the place of transaction {index}", height)
        return None


def check_state(store: Store, height: int, certified: bytes, findings: Findings) -> bytes:
    """The root of the stored accounts and records, against the last certified one (at height 0: the one of genesis)."""
    leaves: list[tuple[bytes, bytes]] = []
    try:
        for key, stored in store.scan(schema.ACCOUNT):
            written, seed, value = account_row(stored)
            if not 0 <= written <= height:
                findings.add(Level.MERKLE, key, f"was written at height {written}", written)
                continue
            name = account_key(key[1:])
            leaves.append((sha256(name).digest(), leaf_hash(name, value, blind_of(seed, written))))
        for key, value in store.scan(schema.RECORD):
            leaves.append((sha256(key[1:]).digest(), leaf_hash(key[1:], value, ZERO)))
    except (Damaged, OperationalError) as error:
        findings.add(
            Level.MERKLE, b"", f"the state cannot be read whole: {error}", table="accounts"
        )
        return ZERO
    leaves.sort()
    state = StateMap()
    try:
        state.load(leaves)
    except InvariantError as error:
        findings.add(Level.MERKLE, b"", str(error), table="accounts")
        return ZERO
    if state.root != certified:
        what = (
            "the stored accounts and records do not give the certified state root"
            if height
            else "the stored accounts and records are not those of genesis"
        )
        findings.add(Level.MERKLE, b"", what, height, table="accounts")
    return state.root
