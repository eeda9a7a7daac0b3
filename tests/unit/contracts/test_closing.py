"""Windows close oldest first, a bounded share with each block, and their trees hold exactly what was consumed in them."""

import pytest
from msgspec.structs import replace

from tallystick.contracts import check_block, execute_block
from tallystick.contracts.consumption import WINDOWS_PER_BLOCK_MAX
from tallystick.network.proofs.merkle import Tree, leaf_hashes
from tallystick.network.proofs.windows import (
    BYTES_ONLY,
    CLOSED_WINDOW,
    ENTRY_BYTES,
    ID_TAKEN,
    OPEN_WINDOW,
    TOOK_ID,
    WINDOWS_KEY,
    WINDOWS_MARK,
    ClosedWindow,
    OpenWindow,
    WindowsMark,
    window_key,
)
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.reasons import RejectReason
from tests.unit.contracts.ledger import (
    PARAMETERS,
    START_MS,
    Ledger,
    Town,
    genesis_of,
    reason_of,
    signed_by,
    town,
)

WINDOW_MS = PARAMETERS.window_ms
SHARE = 3
"""Leaves that one block hashes here: as many as it may order."""


@pytest.fixture
def place() -> Town:
    """Alice has money; the four transactions of the town itself have been closed away."""
    place = town(genesis_of(parameters=replace(PARAMETERS, block_transactions_max=SHARE)))
    ledger = place.ledger
    ledger.play(at_ms=START_MS + WINDOW_MS)
    for _ in range(3):
        ledger.play()
    return place


def pay(place: Town, until_ms: int, count: int) -> None:
    """As many payments with this deadline, one block each."""
    for _ in range(count):
        place.ledger.play(place.ledger.pays(place.alice, place.bob, 1, "alice", until_ms=until_ms))


def mark(ledger: Ledger) -> WindowsMark:
    return WINDOWS_MARK.decode(ledger.records[WINDOWS_KEY])


def closed(ledger: Ledger, start_ms: int) -> ClosedWindow | None:
    """The closed window's record, whose root must be that of its entries; None while it is open."""
    value = ledger.records[window_key(start_ms)]
    if len(value) and value[0] == 0x93:
        OPEN_WINDOW.decode(value)
        return None
    window = CLOSED_WINDOW.decode(value)
    tree = Tree(leaf_hashes(sorted(ledger.windows[start_ms])))
    assert (window.count, window.root) == (tree.size, tree.root)
    return window


def test_the_first_state_has_closed_everything_before_itself() -> None:
    ledger = Ledger()
    assert mark(ledger) == WindowsMark(1, START_MS, START_MS, 0, 0, b"")


def test_an_entry_says_by_what_authority_it_was_consumed(place: Town) -> None:
    ledger = place.ledger
    until_ms = ledger.time_ms + 10 * WINDOW_MS
    good = ledger.pays(place.alice, place.bob, 1, "alice", until_ms=until_ms)
    copy = replace(good, witnesses=signed_by("mallory"))
    second = replace(good, amount_minor=2)
    outcomes = [ledger.play(each)[0] for each in (copy, good, second)]
    assert [reason_of(each) for each in outcomes] == [
        RejectReason.WRONG_KEYS,
        None,
        RejectReason.ID_TAKEN,
    ]
    flags = (BYTES_ONLY, TOOK_ID, ID_TAKEN)
    assert ledger.windows[until_ms] == [
        each.account + each.id + each.digest + flag + each.body_id
        for each, flag in zip(outcomes, flags, strict=True)
    ]
    # A stranger's copy stands before the place of the digest's own entry, so it hides nothing and feigns nothing.
    assert sorted(ledger.windows[until_ms][:2]) == ledger.windows[until_ms][:2]


def test_a_window_is_hashed_from_the_block_after_the_one_that_closes_it(place: Town) -> None:
    ledger, start_ms = place.ledger, START_MS + WINDOW_MS
    pay(place, start_ms + WINDOW_MS - 1, 2)
    ledger.play(at_ms=start_ms + WINDOW_MS - 1)
    ledger.play(at_ms=start_ms + WINDOW_MS)  # the first block with a later time
    assert mark(ledger).current_ms == start_ms + WINDOW_MS
    assert closed(ledger, start_ms) is None
    ledger.play()
    assert closed(ledger, start_ms) is not None
    assert mark(ledger).oldest_ms == start_ms + WINDOW_MS


def test_a_deadline_at_the_last_millisecond_of_its_window_may_still_be_ordered(place: Town) -> None:
    ledger, last_ms = place.ledger, START_MS + 2 * WINDOW_MS - 1
    ledger.play(at_ms=last_ms)
    pay(place, last_ms, 1)
    ledger.play(at_ms=last_ms + 1)
    block = ledger.block(ledger.pays(place.alice, place.bob, 1, "alice", until_ms=last_ms))
    assert check_block(ledger, block) is RejectReason.PAST_DEADLINE


def test_a_block_hashes_no_more_than_its_share(place: Town) -> None:
    ledger, start_ms = place.ledger, START_MS + 2 * WINDOW_MS
    pay(place, start_ms, 2 * SHARE + 1)
    ledger.play(at_ms=start_ms + WINDOW_MS)
    seen = []
    while closed(ledger, start_ms) is None:
        ledger.play()
        seen.append(mark(ledger).hashed)
    assert seen == [SHARE, 2 * SHARE, 0]
    window = closed(ledger, start_ms)
    assert window is not None
    assert window.count == 2 * SHARE + 1


def test_one_share_may_close_several_windows(place: Town) -> None:
    ledger, first_ms = place.ledger, START_MS + 2 * WINDOW_MS
    for at in range(5):
        pay(place, first_ms + at * WINDOW_MS, 1)
    ledger.play(at_ms=first_ms + 20 * WINDOW_MS)
    done = []
    for _ in range(2):
        ledger.play()
        done.append(sum(closed(ledger, first_ms + at * WINDOW_MS) is not None for at in range(5)))
    assert done == [SHARE, 5]
    assert mark(ledger).oldest_ms == first_ms + 20 * WINDOW_MS  # nothing was consumed in the rest


def test_a_long_outage_is_worked_through_window_by_window(place: Town) -> None:
    """A day of empty windows lies between two that hold something; each block looks at a bounded number."""
    ledger = place.ledger
    first_ms = START_MS + 2 * WINDOW_MS
    last_ms = ledger.time_ms + PARAMETERS.max_validity_ms
    pay(place, first_ms, 1)
    pay(place, last_ms, 1)
    ledger.play(at_ms=last_ms + 1_000 * WINDOW_MS)
    blocks = 0
    while mark(ledger).oldest_ms < mark(ledger).current_ms:
        before = mark(ledger).oldest_ms
        ledger.play()
        blocks += 1
        moved = mark(ledger).oldest_ms - before
        assert 0 < moved <= WINDOWS_PER_BLOCK_MAX * WINDOW_MS or before > last_ms - 64 * WINDOW_MS
    assert blocks == PARAMETERS.max_validity_ms // WINDOW_MS // WINDOWS_PER_BLOCK_MAX + 1
    for start_ms in (first_ms, last_ms):
        assert closed(ledger, start_ms - start_ms % WINDOW_MS) is not None


def test_windows_close_while_later_ones_grow(place: Town) -> None:
    ledger, start_ms = place.ledger, START_MS + 2 * WINDOW_MS
    pay(place, start_ms, 2 * SHARE)
    ledger.play(at_ms=start_ms + WINDOW_MS)
    pay(place, start_ms + 5 * WINDOW_MS, 3)
    assert closed(ledger, start_ms) is not None
    later = OPEN_WINDOW.decode(ledger.records[window_key(start_ms + 5 * WINDOW_MS)])
    assert later == OpenWindow(3, 3, later.running)


@pytest.mark.parametrize("harm", ["left out", "twice", "out of order", "cut"])
def test_entries_that_are_not_those_that_were_counted_halt(place: Town, harm: str) -> None:
    ledger, start_ms = place.ledger, START_MS + 2 * WINDOW_MS
    pay(place, start_ms, SHARE)
    ledger.play(at_ms=start_ms + WINDOW_MS)
    true = sorted(ledger.windows[start_ms])
    false = {
        "left out": true[1:],
        "twice": [true[0], true[0], true[2]],
        "out of order": [true[1], true[0], true[2]],
        "cut": [*true[:2], true[2][: ENTRY_BYTES - 1]],
    }[harm]
    ledger.consumed = lambda start, begin, end: false[begin:end]  # type: ignore[method-assign]
    with pytest.raises(InvariantError, match="closing window"):
        execute_block(ledger, ledger.block())


def test_entries_must_ascend_across_blocks_too(place: Town) -> None:
    ledger, start_ms = place.ledger, START_MS + 2 * WINDOW_MS
    pay(place, start_ms, 2 * SHARE)
    ledger.play(at_ms=start_ms + WINDOW_MS)
    ledger.play()
    true = sorted(ledger.windows[start_ms])
    false = [*true[:SHARE], true[0], *true[SHARE + 1 :]]
    ledger.consumed = lambda start, begin, end: false[begin:end]  # type: ignore[method-assign]
    with pytest.raises(InvariantError, match="ascend"):
        execute_block(ledger, ledger.block())


def test_a_transaction_of_a_closed_window_halts_whoever_executes_it(place: Town) -> None:
    ledger = place.ledger
    late = ledger.pays(place.alice, place.bob, 1, "alice", until_ms=START_MS)
    with pytest.raises(InvariantError, match="closed window"):
        execute_block(ledger, ledger.block(late))
