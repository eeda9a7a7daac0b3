"""Raft's arithmetic from etcd-io/raft: 78 tables of votes and commit indexes, 6 scripts of configuration changes."""

import json
import re
from pathlib import Path
from typing import Any

from tallystick.consensus.raft.membership import (
    Change,
    ChangeRefused,
    Configuration,
    Step,
    enter_joint,
    leave_joint,
    simple,
)
from tallystick.consensus.raft.quorums import Tally, joint_committed_index, joint_tally
from tallystick.network.wire.ids import NodeId

TALLIES = {"VoteWon": Tally.WON, "VotePending": Tally.PENDING, "VoteLost": Tally.LOST}
STEPS = {"v": Step.VOTER, "l": Step.LEARNER, "r": Step.REMOVE}


def test_every_published_quorum_table_holds(shared_vectors: Path) -> None:
    cases: list[dict[str, Any]] = json.loads((shared_vectors / "raft" / "quorum.json").read_text())
    votes = indexes = 0
    for case in cases:
        voters, outgoing = case["voters"], case["voters_outgoing"] or []
        if case["op"] == "vote":
            given = {int(node): _vote(vote) for node, vote in case["votes"].items()}
            known = {node: vote for node, vote in given.items() if vote is not None}
            assert joint_tally(voters, outgoing, known) is TALLIES[case["expected"]], case
            votes += 1
        else:
            acked = {int(node): int(index) for node, index in case["acked_index"].items()}
            expected = None if case["expected"] == "infinity" else case["expected"]
            assert joint_committed_index(voters, outgoing, acked) == expected, case
            indexes += 1
    assert (votes, indexes) == (38, 40)


def _vote(vote: Any) -> bool | None:
    return {True: True, False: False, "y": True, "n": False}.get(vote)


def test_every_published_script_of_changes_ends_in_its_configuration(shared_vectors: Path) -> None:
    refused = changed = 0
    files = sorted((shared_vectors / "raft" / "confchange").glob("*.txt"))
    for path in files:
        configuration = Configuration(frozenset())
        for command, expected in _blocks(path.read_text()):
            try:
                configuration = _run(configuration, command)
            except ChangeRefused:
                assert not expected.startswith("voters="), (path.name, command, expected)
                refused += 1
            else:
                assert _shown(configuration) == expected, (path.name, command)
                changed += 1
    assert (len(files), changed, refused) == (6, 24, 17)


def _blocks(text: str) -> list[tuple[list[str], str]]:
    """(directive and its input tokens, first line of the expected output) of each block."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    blocks = [block.strip() for block in re.split(r"\n\s*\n", lines) if "----" in block]
    found = []
    for block in blocks:
        command, output = block.split("----")
        found.append((command.split(), output.strip().splitlines()[0]))
    return found


def _run(configuration: Configuration, command: list[str]) -> Configuration:
    name, tokens = command[0], [token for token in command[1:] if "=" not in token]
    # Node zero is etcd's "nobody"; here it is a member like any other, so the scripts' zeros are left out.
    changes = [
        Change(STEPS[token[0]], NodeId(int(token[1:]))) for token in tokens if token[1:] != "0"
    ]
    if name == "simple":
        return simple(configuration, changes)
    if name == "enter-joint":
        return enter_joint(configuration, changes, "autoleave=true" in command)
    return leave_joint(configuration)


def _shown(configuration: Configuration) -> str:
    """As etcd writes it."""

    def listed(nodes: frozenset[NodeId]) -> str:
        return "(" + " ".join(str(node) for node in sorted(nodes)) + ")"

    text = f"voters={listed(configuration.voters)}"
    if configuration.outgoing is not None:
        text += f"&&{listed(configuration.outgoing)}"
    if configuration.learners:
        text += f" learners={listed(configuration.learners)}"
    if configuration.learners_next:
        text += f" learners_next={listed(configuration.learners_next)}"
    return text + (" autoleave" if configuration.auto_leave else "")
