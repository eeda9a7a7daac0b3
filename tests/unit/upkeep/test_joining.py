"""A ledger from a snapshot is the ledger that execution gives, but for transactions; whoever lies about it is named and passed over."""

import asyncio
from pathlib import Path

import pytest

from tallystick.network.proofs.receipts import BUNDLE
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.effects import CheckBodies, Hearsay
from tallystick.node.core.events import BodiesChecked, Event, PeerFrame, PeerUp, Tick
from tallystick.node.core.follower import Follower
from tallystick.node.core.judging import Judging
from tallystick.node.core.ledger import BLOCK_RECORD, Ledger
from tallystick.node.core.mempool import Mempool
from tallystick.node.core.messages import (
    CATCH_UP_MESSAGE,
    AskBlocks,
    AskOutlines,
    AskState,
    BelowSnapshot,
    CatchUpMessage,
    NotNow,
    Outlines,
    StateChunk,
    StateGone,
)
from tallystick.node.core.outlines import is_whole, outline_of
from tallystick.node.core.reading import LedgerReader
from tallystick.node.core.serving import Served, serve
from tallystick.node.core.snapshots import EARLY_MAX, IDLE_MS, STATES_MAX, Snapshots
from tallystick.node.core.step import Step
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.aside import unfinished
from tallystick.node.upkeep.findings import Level
from tallystick.node.upkeep.joining import FAILURES_MAX, join
from tallystick.node.upkeep.peers import answers
from tallystick.node.upkeep.rebuilding import Rebuilding
from tallystick.node.upkeep.snapshots import Snapshot
from tallystick.node.upkeep.verifying import verify
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import on_disk
from tests.unit.upkeep.joiners import Dying, Members, equals_executed, joined, joining, table
from tests.unit.upkeep.stage import Peer, grown, looked


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


def test_a_joined_ledger_is_the_executed_one_without_its_transactions(lab: Lab) -> None:
    members = Members(lab)
    store, attempt = joined(lab, members)
    equals_executed(lab, store)
    assert attempt.dropped == {}
    assert len({peer for peer, asked in members.asked if isinstance(asked, AskOutlines)}) == 3
    report = looked(lab, store.snapshot(), Level.MERKLE)
    assert report.findings == ()
    assert report.whole_from == report.height + 1
    height = lab.core(0).ledger.height
    records = [
        BLOCK_RECORD.decode(store.get(schema.at_height(schema.BLOCK, at)) or b"")
        for at in range(1, height + 1)
    ]
    kept = [raw for record in records for raw in record.bodies if raw]
    assert len(kept) == len(table(store.snapshot(), schema.REFUSED)) == 1


def test_whoever_joined_gives_the_same_outlines_on(lab: Lab) -> None:
    store, _ = joined(lab, Members(lab))
    second, first = Ledger(lab.genesis, store), lab.core(0).ledger
    for height in range(1, first.height + 1):
        mine, theirs = first.block(height), second.block(height)
        assert mine is not None
        assert theirs is not None
        assert outline_of(theirs) == outline_of(mine)
        assert is_whole(mine)


def test_a_joined_node_goes_on_with_the_network_and_stays_equal() -> None:
    """Windows of deadlines pass meanwhile, so nothing that they need may have been left out."""
    lab = grown()
    store, _ = joined(lab, Members(lab))
    below = lab.core(0).ledger.height
    for _ in range(8):
        lab.pass_time(61_000)
        lab.answer(0, lab.pay())
        lab.answer(1, lab.pay(2, 1, 500_000))
    height = lab.core(0).ledger.height
    following = Rebuilding(lab.genesis, None, store, Peer(lab).ask, lab.keys.verify)
    ledger = asyncio.run(following.run(height))
    assert following.fetched == list(range(below + 1, height + 1))
    assert ledger.state.root == lab.core(0).ledger.state.root
    equals_executed(lab, store)
    report = looked(lab, store.snapshot(), Level.MERKLE)
    assert report.findings == ()
    assert report.whole_from == below + 1


# -- crashes ---------------------------------------------------------------------------------------------------------


def test_a_power_cut_after_any_write_leaves_what_the_next_call_goes_on_with(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.network.wire.bounds.STATE_CHUNK_BYTES", 200)
    writes = 0
    while True:
        members = Members(lab)
        dying = Dying({}, writes)
        try:
            asyncio.run(joining(lab, dying, members).run())
            break
        except KeyboardInterrupt:
            cut = dying.snapshot()
            assert (schema.FINAL in cut) == (schema.JOINING not in cut) or not cut
            store = MemoryStore(cut)
            height = Snapshot(lab.genesis, store, lab.keys.verify).height
            before = len(members.asked)
            asyncio.run(joining(lab, store, members).run())
            equals_executed(lab, store)
            again = [asked for _, asked in members.asked[before:] if isinstance(asked, AskOutlines)]
            assert not again or min(asked.height for asked in again) == height + 1
        writes += 1
    assert writes > 8


def test_a_source_that_let_go_of_the_state_is_asked_for_it_anew(lab: Lab) -> None:
    members = Members(lab, (0,))
    gone = 0

    def forget(question: CatchUpMessage, answer: CatchUpMessage) -> CatchUpMessage:
        nonlocal gone
        if isinstance(question, AskState) and question.number == 1 and gone < 3:
            gone += 1
            return StateGone(question.height)
        return answer

    members.spoil[NodeId(0)] = forget
    store, attempt = joined(lab, members)
    equals_executed(lab, store)
    assert attempt.dropped == {}
    assert gone == 3


# -- serving ---------------------------------------------------------------------------------------------------------


def test_joiners_share_one_budget_and_wait_for_it(lab: Lab) -> None:
    ledger, snapshots, at_ms = lab.core(0).ledger, Snapshots(), lab.now_ms
    asked = AskOutlines(1, 2**62)
    assert isinstance(snapshots.answer(asked, NodeId(1), ledger, at_ms, 2**20), Outlines)
    wait = snapshots.answer(asked, NodeId(2), ledger, at_ms, 2**20)
    assert isinstance(wait, NotNow)
    assert wait.wait_ms >= 1
    later_ms = at_ms + wait.wait_ms
    assert isinstance(snapshots.answer(asked, NodeId(2), ledger, later_ms, 2**20), Outlines)


def test_who_asks_more_often_has_no_more_of_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One asks every millisecond, the other once in twenty: both have the same share, and together no more than one alone."""
    monkeypatch.setattr("tallystick.node.core.snapshots.READ_BYTES_PER_MS", 16)
    ledger, snapshots, asked = lab.core(0).ledger, Snapshots(), AskOutlines(1, 2**62)
    had = {NodeId(1): 0, NodeId(2): 0}
    for at_ms in range(lab.now_ms, lab.now_ms + 20_000):
        for peer, every_ms in ((NodeId(1), 1), (NodeId(2), 20)):
            if at_ms % every_ms == 0:
                answer = snapshots.answer(asked, peer, ledger, at_ms, 2**20)
                had[peer] += isinstance(answer, Outlines)
    assert min(had.values()) > 50
    assert max(had.values()) <= 1.5 * min(had.values())


def test_a_peer_that_does_not_wait_is_not_answered_any_more(lab: Lab) -> None:
    ledger, snapshots, asked = lab.core(0).ledger, Snapshots(), AskState(0, 0)
    said = [snapshots.answer(asked, NodeId(1), ledger, lab.now_ms, 0) for _ in range(EARLY_MAX + 9)]
    assert isinstance(said[0], StateChunk)
    assert all(isinstance(each, NotNow) for each in said[1 : EARLY_MAX + 1])
    assert said[EARLY_MAX + 1 :] == [None] * 8
    later = snapshots.answer(asked, NodeId(1), ledger, lab.now_ms + 1_000, 0)
    assert isinstance(later, StateChunk)
    step = Step()
    served, judging = Served(), Judging(ledger, Mempool(NodeId(0)))
    for _ in range(EARLY_MAX + 2):
        served.answer(asked, NodeId(1), ledger, judging, lab.now_ms, step)
    assert [note.name for note in step.trace] == ["peer-asks-too-much"]


def test_few_states_are_held_one_for_each_peer_and_none_for_ever(lab: Lab) -> None:
    ledger, snapshots, at_ms = lab.core(0).ledger, Snapshots(), lab.now_ms

    def answered(height: int, number: int, peer: int) -> CatchUpMessage | None:
        nonlocal at_ms
        at_ms += 500
        return snapshots.answer(AskState(height, number), NodeId(peer), ledger, at_ms, 0)

    for peer in range(STATES_MAX):
        for _ in range(3):
            assert isinstance(answered(0, 0, peer), StateChunk)
    assert isinstance(answered(0, 0, 99), NotNow)
    assert isinstance(answered(ledger.height, 1, 99), StateGone)
    first = answered(ledger.height, 1, 0)
    assert isinstance(first, StateChunk)
    assert answered(ledger.height, 1, 0) is first
    assert isinstance(answered(ledger.height, 7, 0), StateGone)
    snapshots.sweep(at_ms + IDLE_MS + 1)
    assert isinstance(answered(ledger.height, 1, 0), StateGone)


def test_the_state_stands_still_while_payments_settle() -> None:
    lab = grown()
    members = Members(lab, (0,))
    height, root = lab.core(0).ledger.height, lab.core(0).ledger.state.root
    chunks = 0

    def busy(question: CatchUpMessage, answer: CatchUpMessage) -> CatchUpMessage:
        nonlocal chunks
        if isinstance(answer, StateChunk) and chunks < 5:
            chunks += 1
            lab.answer(1, lab.pay())
        return answer

    members.spoil[NodeId(0)] = busy
    store = MemoryStore()
    assert asyncio.run(joining(lab, store, members).run()) == height
    assert Ledger(lab.genesis, store).state.root == root
    assert lab.core(0).ledger.height > height


# -- what is not there -----------------------------------------------------------------------------------------------


def test_what_is_below_the_snapshot_is_answered_with_its_reason(lab: Lab) -> None:
    store, _ = joined(lab, Members(lab))
    ledger, executed = Ledger(lab.genesis, store), lab.core(0).reader
    reader = LedgerReader(ledger)
    for height in range(1, ledger.height + 1):
        view = reader.block(height)
        assert view is not None
        whole = executed.block(height)
        assert whole is not None
        assert view.body_ids == whole.body_ids
    key = next(store.scan(schema.TAKEN))[0][1:]
    place = reader.locate(key[:20], key[20:])
    assert place is not None
    with pytest.raises(Refused) as refused:
        reader.receipt(place.height, place.index)
    assert refused.value.reason is RejectReason.BELOW_SNAPSHOT
    assert refused.value.facts == {"height": place.height, "whole_from": ledger.height + 1}
    bundles = [each.bundle(place.height, [place.index]) for each in (reader, executed)]
    mine, theirs = map(BUNDLE.decode, bundles)  # whoever has the transaction gets its receipt
    assert mine.items == theirs.items
    assert mine.block.header == theirs.block.header
    answer = serve(ledger, 1)
    assert answer == BelowSnapshot(1, ledger.height + 1)
    assert answers(AskBlocks(1), answer)
    with pytest.raises(OperationalError, match=r"BELOW_SNAPSHOT.*Use level merkle"):
        verify(store, lab.genesis, Level.EXECUTE, check_vote=lab.keys.verify)


def test_a_follower_passes_over_whoever_joined_from_a_snapshot(lab: Lab) -> None:
    store, _ = joined(lab, Members(lab))
    ledgers = {NodeId(0): Ledger(lab.genesis, store), NodeId(1): lab.core(1).ledger}
    follower = Follower(NodeId(1000), lab.genesis, MemoryStore(), 0, lab.keys.verify)
    events: list[Event] = [PeerUp(peer) for peer in ledgers]
    asked, now_ms = set(), 0
    while follower.ledger.height < ledgers[NodeId(1)].height:
        now_ms += 100
        assert now_ms < 20_000
        for effect in follower.handle(events.pop(0) if events else Tick(), now_ms).immediate:
            if isinstance(effect, CheckBodies):
                verdicts = tuple([lab.bodies.check(raw) for raw in effect.bodies])
                events.append(BodiesChecked(effect.token, verdicts))
            elif isinstance(effect, Hearsay) and effect.to is not None:
                question = CATCH_UP_MESSAGE.decode(effect.frame[1:])
                assert isinstance(question, AskBlocks)
                answer = CATCH_UP_MESSAGE.encode(serve(ledgers[effect.to], question.height))
                events.append(PeerFrame(effect.to, pack(Channel.CATCH_UP, answer)))
                asked.add(effect.to)
    assert asked == set(ledgers)


def test_a_member_that_has_signed_does_not_join(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="spare id"):
        asyncio.run(join(tmp_path, lab.genesis, Members(lab), signed=True))


def test_what_an_earlier_call_left_damaged_is_thrown_away(lab: Lab, tmp_path: Path) -> None:
    for rows in ({schema.JOINING: b"\x90"}, {schema.JOINING: b""}):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        on_disk(folder / "join", rows)
        members = Members(lab)
        with pytest.raises(OperationalError, match="thrown away: run it again"):
            asyncio.run(join(folder, lab.genesis, members, check_vote=lab.keys.verify))
        done = asyncio.run(join(folder, lab.genesis, members, check_vote=lab.keys.verify))
        assert done is not None
        assert done.height == lab.core(0).ledger.height


def test_where_nobody_has_a_block_the_node_begins_at_genesis(tmp_path: Path) -> None:
    lab = Lab(running=(0,))
    assert lab.core(0).ledger.height == 0
    assert asyncio.run(join(tmp_path, lab.genesis, Members(lab, (0,)))) is None
    assert unfinished(tmp_path) is None


def test_without_a_member_it_says_so_and_keeps_what_it_has(lab: Lab) -> None:
    nobody = Members(lab, ())
    with pytest.raises(OperationalError, match="What was fetched is kept"):
        asyncio.run(joining(lab, MemoryStore(), nobody).run())
    assert FAILURES_MAX > 1
