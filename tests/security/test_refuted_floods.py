"""A hostile member or observer that makes an honest node work, wait or forget more than its own frames cost it."""

import pytest
from msgspec.structs import replace

from tallystick.consensus.pbft.messages import Proposal
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import Epoch, NodeId, View
from tallystick.node.core.block_data import BLOCK_DATA, BlockData, block_of
from tallystick.node.core.events import PeerFrame, PeerUp, Tick
from tallystick.node.core.follower import Follower
from tallystick.node.core.judging import HEARSAY_MAX, UNCOMMITTED_MAX
from tallystick.node.core.mempool import PEER_WAITING_MAX
from tallystick.node.core.messages import CATCH_UP_MESSAGE, AskBlocks, Blocks, Forward
from tallystick.node.core.serving import SERVED_AHEAD_MS, serve
from tallystick.node.storage.memory import MemoryStore
from tests.unit.core.lab import Lab

HOSTILE, OBSERVER = 3, 1_000


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.answer(0, lab.issue())
    lab.sent.clear()
    return lab


def garbage(number: int, count: int) -> tuple[bytes, ...]:
    return tuple(b"%d/%d" % (number, index) for index in range(count))


# -- bodies ------------------------------------------------------------------------------------------------------------


def test_bodies_that_wait_for_their_check_count_against_the_members_bound(lab: Lab) -> None:
    box = lab.box(1)
    box.checks_held = []
    for number in range(30):
        lab.say_bodies(HOSTILE, 1, Forward(garbage(number, 512)))
    waiting = sum(len(check.bodies) for check in box.checks_held)
    assert PEER_WAITING_MAX - 512 < waiting <= PEER_WAITING_MAX
    assert box.notes("peer-over-its-bound")


def test_once_they_are_checked_the_member_has_its_room_again(lab: Lab) -> None:
    box = lab.box(1)
    box.checks_held = []
    for number in range(30):
        lab.say_bodies(HOSTILE, 1, Forward(garbage(number, 512)))
    lab.checks_go_on(1)
    lab.say_bodies(HOSTILE, 1, Forward((lab.pay(),)))
    assert len(lab.core(1).pool) == 1


def test_a_member_that_hands_on_bad_bodies_is_blamed_for_each_batch(lab: Lab) -> None:
    for number in range(3):
        lab.say_bodies(HOSTILE, 1, Forward(garbage(number, 2)))
    blamed = lab.box(1).notes("peer-garbage")
    assert [event.facts["peer"] for event in blamed] == [HOSTILE] * 3


# -- questions ---------------------------------------------------------------------------------------------------------


def answers_to(lab: Lab, peer: int, questions: int) -> int:
    """How many of so many questions, asked in one breath, member 0 answers."""
    lab.sent.clear()
    frame = pack(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(AskBlocks(1)))
    for _ in range(questions):
        lab.hear(0, PeerFrame(NodeId(peer), frame))
    return sum(1 for who, to, _ in lab.sent if (who, to) == (0, peer))


@pytest.mark.parametrize("peer", [HOSTILE, OBSERVER])
def test_questions_of_a_few_bytes_do_not_buy_answers_without_end(lab: Lab, peer: int) -> None:
    # The smallest answer counts for 4 ms.
    assert answers_to(lab, peer, 4_096) == SERVED_AHEAD_MS // 4 + 1
    assert lab.box(0).notes("peer-asks-too-much")
    assert answers_to(lab, 2, 1) == 1, "the others are served as before"
    lab.pass_time(400)
    assert answers_to(lab, peer, 4_096) == 100


# -- answers that nobody asked for -------------------------------------------------------------------------------------


def test_blocks_that_nobody_asked_for_are_not_looked_at(lab: Lab) -> None:
    lab.cut |= {(node, 2) for node in (0, 1, 3)} | {(2, node) for node in (0, 1, 3)}
    lab.answer(0, lab.pay())
    ahead = lab.core(0).ledger.height
    lab.say_catch_up(HOSTILE, 2, serve(lab.core(0).ledger, 1), asked=False)
    assert lab.core(2).ledger.height == ahead - 1
    lab.say_catch_up(HOSTILE, 2, serve(lab.core(0).ledger, 1))
    assert lab.core(2).ledger.height == ahead


def test_an_observer_is_not_kept_from_asking_by_a_member_that_talks_without_end(lab: Lab) -> None:
    observer = Follower(NodeId(OBSERVER), lab.genesis, MemoryStore(), lab.now_ms, lab.keys.verify)
    junk = pack(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(Blocks(1, 0, (), None)))
    for member in (0, HOSTILE):
        observer.handle(PeerUp(NodeId(member)), lab.now_ms)
    asked = 0
    for now_ms in range(lab.now_ms, lab.now_ms + 5_000, 50):
        for event in (PeerFrame(NodeId(HOSTILE), junk), Tick()):
            asked += len(observer.handle(event, now_ms).immediate)
    assert asked >= 4


# -- blocks of views gone by -------------------------------------------------------------------------------------------


def old_proposals(lab: Lab, count: int) -> list[Proposal]:
    """Blocks far ahead, as the leader of a view gone by may still name them."""
    record = lab.core(1).ledger.block(1)
    assert record is not None
    made = []
    for number in range(count):
        header = replace(record.header, height=record.header.height + 60, time_ms=number)
        data = BlockData(header, record.result, b"")
        made.append(Proposal(Epoch(0), View(0), BLOCK_DATA.encode(data), bytes(64)))
    return made


def test_a_leader_of_old_cannot_fill_the_room_for_blocks_that_are_voted_for(lab: Lab) -> None:
    """What is voted for stays on disk until it is final: whoever holds its certificate may ask for it."""
    lab.crash(0)
    lab.say_bodies(HOSTILE, 1, Forward((lab.pay(),)))
    lab.pass_time(10_000)
    core = lab.core(1)
    assert core.status().view > 0
    for proposal in old_proposals(lab, UNCOMMITTED_MAX + 10):
        lab.say(0, 1, proposal)
    assert len(core.judging.uncommitted) == HEARSAY_MAX
    data = BLOCK_DATA.decode(old_proposals(lab, UNCOMMITTED_MAX + 11)[-1].block)
    link = block_of(data).link
    core.judging.hold(link, data, needed=False)
    assert link not in core.judging.uncommitted
    core.judging.hold(link, data, needed=True)
    assert link in core.judging.uncommitted
