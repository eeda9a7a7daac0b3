"""The log and the clock by themselves."""

import itertools

import pytest

from tallystick.consensus.api import Timing
from tallystick.consensus.raft.election_clock import LATE_TICK_MS, ElectionClock, jitter_of
from tallystick.consensus.raft.log import Entry, Log
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import Height, Link, View
from tests.unit.raft.owner import GENESIS, make


def grown(*terms: int) -> Log:
    log = Log(Height(0), View(0), GENESIS)
    for nonce, term in enumerate(terms):
        log.append(Entry(View(term), make(log.last_height + 1, log.last_link, 0, nonce)))
    return log


def test_a_log_knows_its_terms_and_its_end() -> None:
    log = grown(1, 1, 3)
    assert [log.term_at(height) for height in range(5)] == [0, 1, 1, 3, None]
    assert (log.last_height, log.last_term, log.last_link) == (3, 3, log.link_at(3))
    assert (log.last_at_most(View(2), 9), log.last_at_most(View(0), 3)) == (2, 0)


def test_only_what_follows_is_appended() -> None:
    log = grown(2)
    with pytest.raises(InvariantError, match="does not follow"):
        log.append(Entry(View(2), make(3, log.last_link, 0, 9)))
    with pytest.raises(InvariantError, match="does not follow"):
        log.append(Entry(View(2), make(2, GENESIS, 0, 9)))
    with pytest.raises(InvariantError, match="terms go back"):
        log.append(Entry(View(1), make(2, log.last_link, 0, 9)))


def test_a_compacted_log_keeps_what_follows_and_truncates_nothing_below() -> None:
    log = grown(1, 1, 2, 2)
    links = [log.link_at(height) for height in range(5)]
    log.compact_to(2)
    assert (log.base_height, log.base_term, log.base_link) == (2, 1, links[2])
    assert [log.link_at(height) for height in range(1, 5)] == [None, *links[2:]]
    assert log.term_at(1) is None
    with pytest.raises(InvariantError, match="compacted"):
        log.truncate_from(Height(2))
    assert [entry.block.link for entry in log.truncate_from(Height(4))] == [links[4]]
    log.compact_to(0)
    assert log.base_height == 2


def test_a_log_that_begins_anew_keeps_a_tail_that_fits_and_no_other() -> None:
    log = grown(1, 1, 2)
    fits = log.link_at(2)
    assert fits is not None
    log.begin_at(Height(2), View(1), fits)
    assert log.last_height == 3
    log.begin_at(Height(2), View(5), Link(bytes(32)))
    assert (log.last_height, log.last_term, log.last_link) == (2, 5, bytes(32))


@pytest.mark.parametrize(
    ("count", "bytes_max", "length"),
    [(9, 10**6, 4), (2, 10**6, 2), (9, 100, 2), (9, 99, 1), (9, 1, 1)],
)
def test_a_run_is_bounded_in_entries_and_bytes(count: int, bytes_max: int, length: int) -> None:
    assert len(grown(1, 1, 1, 1).run(1, count, bytes_max)) == length  # blocks of 50 bytes


def clock(jitter: int = 0) -> ElectionClock:
    return ElectionClock(Timing(400, 1_000, 2_000), itertools.repeat(jitter))


def test_waits_are_drawn_between_half_a_span_and_a_span() -> None:
    for jitter, wait_ms in ((0, 200), (200, 400), (201, 200)):
        waiting = clock(jitter)
        waiting.restart(1_000)
        assert waiting.deadline_ms == 1_000 + wait_ms


def test_spans_double_up_to_their_cap_and_start_anew_with_progress() -> None:
    waiting = clock()
    spans = []
    for failed in range(4):
        waiting.failed = failed
        spans.append(waiting.span_ms)
    assert spans == [400, 400, 800, 1_000]
    waiting.progress()
    assert waiting.span_ms == 400


def test_loyalty_lasts_the_least_wait_and_ends_with_the_connection() -> None:
    waiting = clock()
    waiting.restart(0)
    waiting.heard_leader(100)
    assert waiting.is_loyal(299)
    assert not waiting.is_loyal(300)
    waiting.lost_leader(150)
    assert not waiting.is_loyal(151)
    assert waiting.deadline_ms == 150 + 200 // 3


def test_a_tick_that_comes_late_forgives_once() -> None:
    waiting = clock()
    waiting.restart(0)
    assert not waiting.expired(199)
    assert waiting.expired(200 + LATE_TICK_MS)
    assert not waiting.expired(201 + LATE_TICK_MS)
    assert waiting.expired(waiting.deadline_ms + LATE_TICK_MS + 1)


def test_the_jitter_is_the_seeds_alone() -> None:
    one, same, other = (list(itertools.islice(jitter_of(seed), 5)) for seed in (b"a", b"a", b"b"))
    assert one == same != other
    assert len(set(one)) == 5
