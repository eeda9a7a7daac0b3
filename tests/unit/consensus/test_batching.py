"""When a block is due: at once under light load, in larger blocks under heavy load, full blocks always."""

from tallystick.consensus.batching import (
    GAP_MS_MAX,
    HEAVY_PER_S,
    LIGHT_PER_S,
    RATE_SPAN_MS,
    Batching,
)
from tests.unit.consensus.table import TIMING


def leader(pipeline: int = 2, block_max: int = 10) -> Batching:
    return Batching(block_max, pipeline, TIMING)


def under_load(per_s: int) -> Batching:
    batching = leader(block_max=10_000)
    batching.heard(0, 0, 10_000)
    batching.heard(1, per_s, 11_000)
    return batching


def test_a_single_transaction_is_proposed_at_once() -> None:
    batching = leader()
    batching.last_proposal_ms = 500
    batching.heard(1, 1, 510)
    assert batching.due_ms(0, 500) == 500


def test_an_idle_network_owes_an_empty_block_after_the_idle_time() -> None:
    assert leader().due_ms(0, 700) == 700 + TIMING.idle_block_ms


def test_under_light_load_a_block_does_not_wait_for_the_one_before_it() -> None:
    light = under_load(LIGHT_PER_S)
    assert light.due_ms(1, 11_000) == light.last_proposal_ms
    assert light.due_ms(light.pipeline, 11_000) is None, "but for room in the pipeline"
    light.waiting = 0
    assert light.due_ms(1, 11_000) is None, "an empty block follows the last decision only"


def test_under_load_a_block_that_is_not_full_waits_for_the_one_before_it() -> None:
    busy = under_load(LIGHT_PER_S + 1)
    assert busy.due_ms(1, 11_000) is None
    assert busy.due_ms(0, 11_000) == busy.last_proposal_ms + busy.gap_ms


def test_a_full_block_goes_out_while_the_pipeline_has_room_and_not_beyond() -> None:
    batching = under_load(HEAVY_PER_S)
    batching.waiting = batching.block_transactions_max
    assert batching.due_ms(1, 11_000) == 0
    assert batching.due_ms(2, 11_000) is None
    batching.waiting -= 1
    assert batching.due_ms(1, 11_000) is None, "one less is not full"


def test_the_gap_follows_the_arrival_rate_from_nothing_to_its_bound() -> None:
    assert under_load(LIGHT_PER_S).gap_ms == 0
    assert under_load((LIGHT_PER_S + HEAVY_PER_S) // 2).gap_ms == GAP_MS_MAX // 2
    assert under_load(HEAVY_PER_S).gap_ms == GAP_MS_MAX
    assert under_load(100 * HEAVY_PER_S).gap_ms == GAP_MS_MAX


def test_the_rate_is_measured_over_a_span_and_falls_again() -> None:
    batching = under_load(HEAVY_PER_S)
    batching.heard(1, HEAVY_PER_S + 1, 11_000 + RATE_SPAN_MS - 1)
    assert batching.gap_ms == GAP_MS_MAX, "the span is not over"
    batching.heard(1, HEAVY_PER_S + 1, 11_000 + RATE_SPAN_MS)
    assert batching.gap_ms == 0
