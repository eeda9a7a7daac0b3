"""Epochs of partial delivery on bare engine cores: all is well in the default runs, and each planted bug is met by some."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from msgspec.structs import replace

from tallystick.consensus.accountability import guard
from tallystick.consensus.pbft import ordering, state, view_change
from tallystick.consensus.pbft.messages import ViewChange
from tallystick.consensus.raft import core as raft_core
from tallystick.consensus.raft import elections, following
from tallystick.consensus.raft import state as raft_state
from tallystick.consensus.raft.state import RaftState
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import Height, View
from tests.explorer.explorer import Explored, explore

CHUNK = 250
RUNS = {"raft": 2_000, "pbft": 1_500}
"""About half a minute of one core for each engine."""
LOUD = (AssertionError, InvariantError)

Plant = Callable[[pytest.MonkeyPatch], None]


CHUNKS = [(engine, first) for engine in RUNS for first in range(0, RUNS[engine], CHUNK)]


def explore_chunk(engine: str, first: int) -> None:
    """Every run agrees (`explore` raises else), and they did what such runs are for: blocks, views, crashes, lies."""
    found: list[Explored] = []
    for seed in range(first, first + CHUNK):
        try:
            found.append(explore(engine, seed))
        except LOUD as error:
            raise AssertionError(f"explore({engine!r}, {seed}): {error}") from error
    assert sum(run.height for run in found) > 2 * CHUNK
    assert sum(run.views for run in found) > 2 * CHUNK
    assert sum(run.crashes for run in found) > CHUNK
    assert sum(run.statements for run in found) > 50 * CHUNK
    assert engine == "raft" or sum(run.lies for run in found) > CHUNK


def explore_all(engine: str, seeds: range) -> None:
    for seed in seeds:
        explore(engine, seed)


@pytest.mark.parametrize(("engine", "first"), CHUNKS)
def test_whatever_part_of_the_messages_arrives_the_members_agree(engine: str, first: int) -> None:
    explore_chunk(engine, first)


@pytest.mark.campaign
@pytest.mark.parametrize("engine", RUNS)
def test_many_more_parts(engine: str, campaign_first: int) -> None:
    explore_chunk(engine, campaign_first)


def test_a_run_is_the_same_twice() -> None:
    for engine in RUNS:
        assert explore(engine, 3) == explore(engine, 3)


# -- what it must find -------------------------------------------------------------------------------------------------


def acknowledges_its_whole_log(patch: pytest.MonkeyPatch) -> None:
    honest = following._acknowledge

    def whole_log(at: RaftState, match: Height, round_: int) -> None:
        honest(at, at.log.last_height, round_)

    patch.setattr(following, "_acknowledge", whole_log)


def commit_index_past_the_append(patch: pytest.MonkeyPatch) -> None:
    def trusts(at: RaftState) -> None:
        at.commit = Height(max(at.commit, min(at.leader_commit, at.log.last_height)))

    patch.setattr(following, "advance_commit", trusts)


def vote_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """Neither in the record nor in the guard: terms come back after a crash, votes do not."""
    began = raft_core.Raft.__init__

    def init(self: raft_core.Raft, *given: Any, **named: Any) -> None:
        began(self, *given, **named)
        self._state.voted_for = None

    patch.setattr(raft_core.Raft, "__init__", init)
    patch.setattr(guard.Guard, "may_change_view", lambda *_: True)


def term_and_vote_not_persisted(patch: pytest.MonkeyPatch) -> None:
    recorded = raft_state.RaftState._record

    def record(self: RaftState) -> bytes:
        kept = raft_state.RECORD.decode(recorded(self))
        return raft_state.RECORD.encode(replace(kept, term=View(0), voted_for=None))

    patch.setattr(raft_state.RaftState, "_record", record)
    patch.setattr(guard.Guard, "floor", property(lambda _: View(0)))
    patch.setattr(guard.Guard, "may_change_view", lambda *_: True)
    patch.setattr(guard.Guard, "may_prepare", lambda *_: True)
    patch.setattr(guard.Guard, "may_commit", lambda *_: True)


def any_log_may_lead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(elections, "_may_lead", lambda *_: True)


def largest(rank: Callable[[Certificate], Any]) -> Any:
    def tip_of(changes: Iterable[ViewChange]) -> Certificate | None:
        shown = [change.certificate for change in changes if change.certificate is not None]
        return max(shown, key=rank, default=None)

    return tip_of


def tip_by_view_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view_change, "tip_of", largest(lambda each: (each.view, -each.height)))


def tip_by_height_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(view_change, "tip_of", largest(lambda each: (each.height, each.view)))


def view_changes_show_nothing(patch: pytest.MonkeyPatch) -> None:
    signed = view_change.signed_change
    patch.setattr(view_change, "signed_change", lambda at, view, _: signed(at, view, None))


def guard_not_consulted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guard.Guard, "_vacant", lambda *_: True)
    patch.setattr(guard.Guard, "last_prepared", lambda *_: None)
    patch.setattr(guard.Guard, "may_prepare", lambda *_: True)


def prepare_for_a_child_of_another_parent(patch: pytest.MonkeyPatch) -> None:
    def next_block(at: state.PbftState) -> Any:
        height = at.last[0] + 1 if at.last is not None else at.final_height + 1
        link = at.proposals.get(Height(height))
        return None if link is None else at.blocks.get(link)

    patch.setattr(ordering, "_next_block", next_block)
    patch.setattr(guard, "_child", lambda *_: True)


@pytest.mark.parametrize(
    ("engine", "plant"),
    [
        ("raft", acknowledges_its_whole_log),
        ("raft", commit_index_past_the_append),
        ("raft", vote_not_persisted),
        ("raft", term_and_vote_not_persisted),
        ("raft", any_log_may_lead),
        ("pbft", tip_by_view_alone),
        pytest.param("pbft", tip_by_height_first, marks=pytest.mark.campaign),  # one run in 700
        ("pbft", view_changes_show_nothing),
        ("pbft", guard_not_consulted),
        ("pbft", prepare_for_a_child_of_another_parent),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_the_explorer_meets_a_planted_bug(
    engine: str, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises(LOUD):
        explore_all(engine, range(RUNS[engine]))
