"""Refuted: that whatever a vote rests on is on the disk when the vote leaves."""

from msgspec.structs import replace

from tallystick.consensus.pbft.messages import MESSAGE, Vote
from tallystick.network.wire.faults import present
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.block_data import BLOCK_DATA, BlockData, block_of
from tallystick.node.core.effects import Outgoing
from tallystick.node.core.events import Submit, Wait
from tests.unit.core.lab import Box, Lab


class Watched(Lab):
    """Remembers, for each vote of member 1, whether its disk holds `raw`, of which member 0 sends it nothing."""

    raw = b""

    def __init__(self) -> None:
        self.on_disk: list[bool] = []
        super().__init__()

    def _release(self, box: Box, outgoing: Outgoing) -> None:
        frame = getattr(outgoing, "frame", b"")
        consensus, bodies = (
            frame[:1] == bytes([each]) for each in (Channel.CONSENSUS, Channel.BODIES)
        )
        if box.node == 1 and consensus and isinstance(MESSAGE.decode(frame[1:]), Vote):
            self.on_disk.append(any(self.raw in row for row in box.store.snapshot().values()))
        self.cut = {(0, 1)} if self.raw and box.node == 0 and bodies else set()
        super()._release(box, outgoing)


def test_a_vote_waits_for_the_row_of_a_payment_that_came_a_moment_ago() -> None:
    """The same payment is handed to the leader and to member 1, whose batch still waits for company when the block comes."""
    lab = Watched()
    lab.answer(0, lab.issue())
    lab.raw, other = lab.pay(), lab.pay()
    box = lab.box(1)
    box.checks_held = []
    for token, raw in ((901, lab.raw), (902, other)):
        lab.post(box, Submit(token, (raw,), Wait.FINAL, None))
    lab.settle()
    first, box.checks_held = box.checks_held[0], None
    lab._check(box, first)
    lab.settle()
    assert body_id(lab.raw) in lab.core(1).pool
    lab.on_disk.clear()
    lab.submit(0, lab.raw)
    assert lab.on_disk == [True, True]


def test_the_row_of_a_block_above_the_final_ones_is_never_swept() -> None:
    """What is uncommitted may be too much for memory. Rows of voted blocks that memory had no room for were swept with the
    dead ones, every 64 heights: after a restart nobody might have had a prepared block's bytes."""
    lab = Lab()
    lab.answer(0, lab.issue())
    core = lab.core(1)
    record = present(core.ledger.block(core.ledger.height), "the issue's block")
    prepared = BlockData(replace(record.header, height=1_000), record.result, b"")
    dead = BlockData(replace(record.header, height=1), record.result, b"")
    rows = {schema.PENDING + block_of(data).link: BLOCK_DATA.encode(data) for data in (prepared, dead)}  # fmt: skip
    lab.box(1).store.write([rows])
    while core.ledger.height < 65:
        lab.answer(0, lab.pay())
    assert lab.box(1).store.get(schema.PENDING + block_of(prepared).link) is not None
    assert lab.box(1).store.get(schema.PENDING + block_of(dead).link) is None
