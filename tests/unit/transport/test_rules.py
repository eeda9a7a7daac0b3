"""The pure rules between nodes: who dials, who is refused, what a peer may cost, what an outbox may lose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.network.budgets import (
    BANISHED_MS,
    BUDGETS,
    GARBAGE_FORGOTTEN_MS,
    GARBAGE_MAX,
    Bucket,
    PeerBudget,
    Rate,
)
from tallystick.network.outbox import MESSAGE_BYTES, Outbox
from tallystick.network.session import (
    BACK_OFF_MS_MAX,
    BACK_OFF_MS_MIN,
    OBSERVER_ID_MIN,
    PROTOCOL_VERSION,
    REFUSAL_CHARACTERS_MAX,
    Hello,
    Refusal,
    back_off_ms,
    dials,
    hello_frame,
    objection,
    refusal_frame,
    session_message,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.frames import Channel, pack, payload_bytes_max
from tallystick.network.wire.ids import NodeId

GENESIS = bytes(range(32))


def hello(node: int = 2, **changes: object) -> Hello:
    facts = {
        "version": PROTOCOL_VERSION,
        "chain": 7,
        "genesis_hash": GENESIS,
        "node": node,
        "role": 0,
    }
    return Hello(**{**facts, **changes})  # type: ignore[arg-type]


# Who dials ------------------------------------------------------------------------------------------


@given(st.integers(0, OBSERVER_ID_MIN - 1), st.integers(0, OBSERVER_ID_MIN - 1))
def test_exactly_one_of_two_members_dials(one: int, other: int) -> None:
    expected = 0 if one == other else 1
    assert dials(NodeId(one), NodeId(other)) + dials(NodeId(other), NodeId(one)) == expected


def test_an_observer_dials_members_and_nobody_dials_an_observer() -> None:
    observer, member = NodeId(OBSERVER_ID_MIN), NodeId(OBSERVER_ID_MIN - 1)
    assert dials(observer, member)
    assert not dials(member, observer)
    assert not dials(observer, NodeId(OBSERVER_ID_MIN + 1))


def test_back_off_doubles_from_its_floor_to_its_cap_and_is_spread_over_half() -> None:
    lows = [back_off_ms(attempt, 0.0) for attempt in range(40)]
    highs = [back_off_ms(attempt, 0.999) for attempt in range(40)]
    assert lows[:6] == [25, 50, 100, 200, 400, 500]
    assert set(lows[5:]) == {BACK_OFF_MS_MAX // 2}
    assert all(low < high <= BACK_OFF_MS_MAX for low, high in zip(lows, highs, strict=True))
    assert highs[0] < BACK_OFF_MS_MIN


# The hello ------------------------------------------------------------------------------------------


def test_two_nodes_of_one_network_have_no_objection() -> None:
    assert objection(hello(1), hello(2), NodeId(2)) is None
    assert objection(hello(1), hello(1_000, role=1), NodeId(1_000)) is None


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (hello(version=PROTOCOL_VERSION + 1), "protocol version"),
        (hello(version=PROTOCOL_VERSION - 1), "protocol version"),
        (hello(chain=8), "chain 8"),
        (hello(genesis_hash=bytes(32)), "genesis 0000000000000000"),
        (hello(3), "you say you are node 3"),
        (hello(role=1), "is member by its id"),
    ],
)
def test_a_stranger_is_refused_in_words(theirs: Hello, words: str) -> None:
    assert words in str(objection(hello(1), theirs, NodeId(2)))


def test_a_mirror_is_refused() -> None:
    assert "both ends" in str(objection(hello(2), hello(2), NodeId(2)))


def test_hello_and_refusal_survive_the_wire_and_other_channels_say_nothing_here() -> None:
    assert session_message(hello_frame(hello())) == hello()
    assert session_message(refusal_frame("no")) == Refusal("no")
    assert session_message(refusal_frame("n" * 600)) == Refusal("n" * REFUSAL_CHARACTERS_MAX)
    assert session_message(pack(Channel.BODIES, b"x")) is None
    for garbage in (b"", b"\xc0", b"\x91\x01", b"x" * bounds.SESSION_MESSAGE_BYTES_MAX):
        with pytest.raises(Refused):
            session_message(pack(Channel.SESSION, garbage))


# Budgets --------------------------------------------------------------------------------------------


def test_a_bucket_lends_one_large_frame_and_asks_for_patience_afterwards() -> None:
    bucket = Bucket(Rate(per_second=1_000, burst=500), now_ms=0)
    assert bucket.spend(500, 0) == 0
    assert bucket.spend(1_000, 0) == 1_001
    assert bucket.spend(0, 500) == 501
    assert bucket.spend(0, 1_001) == 0


def test_a_bucket_never_holds_more_than_its_burst_and_ignores_a_clock_that_goes_back() -> None:
    bucket = Bucket(Rate(per_second=1_000, burst=500), now_ms=10_000)
    assert bucket.spend(500, 60_000) == 0
    assert bucket.spend(1, 60_000) > 0
    assert bucket.spend(0, 50_000) > 0


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 400)), max_size=60))
def test_whoever_obeys_never_gets_more_than_burst_and_rate(steps: list[tuple[int, int]]) -> None:
    bucket = Bucket(Rate(per_second=1_000, burst=500), now_ms=0)
    now_ms = spent = 0
    for pause_ms, amount in steps:
        now_ms += pause_ms
        spent += amount
        now_ms += bucket.spend(amount, now_ms)
    assert spent <= 500 + now_ms


def test_every_channel_has_a_budget_that_takes_its_largest_frame() -> None:
    assert set(BUDGETS) == set(Channel)
    for channel in list(Channel)[1:]:
        assert BUDGETS[channel].bytes.burst > payload_bytes_max(channel), channel


def test_garbage_is_forgiven_up_to_its_bound_and_one_more_banishes_for_a_while() -> None:
    budget = PeerBudget(now_ms=0)
    assert not any(budget.garbage(0) for _ in range(GARBAGE_MAX))
    assert not budget.banished(0)
    assert budget.garbage(1)
    assert budget.banished(BANISHED_MS)
    assert not budget.banished(1 + BANISHED_MS)
    assert budget.garbage_total == GARBAGE_MAX + 1


def test_old_garbage_is_forgotten_piece_by_piece() -> None:
    budget = PeerBudget(now_ms=0)
    for number in range(100):
        assert not budget.garbage(number * GARBAGE_FORGOTTEN_MS)


def test_one_channel_does_not_spend_another_ones_budget() -> None:
    budget = PeerBudget(now_ms=0)
    assert budget.spend(Channel.BODIES, 1, 10**9, 0) > 0
    assert budget.spend(Channel.CONSENSUS, 1, 100, 0) == 0


# The outbox -----------------------------------------------------------------------------------------

VOTE, BODIES, ANSWER = (
    pack(channel, b"x" * 99) for channel in (Channel.CONSENSUS, Channel.BODIES, Channel.CATCH_UP)
)


def test_frames_leave_in_one_message_in_the_order_they_came() -> None:
    outbox = Outbox()
    sent = [BODIES, VOTE, ANSWER, VOTE, BODIES]
    for frame in sent:
        outbox.put(frame, promise=False)
    assert outbox.take() == sent
    assert outbox.take() == []
    assert (outbox.size, len(outbox)) == (0, 0)


def test_under_backlog_votes_and_promises_go_before_bodies() -> None:
    outbox = Outbox()
    large = pack(Channel.BODIES, b"b" * (MESSAGE_BYTES // 2))
    acknowledgement = pack(Channel.BODIES, b"I hold it")
    for frame, promise in ((large, False),) * 3 + ((VOTE, True), (acknowledgement, True)):
        outbox.put(frame, promise)
    assert outbox.take() == [VOTE, acknowledgement, large]
    assert outbox.take() == [large]
    assert outbox.take() == [large]
    assert outbox.take() == []


def test_when_it_is_full_the_oldest_hearsay_goes_first_and_is_counted() -> None:
    outbox = Outbox(bytes_max=1_000, frames_max=3)
    first, second, third = (pack(Channel.BODIES, bytes([n])) for n in range(3))
    for frame in (first, second, third, VOTE):
        outbox.put(frame, promise=frame is VOTE)
    assert outbox.dropped == 1
    assert outbox.take() == [second, third, VOTE]
    assert not outbox.overrun


def test_a_vote_is_never_dropped_the_link_breaks_instead() -> None:
    outbox = Outbox(bytes_max=1_000, frames_max=2)
    outbox.put(VOTE, promise=True)
    outbox.put(VOTE, promise=True)
    outbox.put(BODIES, promise=False)
    assert (outbox.dropped, outbox.overrun) == (1, False)
    outbox.put(VOTE, promise=True)
    assert outbox.overrun


def test_an_outbox_at_its_byte_bound_fits_and_one_byte_more_does_not() -> None:
    outbox = Outbox(bytes_max=2 * len(VOTE), frames_max=10)
    outbox.put(VOTE, promise=True)
    outbox.put(VOTE, promise=True)
    assert not outbox.overrun
    outbox.put(pack(Channel.CONSENSUS, b""), promise=True)
    assert outbox.overrun


def test_a_message_holds_no_more_frames_than_its_bound() -> None:
    outbox = Outbox()
    for _ in range(bounds.FRAMES_PER_MESSAGE_MAX + 1):
        outbox.put(pack(Channel.BODIES, b""), promise=False)
    assert len(outbox.take()) == bounds.FRAMES_PER_MESSAGE_MAX
    assert len(outbox.take()) == 1


_FRAMES = st.tuples(st.sampled_from(list(Channel)[1:]), st.integers(0, 50), st.booleans())


@given(st.lists(_FRAMES | st.none(), max_size=80))
def test_whatever_happens_it_stays_bounded_and_keeps_what_must_be_kept(
    steps: list[tuple[Channel, int, bool] | None],
) -> None:
    outbox = Outbox(bytes_max=300, frames_max=8)
    kept: list[bytes] = []
    taken: list[bytes] = []
    for number, step in enumerate(steps):
        if step is None:
            taken += outbox.take()
            continue
        channel, size, promise = step
        frame = pack(channel, bytes([number]) * (size + 1))
        outbox.put(frame, promise)
        if outbox.overrun:
            return
        if promise or channel is Channel.CONSENSUS:
            kept.append(frame)
        assert outbox.size <= 300
        assert len(outbox) <= 8
    while frames := outbox.take():
        taken += frames
    assert [frame for frame in taken if frame in kept] == kept
