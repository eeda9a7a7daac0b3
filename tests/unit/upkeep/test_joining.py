"""A ledger from a snapshot is the ledger that execution gives, but for transactions; whoever lies about it is named and passed over."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import Height, NodeId
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
from tallystick.node.core.snapshots import IDLE_MS, STATES_MAX, Snapshots
from tallystick.node.core.step import Step
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.aside import unfinished
from tallystick.node.upkeep.findings import Level
from tallystick.node.upkeep.joining import FAILURES_MAX, Joining, join
from tallystick.node.upkeep.peers import answers
from tallystick.node.upkeep.rebuilding import Rebuilding
from tallystick.node.upkeep.snapshots import Snapshot
from tallystick.node.upkeep.verifying import verify
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import rows_in
from tests.unit.upkeep.stage import Peer, grown, looked

SAME = (
    schema.ACCOUNT,
    schema.RECORD,
    schema.TAKEN,
    schema.REFUSED,
    schema.LINK,
    schema.EPOCH,
)
"""Tables in which a joined ledger equals an executed one byte for byte."""

Spoil = Callable[[CatchUpMessage, CatchUpMessage], CatchUpMessage | None]
"""(question, honest answer) → what a traitor says."""


def honest(question: CatchUpMessage, answer: CatchUpMessage) -> CatchUpMessage | None:
    return answer


class Members:
    """`joining.Sources`: members' ledgers behind their own serving code, a clock that moves when somebody waits."""

    def __init__(self, lab: Lab, nodes: tuple[int, ...] = (0, 1, 2), **spoil: Spoil) -> None:
        self.lab = lab
        self.served = {NodeId(node): Served() for node in nodes}
        self.spoil = {NodeId(int(name[1:])): lie for name, lie in spoil.items()}
        self.now_ms = lab.now_ms
        self.asked: list[tuple[NodeId, CatchUpMessage]] = []
        self.waited = 0

    async def members(self) -> list[NodeId]:
        return sorted(self.served)

    async def ask(self, peer: NodeId, question: CatchUpMessage) -> CatchUpMessage | None:
        self.asked.append((peer, question))
        self.now_ms += 50
        if peer not in self.served:
            return None
        ledger, step = self.lab.core(peer).ledger, Step()
        judging = Judging(ledger, Mempool(peer))
        self.served[peer].answer(question, NodeId(1000), ledger, judging, self.now_ms, step)
        (said,) = step.now
        answer = CATCH_UP_MESSAGE.decode(said.frame[1:])  # type: ignore[union-attr]
        spoilt = self.spoil.get(peer, honest)(question, answer)
        return spoilt if spoilt is not None and answers(question, spoilt) else None

    async def sleep(self, seconds: float) -> None:
        self.waited += 1
        self.now_ms += int(seconds * 1_000)


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


def joining(lab: Lab, store: MemoryStore, members: Members) -> Joining:
    return Joining(lab.genesis, store, members, verify=lab.keys.verify, sleep=members.sleep)


def joined(lab: Lab, members: Members, turn: int = 0) -> tuple[MemoryStore, Joining]:
    store = MemoryStore()
    attempt = joining(lab, store, members)
    attempt._turn = turn
    assert asyncio.run(attempt.run()) == lab.core(0).ledger.height
    return store, attempt


def table(rows: dict[bytes, bytes], letter: bytes) -> dict[bytes, bytes]:
    return {key: value for key, value in rows.items() if key.startswith(letter)}


def equals_executed(lab: Lab, store: MemoryStore) -> None:
    rows, executed = store.snapshot(), lab.box(0).store.snapshot()
    for letter in SAME:
        assert table(rows, letter) == table(executed, letter), letter
    assert rows[schema.FINAL] == executed[schema.FINAL]
    assert schema.JOINING not in rows
    assert Ledger(lab.genesis, store).state.root == lab.core(0).ledger.state.root


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


class Dying(MemoryStore):
    """The power fails at the n-th write."""

    def __init__(self, rows: dict[bytes, bytes], writes: int) -> None:
        super().__init__(rows)
        self._left = writes

    def write(self, batches: object) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        super().write(batches)  # type: ignore[arg-type]


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


# -- liars -----------------------------------------------------------------------------------------------------------


def _outlines(change: Callable[[Outlines], Outlines]) -> Spoil:
    return lambda _, answer: (
        change(answer) if isinstance(answer, Outlines) and answer.blocks else answer
    )


def _state(change: Callable[[StateChunk], StateChunk]) -> Spoil:
    return lambda _, answer: (
        change(answer) if isinstance(answer, StateChunk) and answer.rows else answer
    )


def _last_outcome_left_out(answer: Outlines) -> Outlines:
    at = next(i for i, block in enumerate(answer.blocks) if block.outcomes)
    blocks = list(answer.blocks)
    blocks[at] = replace(blocks[at], outcomes=blocks[at].outcomes[:-1])
    return replace(answer, blocks=tuple(blocks))


def _alone_left_out(answer: Outlines) -> Outlines:
    return replace(answer, blocks=tuple(replace(block, alone=()) for block in answer.blocks))


LIES: dict[str, Spoil] = {
    "an outcome is left out": _outlines(_last_outcome_left_out),
    "what took no id is left out": _outlines(_alone_left_out),
    "blocks are swapped": _outlines(lambda answer: replace(answer, blocks=answer.blocks[::-1])),
    "the last block is left out": _outlines(
        lambda answer: replace(answer, blocks=answer.blocks[:-1])
    ),
    "no certificate": _outlines(lambda answer: replace(answer, certificate=None)),
    "one vote only": _outlines(
        lambda answer: replace(
            answer, certificate=replace(answer.certificate, votes=answer.certificate.votes[:1])
        )
    ),
    "a row is left out": _state(lambda chunk: replace(chunk, rows=chunk.rows[1:])),
    "a row is given twice": _state(lambda chunk: replace(chunk, rows=(*chunk.rows, chunk.rows[0]))),
    "a row of another table": _state(
        lambda chunk: replace(chunk, rows=((schema.FINAL, bytes(40)), *chunk.rows))
    ),
    "a row of exactly-once": _state(
        lambda chunk: replace(chunk, rows=((b"t" + bytes(52), bytes(44)), *chunk.rows))
    ),
    "two rows are swapped": _state(
        lambda chunk: replace(
            chunk,
            rows=(
                (chunk.rows[0][0], chunk.rows[1][1]),
                (chunk.rows[1][0], chunk.rows[0][1]),
                *chunk.rows[2:],
            ),
        )
    ),
    "rows without end": lambda _, answer: (
        replace(
            answer,
            rows=((b"rx" + bytes(answer.number % 400) + bytes([answer.number // 400]), b""),),
            last=False,
        )
        if isinstance(answer, StateChunk) and answer.number
        else answer
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_member_is_named_and_another_one_is_asked(lab: Lab, lie: str) -> None:
    named: dict[NodeId, str] = {}
    for turn in range(3):  # whoever is asked first
        store, attempt = joined(lab, Members(lab, m0=LIES[lie]), turn)
        equals_executed(lab, store)
        named |= attempt.dropped
    assert set(named) == {NodeId(0)}
    assert named[NodeId(0)].split(":")[0] in RejectReason.__members__


@pytest.mark.parametrize("lie", LIES)
def test_with_liars_alone_nothing_is_put_in_place(lab: Lab, lie: str, tmp_path: Path) -> None:
    members = Members(lab, (0,), m0=LIES[lie])
    with pytest.raises(OperationalError, match="no member gives the rest of the snapshot now"):
        asyncio.run(join(tmp_path, lab.genesis, members, check_vote=lab.keys.verify))
    assert not (tmp_path / "ledger").exists()
    assert "`--join`" in (unfinished(tmp_path) or "")
    done = asyncio.run(join(tmp_path, lab.genesis, Members(lab), check_vote=lab.keys.verify))
    assert done is not None
    assert done.state_root == lab.core(0).ledger.state.root
    assert unfinished(tmp_path) is None
    assert table(rows_in(tmp_path), schema.TAKEN) == table(
        lab.box(0).store.snapshot(), schema.TAKEN
    )
    again = asyncio.run(join(tmp_path, lab.genesis, Members(lab), check_vote=lab.keys.verify))
    assert again is None


def changed(data: bytes) -> list[bytes]:
    """Every byte changed, every shorter one, and halves swapped."""
    middle = len(data) // 2
    return [
        *(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))),
        *(data[:at] for at in range(len(data))),
        data[middle:] + data[:middle],
    ]


def is_refused(encoded: bytes, take: Callable[[CatchUpMessage], object]) -> bool:
    try:
        message = CATCH_UP_MESSAGE.decode(encoded)
        take(message)
    except Refused as refused:
        return bool(refused.detail)
    return False


def test_every_byte_of_a_run_of_outlines_counts(lab: Lab) -> None:
    ledger = lab.core(0).ledger
    members = Members(lab, (0,))
    answer = asyncio.run(members.ask(NodeId(0), AskOutlines(1, 2**62)))
    assert isinstance(answer, Outlines)
    encoded = CATCH_UP_MESSAGE.encode(answer)
    claim = CATCH_UP_MESSAGE.encode(replace(answer, final_height=Height(0)))
    tried = 0
    for wrong in changed(encoded):

        def take(message: CatchUpMessage) -> None:
            if not answers(AskOutlines(1, 2**62), message) or not isinstance(message, Outlines):
                raise Refused(RejectReason.MALFORMED, "not an answer to that question")
            if CATCH_UP_MESSAGE.encode(replace(message, final_height=Height(0))) == claim:
                raise Refused(
                    RejectReason.BAD_FIELD,
                    "only the sender's claim of its height, which nothing rests on",
                )
            made = Snapshot(lab.genesis, MemoryStore(), lab.keys.verify)
            if not made.take_outlines(message):
                raise Refused(RejectReason.NOT_FOUND, "no blocks")

        assert is_refused(wrong, take)
        tried += 1
    assert tried > 2 * ledger.height


def test_every_byte_of_the_state_counts(lab: Lab) -> None:
    whole, _ = joined(lab, Members(lab))
    blocks = {
        key: value
        for key, value in whole.snapshot().items()
        if key[:1] not in (schema.ACCOUNT, schema.RECORD, b"m")
    }
    members = Members(lab, (0,))
    height = lab.core(0).ledger.height
    first = asyncio.run(members.ask(NodeId(0), AskState(0, 0)))
    members.now_ms += 1_000
    chunk = asyncio.run(members.ask(NodeId(0), AskState(height, 1)))
    assert isinstance(first, StateChunk)
    assert isinstance(chunk, StateChunk)
    assert chunk.last
    begun = Snapshot(lab.genesis, MemoryStore(), lab.keys.verify)
    answer = asyncio.run(Members(lab, (0,)).ask(NodeId(0), AskOutlines(1, 2**62)))
    assert isinstance(answer, Outlines)
    begun.take_outlines(answer)
    assert first.certificate is not None
    begun.begin_state(first.certificate, 0)
    rows = begun._target.snapshot()  # type: ignore[attr-defined]
    assert blocks.items() <= rows.items()

    def take(message: CatchUpMessage) -> None:
        if not answers(AskState(height, 1), message) or not isinstance(message, StateChunk):
            raise Refused(RejectReason.MALFORMED, "not an answer to that question")
        made = Snapshot(lab.genesis, MemoryStore(rows), lab.keys.verify)
        if message.certificate is not None or not made.take_rows(message):
            raise Refused(RejectReason.MALFORMED, "another chunk would have to follow")
        made.finish()

    take(chunk)
    wrongs = changed(CATCH_UP_MESSAGE.encode(chunk))
    for wrong in wrongs:
        assert is_refused(wrong, take)


def test_every_byte_of_the_certificate_counts(lab: Lab) -> None:
    answer = asyncio.run(Members(lab, (0,)).ask(NodeId(0), AskOutlines(1, 2**62)))
    first = asyncio.run(Members(lab, (0,)).ask(NodeId(0), AskState(0, 0)))
    assert isinstance(answer, Outlines)

    def take(message: CatchUpMessage) -> None:
        if not answers(AskState(0, 0), message) or not isinstance(message, StateChunk):
            raise Refused(RejectReason.MALFORMED, "not an answer to that question")
        if (
            message.certificate is None
            or message.rows
            or message.last
            or message.height != message.certificate.height
        ):
            raise Refused(RejectReason.MALFORMED, "not a state's beginning")
        made = Snapshot(lab.genesis, MemoryStore(), lab.keys.verify)
        made.take_outlines(answer)
        made.check(message.certificate)
        made.begin_state(message.certificate, 0)

    assert first is not None
    take(first)
    for wrong in changed(CATCH_UP_MESSAGE.encode(first)):
        assert is_refused(wrong, take)


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


def test_few_states_are_held_one_for_each_peer_and_none_for_ever(lab: Lab) -> None:
    ledger, snapshots, at_ms = lab.core(0).ledger, Snapshots(), lab.now_ms
    begin, next_ = AskState(0, 0), AskState(ledger.height, 1)
    for peer in range(STATES_MAX):
        for _ in range(3):
            assert isinstance(snapshots.answer(begin, NodeId(peer), ledger, at_ms, 0), StateChunk)
    assert isinstance(snapshots.answer(begin, NodeId(99), ledger, at_ms, 0), NotNow)
    assert isinstance(snapshots.answer(next_, NodeId(99), ledger, at_ms, 0), StateGone)
    first = snapshots.answer(next_, NodeId(0), ledger, at_ms, 0)
    assert isinstance(first, StateChunk)
    at_ms += 1_000
    assert snapshots.answer(next_, NodeId(0), ledger, at_ms, 0) is first
    wrong = AskState(ledger.height, 7)
    assert isinstance(snapshots.answer(wrong, NodeId(0), ledger, at_ms, 0), StateGone)
    snapshots.sweep(at_ms + IDLE_MS + 1)
    assert isinstance(snapshots.answer(next_, NodeId(0), ledger, at_ms, 0), StateGone)


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
    assert reader.bundle(
        place.height, [place.index]
    )  # whoever has the transaction gets its receipt
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
