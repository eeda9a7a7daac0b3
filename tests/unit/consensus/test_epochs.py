"""One engine, one epoch: nothing stands on its last block, and nothing of it is carried into the next engine but the guard."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from tallystick.consensus import api
from tallystick.consensus.accountability.guard import GUARD_RECORD, Guard
from tallystick.consensus.api import Block, Restored, Setup
from tallystick.consensus.pbft import Pbft
from tallystick.consensus.pbft.messages import (
    Decided,
    Proposal,
    Standing,
    ViewChange,
    Vote,
    epoch_of,
)
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, proposal_message
from tests.unit.consensus.table import (
    CHAIN,
    Keys,
    Table,
    describe,
    heard,
    is_commit,
    make_block,
    signed_vote,
)


def read(data: bytes) -> Block | None:
    """As the table's blocks, but one whose name begins with "last" closes its epoch."""
    block = describe(data)
    return block and changed(block, closes=b"last" in block.data)


def block_of(height: int, parent: Link, name: str) -> Block:
    return changed(make_block(height, parent, name), closes=name.startswith("last"))


class Drained(Table):
    """The block of height `last` closes epoch 0; `turn` gives members their next engine, as an owner does."""

    def __init__(self, last: int, members: int = 4, pipeline: int = 2, block_max: int = 1) -> None:
        self.last = last
        super().__init__(members, pipeline, block_max)

    def setup(self, node: NodeId) -> Setup:
        return replace(super().setup(node), describe=read)

    def _carry_out(self, seat: object, effect: api.Effect) -> api.Event | None:
        if isinstance(effect, api.MakeBlock) and effect.height == self.last:
            return api.BlockMade(effect.parent_link, block_of(effect.height, effect.parent_link, "last"), 1)  # fmt: skip
        return super()._carry_out(seat, effect)  # type: ignore[arg-type]

    def turn(self, *nodes: int) -> None:
        """Epoch 1 begins with members 0, 2, 3 and 9 for those who have the last block of epoch 0."""
        for node in nodes:
            seat = self.seats[NodeId(node)]
            disk = seat.disk
            assert disk.height == self.last
            disk.record = None
            members = {NodeId(each): bytes([each]) * 32 for each in (0, 2, 3, 9)}
            setup = replace(self.setup(seat.node), epoch=Epoch(1), vote_keys=members)
            told = Restored(None, disk.guard, disk.final, disk.height, disk.link, ())
            seat.engine = Pbft(setup, Keys(seat.node), told, self.now_ms)
            self.connect(node)

    def finish(self) -> None:
        """Everybody has the last block of epoch 0."""
        self.hear(0, api.WorkWaiting(9, 9, 9))
        self.deliver()
        assert self.heights() == [self.last] * self.members


# -- the boundary ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", [1, 2, 3, 8])
def test_epoch_change_full_pipeline(pipeline: int) -> None:
    """P18: however much waits, nobody proposes, judges or votes for anything above the block that closes the epoch."""
    table = Drained(last=3, pipeline=pipeline)
    table.hear(0, api.WorkWaiting(9, 9, 9))
    proposed: list[Proposal] = []
    voted: list[Vote] = []
    for _ in range(200):
        proposed += table.said(Proposal)
        voted += table.said(Vote)
        table.deliver(rounds=1)
        table.hear(0, api.WorkWaiting(9, 9, 9))
    blocks = [read(each.block) for each in proposed]
    assert max(block.height for block in blocks if block) == 3
    assert max(vote.height for vote in voted) == 3
    assert all(judge.block.height <= 3 for seat in table.seats.values() for judge in seat.judged)
    assert table.heights() == [3] * 4
    assert table.chains_agree()
    status = table.engine(0).status()
    assert status.in_flight == 0


def child_of_the_last(table: Drained) -> Proposal:
    """What a hostile leader may propose on it."""
    last = next(block for block in table.known.values() if block.height == table.last)
    child = make_block(table.last + 1, last.link, "child")
    place = (CHAIN, 0, Epoch(0), View(0), child.height, child.link, child.parent_link)
    return Proposal(Epoch(0), View(0), child.data, Keys(NodeId(0)).sign(proposal_message(*place)))


@pytest.mark.parametrize("final", [False, True])
def test_a_hostile_leaders_child_of_the_last_block_is_not_even_judged(final: bool) -> None:
    table = Drained(last=1)
    table.hear(0, api.WorkWaiting(1, 1, 1))
    table.deliver(lambda _, __, m: final or not is_commit(m))
    assert table.heights() == [int(final)] * 4
    for node in (1, 2, 3):
        judged = len(table.seats[NodeId(node)].judged)
        seen = table.hear(node, heard(0, child_of_the_last(table)))
        assert not [each for each in seen if isinstance(each, api.Say)]
        assert len(table.seats[NodeId(node)].judged) == judged


def test_a_last_block_that_was_only_prepared_is_the_tip_and_still_the_last() -> None:
    table = Drained(last=1)
    table.hear(0, api.WorkWaiting(1, 1, 1))
    table.deliver(lambda _, __, m: not is_commit(m))
    assert table.heights() == [0] * 4
    for node in table.seats:
        table.hear(node, api.WorkWaiting(5, 5, 5))
    table.run(400)
    assert table.heights() == [1] * 4
    assert len({seat.disk.link for seat in table.seats.values()}) == 1
    assert all(judge.block.height == 1 for seat in table.seats.values() for judge in seat.judged)


def test_a_last_block_that_vanished_with_its_view_closes_nothing() -> None:
    table = Drained(last=1)
    table.hear(0, api.WorkWaiting(1, 1, 1))
    table.lose()
    table.last = 99
    for node in table.seats:
        table.hear(node, api.WorkWaiting(5, 5, 5))
    table.run(600)
    assert min(table.heights()) >= 2


# -- the next engine ---------------------------------------------------------------------------------------------------


def test_the_next_epoch_begins_with_no_view_and_no_certificate() -> None:
    table = Drained(last=2)
    table.finish()
    table.turn(0, 2, 3)
    engine = table.engine(2)
    assert (engine.status().view, engine.status().final_height) == (0, 2)
    table.lose()
    table.tick(2_000, 2)
    table.tick(2_000, 2)
    (change,) = table.said(ViewChange, sender=2)
    assert (change.epoch, change.view, change.certificate) == (1, 1, None)


def test_the_next_epoch_goes_on_from_the_last_block_with_its_own_quorum() -> None:
    table = Drained(last=1)
    table.finish()
    table.turn(0, 2, 3)
    table.last = 99
    table.lose()
    for node in (0, 2, 3):
        table.hear(node, api.PeerUp(NodeId(9)))
        table.hear(node, api.WorkWaiting(2, 2, 2))
    table.deliver(lambda sender, to, _: {1, 9}.isdisjoint((sender, to)))
    first, left, *others = table.heights()
    assert (left, others) == (1, [first, first])
    assert first >= 2
    final = table.seats[NodeId(0)].disk.final
    assert final is not None
    assert final.epoch == 1


def test_an_old_leader_leads_the_next_epoch_although_its_guard_has_signed_before() -> None:
    table = Drained(last=1)
    table.finish()
    guard = table.seats[NodeId(0)].disk.guard
    assert guard is not None
    table.turn(0)
    seen = table.hear(0, api.WorkWaiting(1, 1, 1))
    assert not [each for each in seen if isinstance(each, api.MakeBlock)]
    table.turn(2, 3)  # only now can they say what it has signed in their epoch: nothing
    seen = table.hear(0, api.WorkWaiting(1, 1, 1))
    assert [each for each in seen if isinstance(each, api.MakeBlock)]
    kept = GUARD_RECORD.decode(table.seats[NodeId(0)].disk.guard or b"")
    assert (kept.epoch, kept.sequence > GUARD_RECORD.decode(guard).sequence) == (1, True)
    # A restart after that remembers that it may have proposed something in this view.
    table.turn(0)
    seen = table.hear(0, api.WorkWaiting(1, 1, 1))
    assert not [each for each in seen if isinstance(each, api.MakeBlock)]


def test_a_guard_that_has_signed_in_a_later_epoch_signs_in_no_earlier_one() -> None:
    later = Guard(3, None)
    unused = [later.unused]
    later.may_commit(View(0), Height(1), Link(bytes(32)))
    assert [*unused, later.unused] == [True, False]
    record = later.record()
    assert Guard(4, record).unused
    assert not Guard(3, record).unused
    with pytest.raises(InvariantError, match="later epoch"):
        Guard(2, record)


def test_the_votes_of_an_old_epoch_never_count() -> None:
    table = Drained(last=1)
    table.finish()
    table.turn(0, 2, 3)
    table.last = 99
    table.lose()
    block = make_block(2, table.seats[NodeId(0)].disk.link, "b")
    for phase in (Phase.PREPARE, Phase.COMMIT):
        for signer in (0, 2, 3):
            vote = signed_vote(signer, phase, 0, 2, block.link, block.parent_link)
            assert epoch_of(vote) == 0
            seen = table.hear(3, heard(signer, vote))
            assert seen == []
    assert table.engine(3).status().final_height == 1


def test_a_spare_is_a_stranger_in_its_old_epoch() -> None:
    table = Drained(last=1)
    table.hear(0, api.WorkWaiting(1, 1, 1))
    table.deliver(lambda _, __, m: not is_commit(m))
    block = next(iter(table.known.values()))
    for node in range(4):
        for signer in (9, 10):
            vote = signed_vote(signer, Phase.COMMIT, 0, 1, block.link, block.parent_link)
            table.hear(node, heard(signer, vote))
    assert table.heights() == [0] * 4
    assert "stranger" in table.seats[NodeId(0)].notes


def test_a_later_epoch_is_a_hint_and_an_earlier_one_is_silence() -> None:
    table = Drained(last=1)
    table.finish()
    table.turn(0)
    for epoch, told in ((0, []), (2, [api.EpochAhead(NodeId(2))])):
        standing = Standing(Epoch(epoch), View(5), True, Height(9))
        assert table.hear(0, heard(2, standing)) == told
    final = table.seats[NodeId(0)].disk.final
    assert final is not None
    assert table.hear(0, heard(2, Decided(final))) == []
