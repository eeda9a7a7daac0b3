"""Random walks: agreement, durability, election safety and log matching after every step; afterwards, progress."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tallystick.consensus.api import IndexKnown
from tallystick.consensus.raft import elections, following, operations
from tallystick.consensus.raft.state import RaftState
from tallystick.network.wire.ids import Height, NodeId
from tests.unit.raft.owner import Broken
from tests.unit.raft.walk import walk

SEEDS = 300
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_whatever_happens_the_members_agree_and_go_on_afterwards(first: int) -> None:
    outcomes = [walk(seed) for seed in range(first, first + 50)]
    assert sum(outcome.height for outcome in outcomes) > 500
    assert sum(outcome.terms for outcome in outcomes) > 100
    assert any(outcome.truncations for outcome in outcomes)
    assert sum(outcome.reads for outcome in outcomes) > 50


def test_a_walk_is_the_same_whatever_the_hash_seed() -> None:
    program = (
        "from tests.unit.raft.walk import walk\n"
        "print([(o.digest, o.height, o.terms) for o in map(walk, range(7_000, 7_012))])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count("'") == 24


def _any_log_may_lead(state: RaftState, ask: object) -> bool:
    return True


def _trusts_the_commit_index(state: RaftState) -> None:
    state.commit = Height(max(state.commit, min(state.leader_commit, state.log.last_height)))


def _acknowledges_its_whole_log(state: RaftState, match: Height, round_: int) -> None:
    _honest_acknowledge(state, state.log.last_height, round_)


_honest_acknowledge = following._acknowledge


def _answers_a_read_at_once(state: RaftState, asker: NodeId, token: int, now_ms: int) -> None:
    """A leader that does not ask whether it still leads (a lease of infinite length)."""
    if asker == state.me:
        state.out.append(IndexKnown(token, state.commit))


@pytest.mark.parametrize(
    ("room", "name", "mutant"),
    [
        (elections, "_may_lead", _any_log_may_lead),
        (following, "advance_commit", _trusts_the_commit_index),
        (following, "_acknowledge", _acknowledges_its_whole_log),
        (operations, "_begin", _answers_a_read_at_once),
    ],
)
def test_walks_kill_planted_bugs(
    monkeypatch: pytest.MonkeyPatch, room: object, name: str, mutant: object
) -> None:
    monkeypatch.setattr(room, name, mutant)
    with pytest.raises(Broken):
        _walk_all(range(400))


def _walk_all(seeds: range) -> None:
    for seed in seeds:
        walk(seed)
