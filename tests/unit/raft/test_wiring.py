"""The genesis document chooses the engine; whole replicas under the simulator, and what outsiders make of their evidence."""

from dataclasses import replace as with_changes
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from tallystick.consensus.api import Restored
from tallystick.consensus.pbft import Pbft
from tallystick.consensus.raft import Raft
from tallystick.network.proofs.certificates import crashes_of, faults_of, majority_of, quorum_of
from tallystick.network.proofs.members import MemberSet
from tallystick.network.proofs.verify import verify_receipt
from tallystick.network.wire.bounds import MEMBERS_MAX
from tallystick.network.wire.genesis import genesis_from_json
from tallystick.network.wire.ids import Epoch, Height, NodeId
from tallystick.node.cli.network import network_app
from tallystick.node.core.engines import engine_of
from tests.sim import run
from tests.sim.plan import plan_of
from tests.unit.raft.cluster import Cluster
from tests.unit.wire.examples import genesis


def members(count: int, engine: Any) -> MemberSet:
    return MemberSet(
        Epoch(0), {NodeId(node): node.to_bytes(32, "big") for node in range(count)}, engine
    )


def test_a_quorum_is_what_the_engine_needs() -> None:
    for count in range(1, MEMBERS_MAX + 1):
        bft, cft = members(count, "pbft"), members(count, "raft")
        assert (bft.quorum, bft.faults) == (quorum_of(count), faults_of(count))
        assert (cft.quorum, cft.faults) == (majority_of(count), crashes_of(count))
        assert 2 * cft.quorum > count
        assert cft.quorum + cft.faults <= count


def test_the_member_set_of_a_genesis_has_its_engines_quorum() -> None:
    assert MemberSet.from_genesis(genesis()).engine == "pbft"
    assert MemberSet.from_genesis(replace(genesis(), engine="raft")).engine == "raft"


def test_two_engines_are_two_classes() -> None:
    member = Cluster(1).members[NodeId(0)]
    setup, crypto = member.state.setup, member.state.crypto
    nothing = Restored(None, None, None, Height(0), setup.genesis_link, ())
    assert isinstance(engine_of("pbft", setup, crypto, nothing, 0), Pbft)
    assert isinstance(engine_of("raft", setup, crypto, nothing, 0), Raft)


def test_init_makes_a_network_of_the_engine_that_was_asked_for(tmp_path: Any) -> None:
    folder = tmp_path / "network"
    command = ["init", str(folder), "--members", "3", "--engine", "raft", "--json"]
    assert CliRunner().invoke(network_app, command).exit_code == 0
    assert genesis_from_json((folder / "genesis.json").read_bytes()).engine == "raft"
    refused = ["init", str(tmp_path / "other"), "--engine", "zab"]
    assert CliRunner().invoke(network_app, refused).exit_code == 2


@pytest.mark.parametrize("seed", range(901, 909))
def test_whole_replicas_survive_crashes_partitions_and_slow_disks(seed: int) -> None:
    """The simulator, as it plays Raft: its own checkers of votes and commits, and receipts with the assurance CFT."""
    result = run.run_seed(seed, engine="raft")
    assert result.violation is None, result.violation
    assert result.height > 3


def test_a_receipt_of_a_raft_network_says_that_it_survives_crashes_only() -> None:
    plan = with_changes(plan_of(20, "raft"), members=3, faults=(), real_keys=True)
    play = run.Play(plan)
    play.chaos()
    play.calm()
    core = play.world.honest[0].core
    assert core is not None
    height, index = min(play.world.chain.model.bodies.values())
    receipt = core.reader.receipt(height, index)
    verdict = verify_receipt(receipt, play.world.genesis)
    assert verdict.ok, verdict.failed
    assert verdict.assurance == "CFT"
    certificate = receipt.block.certificate
    least = majority_of(plan.members)
    fewer = replace(certificate, votes=certificate.votes[: least - 1])
    if fewer.votes:
        forged = replace(receipt, block=replace(receipt.block, certificate=fewer))
        assert not verify_receipt(forged, play.world.genesis).ok
