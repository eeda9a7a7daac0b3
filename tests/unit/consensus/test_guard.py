"""The double-sign guard: every rule at its edge and over it, and the record that survives a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.consensus.accountability.guard import GUARD_RECORD, Guard
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import Height, Link, View

A, B, C, GENESIS = (Link(bytes([n]) * 32) for n in range(1, 5))
V0, V1, V2 = View(0), View(1), View(2)
H1, H2, H3 = Height(1), Height(2), Height(3)


def fresh() -> Guard:
    return Guard(0, None)


def reloaded(guard: Guard) -> Guard:
    """What a restart finds."""
    return Guard(0, guard.record())


def test_the_same_statement_may_be_signed_again() -> None:
    guard = fresh()
    assert guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert guard.may_commit(V0, H1, A)
    assert reloaded(guard).may_commit(V0, H1, A)


@pytest.mark.parametrize("kind", ["propose", "prepare", "commit"])
def test_another_link_at_the_same_view_and_height_is_refused(kind: str) -> None:
    guard = fresh()

    def asks(guard: Guard, link: Link) -> bool:
        if kind == "propose":
            return guard.may_propose(V1, H1, link)
        if kind == "prepare":
            return guard.may_prepare(V1, H1, link, GENESIS, GENESIS)
        return guard.may_commit(V1, H1, link)

    assert asks(guard, A)
    assert not asks(guard, B)
    assert not asks(reloaded(guard), B)
    assert asks(reloaded(guard), A)


def test_a_refusal_changes_nothing() -> None:
    guard = fresh()
    guard.may_commit(V1, H1, A)
    before = GUARD_RECORD.decode(guard.record())
    assert not guard.may_commit(V1, H1, B)
    assert not guard.may_commit(V0, H1, A)
    after = GUARD_RECORD.decode(guard.record())
    assert (after.slots, after.floor, after.prepared) == (before.slots, before.floor, before.prepared)  # fmt: skip


def test_in_a_slot_the_view_only_grows() -> None:
    guard = fresh()
    assert guard.may_commit(V1, H1, A)
    assert not guard.may_commit(V0, H1, A)
    assert guard.may_commit(V2, H1, B), "a later view may decide another block"
    assert not guard.may_commit(V1, H1, A)


def test_kinds_and_heights_do_not_stand_in_each_others_way() -> None:
    """COMMIT(1) after PREPARE(2): a rule 'nothing below the last position' would block every pipeline."""
    guard = fresh()
    assert guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert guard.may_prepare(V0, H2, B, A, GENESIS)
    assert guard.may_commit(V0, H1, A)
    assert guard.may_propose(V0, H1, C)


def test_nothing_is_signed_in_a_view_that_was_left() -> None:
    guard = fresh()
    assert guard.may_change_view(V1, A)
    assert not guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert not guard.may_commit(V0, H1, A)
    assert not guard.may_propose(V0, H1, A)
    assert not guard.may_open_view(V0, A)
    assert not reloaded(guard).may_commit(V0, H1, A)
    assert guard.may_commit(V1, H1, A), "the view itself is open"


def test_joining_a_view_by_whatever_message_raises_the_floor() -> None:
    guard = fresh()
    guard.join(V2)
    assert not guard.may_commit(V1, H1, A)
    assert guard.may_commit(V2, H1, A)
    guard.join(V1)
    assert guard.floor == V2, "a floor never falls"


def test_a_view_is_left_and_opened_with_one_statement_only() -> None:
    guard = fresh()
    assert guard.may_change_view(V1, A)
    assert guard.may_change_view(V1, A)
    assert not guard.may_change_view(V1, B)
    assert guard.may_open_view(V1, A)
    assert not guard.may_open_view(V1, B)
    assert guard.may_change_view(V2, B)
    assert not guard.may_change_view(V1, A)


def test_within_a_view_each_prepare_is_for_a_child_of_the_last_one() -> None:
    guard = fresh()
    assert guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert not guard.may_prepare(V0, H2, C, B, GENESIS), "a child of another block"
    assert guard.may_prepare(V0, H2, C, A, GENESIS)
    assert not guard.may_prepare(V0, H2, B, A, GENESIS), "a second child"


def test_a_child_of_a_committed_block_may_be_prepared_after_catching_up() -> None:
    guard = fresh()
    assert guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert not guard.may_prepare(V0, H3, C, B, A)
    assert guard.may_prepare(V0, H3, C, B, B), "B at height 2 is known to be committed"


def test_a_prepare_never_goes_back_in_its_view() -> None:
    guard = fresh()
    assert guard.may_prepare(V0, H2, B, A, A)
    assert not guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    assert not guard.may_prepare(V0, H1, A, A, A), "not even on a committed block"


def test_the_first_prepare_of_a_view_may_stand_anywhere() -> None:
    """That it is for the view's tip is the engine's rule: the guard does not know tips."""
    guard = fresh()
    assert guard.may_prepare(V0, H2, B, A, GENESIS)
    assert guard.may_prepare(V1, H1, C, GENESIS, GENESIS)
    assert guard.last_prepared(V0) is None
    assert guard.last_prepared(V1) == (H1, C)


def test_the_chain_rule_survives_a_restart() -> None:
    guard = fresh()
    guard.may_prepare(V0, H1, A, GENESIS, GENESIS)
    again = reloaded(guard)
    assert again.last_prepared(V0) == (H1, A)
    assert not again.may_prepare(V0, H2, C, B, GENESIS)
    assert again.may_prepare(V0, H2, C, A, GENESIS)


def test_below_the_watermark_nothing_is_signed_and_at_it_the_slot_stays() -> None:
    guard = fresh()
    for height, link in ((H1, A), (H2, B), (H3, C)):
        guard.may_commit(V0, height, link)
    guard.forget_below(H2)
    assert not guard.may_commit(V1, H1, A)
    assert not guard.may_commit(V0, H2, C), "the last final height is still held to its link"
    assert guard.may_commit(V0, H2, B)
    assert len(GUARD_RECORD.decode(guard.record()).slots) == 2
    guard.forget_below(H1)
    assert not guard.may_commit(V1, H1, A), "a watermark never falls"


def test_view_changes_are_not_forgotten_with_heights() -> None:
    guard = fresh()
    guard.may_change_view(V1, A)
    guard.forget_below(Height(100))
    assert not guard.may_change_view(V1, B)
    assert not guard.may_commit(V0, Height(100), A)


def test_the_sequence_grows_with_every_record() -> None:
    guard = fresh()
    numbers = [GUARD_RECORD.decode(guard.record()).sequence for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert Guard(0, guard.record()).sequence == 4


def test_a_new_epoch_has_a_new_key_and_forgets_the_old_ones_slots_but_not_the_sequence() -> None:
    guard = fresh()
    guard.may_change_view(V2, A)
    later = Guard(1, guard.record())
    assert later.may_commit(V0, H1, A)
    assert later.sequence == 1


def test_bytes_that_are_no_record_are_refused() -> None:
    for junk in (b"", b"\x00", b"junk", GUARD_RECORD.encode(GUARD_RECORD.decode(fresh().record())) + b"\x00"):  # fmt: skip
        with pytest.raises(Refused):
            Guard(0, junk)


links = st.sampled_from([A, B, C])
views = st.integers(0, 3).map(View)
heights = st.integers(1, 4).map(Height)
asks = st.one_of(
    st.tuples(st.just("propose"), views, heights, links),
    st.tuples(st.just("prepare"), views, heights, links),
    st.tuples(st.just("commit"), views, heights, links),
    st.tuples(st.just("leave"), views, heights, links),
    st.tuples(st.just("open"), views, heights, links),
)


@given(st.lists(st.tuples(asks, st.booleans()), max_size=40))
def test_whatever_is_asked_no_two_permissions_conflict_across_restarts(
    plays: list[tuple[tuple[str, View, Height, Link], bool]],
) -> None:
    """The property that the rest is for, over every history of asks and restarts."""
    guard = fresh()
    said: dict[tuple[str, View, Height], Link] = {}
    floor = 0
    for (kind, view, height, link), restart in plays:
        if restart:
            guard = reloaded(guard)
        match kind:
            case "propose":
                allowed = guard.may_propose(view, height, link)
            case "prepare":
                allowed = guard.may_prepare(view, height, link, GENESIS, GENESIS)
            case "commit":
                allowed = guard.may_commit(view, height, link)
            case "leave":
                allowed, height = guard.may_change_view(view, link), Height(0)
            case _:
                allowed, height = guard.may_open_view(view, link), Height(0)
        if allowed:
            assert said.setdefault((kind, view, height), link) == link
            assert view >= floor
            if kind == "leave":
                floor = view
