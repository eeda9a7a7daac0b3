"""A ledger made from a snapshot: outlines of all blocks, then the state of the last one. Nothing is executed, nothing believed.

What covers what. Headers and results: links, up to a quorum's certificate. Outcomes: `receipts_root`; body ids, and the
transactions that took no id: `tx_root`; so the rows of exactly-once follow from certified bytes and none can be left out. Members of an epoch: the
digest in the block that closed the one before. Accounts and records, windows among them: the state root of the last block;
the entries of a window: its record.
Decided here: that order, and what is durable when. It is a ledger only once the last batch is in, which names its last final
block: whatever was cut off before is gone on with or thrown away. Not here: whom to ask (`joining`).
"""

from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from tallystick.network.proofs.certificates import Certificate, Verify
from tallystick.network.wire.blocks import NO_CHANGE, link_of
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import OperationalError, Refused, invariant
from tallystick.network.wire.genesis import Genesis
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.membership import EPOCH_MEMBERS, EpochMembers, members_digest
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.layers import Pairs
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import BlockOutline, Outlines, StateChunk
from tallystick.node.core.outlines import check_outline, rows_of
from tallystick.node.core.snapshots import STATE_TABLES
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.chain import check_state
from tallystick.node.upkeep.epochs import Epochs
from tallystick.node.upkeep.findings import Findings
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.rows import read_block, row_fault
from tallystick.node.upkeep.windows import check_windows

ROWS_PER_TRANSACTION_MAX = 4
"""Rows of the state that one transaction can add: an account, a window, a row of its entries, and one that nothing adds yet."""

ROWS_DELETED_AT_ONCE = 4_096
"""Of a state that is thrown away, in one write."""


class _Progress(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The row `schema.JOINING`."""

    height: int
    """Outlines are here up to this block."""
    transactions: int
    """In all of them."""
    certificate: Certificate | None
    """Over the block whose state is being taken."""
    source: int
    """Who gives it, by node id."""
    number: int
    """Its next chunk."""
    rows: int
    """Of it that are here."""


_PROGRESS = Codec(_Progress, bytes_max=64 * 1024)


class Snapshot:
    """One ledger in the making. `take_outlines` and `take_rows` raise `Refused` for what does not hold, and keep nothing of it."""

    def __init__(
        self, genesis: Genesis, target: WritableStore, verify: Verify = verify_vote
    ) -> None:
        self._genesis = genesis
        self._target = target
        self._epochs = Epochs(genesis, verify)
        first = Ledger(genesis, MemoryStore())
        self._first_rows = len(first.drain())
        self.link: bytes = first.link
        """Of the last block that is here."""
        self.epoch = 0
        """Of the next block."""
        stored = target.get(schema.JOINING)
        if stored is None:
            self._at = _Progress(0, 0, None, 0, 0, 0)
            self._write({schema.at_height(schema.LINK, 0): first.link})
        else:
            self._go_on(_PROGRESS.decode(stored))

    def _go_on(self, at: _Progress) -> None:
        """Believe what an earlier call verified before it was written; the last look at the whole ledger judges it again."""
        self._at = at
        found = self._target.get(schema.at_height(schema.LINK, at.height))
        if found is None:
            raise OperationalError(f"the link of height {at.height} is missing")
        self.link = found
        for _, stored in self._target.scan(schema.EPOCH):
            members = EPOCH_MEMBERS.decode(stored[8:])
            self._epochs.learn(members, members_digest(members))
            self.epoch = max(self.epoch, members.epoch)

    def _write(self, pairs: Pairs) -> None:
        self._target.write([pairs | {schema.JOINING: _PROGRESS.encode(self._at)}])

    # -- blocks --------------------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        """Of the last block that is here."""
        return self._at.height

    def take_outlines(self, answer: Outlines, anchor: Certificate | None = None) -> int:
        """Check a run above our last block and keep it; how many blocks it had, 0 if the sender has none.

        `anchor`: a certificate over the last block that is wanted, which a run may end with in the place of its own.
        """
        blocks = answer.blocks
        if not blocks:
            return 0
        ends = blocks[-1].header.height
        certificate = answer.certificate
        if anchor is not None and anchor.height <= ends:
            blocks = blocks[: max(0, anchor.height - self.height)]
            certificate = anchor
        if not blocks or certificate is None:
            raise _false(f"blocks up to {ends} come without a certificate")
        link = self._chained(blocks)
        if (certificate.height, certificate.link) != (blocks[-1].header.height, link):
            raise _false(f"the certificate is not of block {blocks[-1].header.height}")
        self.check(certificate)
        self._keep(blocks, certificate, answer.opens)
        return len(blocks)

    def _chained(self, blocks: tuple[BlockOutline, ...]) -> bytes:
        """The link of the last one, if each stands on the one before and all are of one epoch."""
        link = self.link
        for height, block in enumerate(blocks, self.height + 1):
            header = block.header
            if header.height != height or header.parent_link != link:
                raise _false(f"block {height} does not stand on the one below")
            if header.epoch != self.epoch:
                raise _false(f"block {height} is of another epoch")
            link = link_of(header, block.result)
        return link

    def check(self, certificate: Certificate) -> None:
        """`Refused` unless a quorum of its epoch's members voted to commit."""
        if not certificate.commits or certificate.epoch != self.epoch:
            raise Refused(
                RejectReason.BAD_CERTIFICATE,
                f"the certificate of block {certificate.height} does not commit in epoch {self.epoch}",
            )
        self._epochs.check(certificate)

    def _keep(
        self,
        blocks: tuple[BlockOutline, ...],
        certificate: Certificate,
        opens: EpochMembers | None,
    ) -> None:
        pairs: Pairs = {}
        count, link = 0, self.link
        for block in blocks:
            outcomes = check_outline(block)
            pairs.update(rows_of(block, outcomes, certificate))
            link = link_of(block.header, block.result)
            pairs[schema.at_height(schema.LINK, block.header.height)] = link
            count += len(outcomes)
        last = blocks[-1]
        epoch = self.epoch
        if last.result.next_epoch != NO_CHANGE:
            if opens is None or opens.epoch != epoch + 1:
                raise _false(f"who votes after block {last.header.height} is not said")
            self._epochs.learn(opens, last.result.next_epoch)
            epoch += 1
            pairs[schema.at_height(schema.EPOCH, epoch)] = last.header.height.to_bytes(
                8, "big"
            ) + EPOCH_MEMBERS.encode(opens)
        self._at = replace(
            self._at,
            height=last.header.height,
            transactions=self._at.transactions + count,
        )
        self.link, self.epoch = link, epoch
        self._write(pairs)

    # -- the state of the last one -------------------------------------------------------------------------------------

    @property
    def taking(self) -> tuple[int, int, int] | None:
        """(source, height, number of the next chunk) of the state that is being taken."""
        at = self._at
        return None if at.certificate is None else (at.source, at.certificate.height, at.number)

    def begin_state(self, certificate: Certificate, source: int) -> None:
        """The state of the block that this certificate is over, which must be our last one, comes from `source` now."""
        if (certificate.height, certificate.link) != (self.height, self.link):
            raise _false(f"the state is not of block {self.height}")
        self.drop_state()
        self._at = replace(self._at, certificate=certificate, source=source, number=1, rows=0)
        self._write({})

    def take_rows(self, chunk: StateChunk) -> bool:
        """Keep the next rows; True once they were the last. They are judged together, by `finish`."""
        at = self._at
        invariant(at.certificate is not None, "rows of a state that was not begun")
        if (chunk.height, chunk.number) != (self.height, at.number):
            raise _false(f"chunk {chunk.number} of height {chunk.height} is not the one asked for")
        rows = dict(chunk.rows)
        if not chunk.last and not rows:
            raise _false(f"chunk {chunk.number} is empty, and not the last")
        count = at.rows + len(rows)
        if len(rows) != len(chunk.rows) or count > self._rows_max:
            raise _false(f"chunk {chunk.number}: more rows than a state can have")
        for key, value in rows.items():
            if key[:1] not in STATE_TABLES:
                raise _false(f"row {key.hex()} is not of the state")
            if (fault := row_fault(key, value, self._genesis.engine)) is not None:
                raise _false(f"row {key.hex()} {fault}")
        self._at = replace(at, number=at.number + 1, rows=count)
        self._write({**rows})
        return chunk.last

    @property
    def _rows_max(self) -> int:
        return 1_000 + self._first_rows + ROWS_PER_TRANSACTION_MAX * self._at.transactions + self.height  # fmt: skip

    def drop_state(self) -> None:
        """Forget the state as far as it was taken; blocks stay."""
        for table in STATE_TABLES:
            while True:
                rows = islice(self._target.scan(table), ROWS_DELETED_AT_ONCE)
                gone: Pairs = {key: None for key, _ in rows}
                if not gone:
                    break
                self._target.write([gone])
        self._at = replace(self._at, certificate=None, source=0, number=0, rows=0)
        self._write({})

    def finish(self) -> None:
        """The rows give the certified state root: make it a ledger, in one batch. `Refused`: they do not, and are dropped."""
        invariant(self._at.certificate is not None, "a state without its certificate")
        root = read_block(self._target, self.height).result.state_root
        findings = Findings()
        check_state(self._target, self.height, root, findings)
        if (
            not findings.found
        ):  # the state's records are certified, and say what entries their windows have
            entries = sum(1 for _ in self._target.scan(schema.CONSUMED))
            check_windows(self._target, entries, findings)
        if findings.found:
            self.drop_state()
            raise _false(findings.found[0].sentence())
        height = self.height.to_bytes(8, "big")
        pairs: Pairs = {
            schema.FINAL: height + self.link,
            schema.WHOLE_FROM: (self.height + 1).to_bytes(8, "big"),
            schema.JOINING: None,
        }
        self._target.write([pairs])


def _false(what: str) -> Refused:
    return Refused(RejectReason.BAD_PROOF, what)
