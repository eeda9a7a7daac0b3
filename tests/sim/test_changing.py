"""Members change in the middle of chaos, as the swarm draws it: what is drawn, and that the checkers would see what must not be.

The seeds themselves stand in `test_seeds`; `test_members` and `test_raft_members` play one change each, with a play of their own.
"""

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from tallystick.consensus.accountability.guard import Guard
from tallystick.consensus.pbft.messages import MESSAGE as PBFT_MESSAGE
from tallystick.consensus.pbft.messages import Vote
from tallystick.consensus.raft.messages import MESSAGE as RAFT_MESSAGE
from tallystick.consensus.raft.messages import AskVote
from tallystick.network.proofs.certificates import Certificate, CertVote
from tallystick.network.wire.blocks import NO_CHANGE
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase, vote_message
from tallystick.node.core.ledger import BlockRecord
from tests.sim.changes import AROUND, KINDS, NEWCOMERS
from tests.sim.checkers import Violation
from tests.sim.checkers.epochs import BallotsByEpoch, VotesByEpoch
from tests.sim.plan import CHANGING_FROM, FAIR, LATER_FROM, Engine, Plan, plan_of
from tests.sim.run import Play

ENGINES = ["pbft", "raft"]


def plan_with(engine: Engine, kind: str, **changes: object) -> Plan:
    """A plan in fair weather, with room in its blocks, that has one change of this kind, early, with these fields."""
    for seed in range(CHANGING_FROM, CHANGING_FROM + 500):
        plan = plan_of(seed, engine)
        if plan.changes and plan.changes[0].kind == kind and not plan.observer:
            break
    first = {"at_ms": 400, "around": (), "cut_before": False, "lost": False} | changes
    change = replace(plan.changes[0], **first)  # type: ignore[arg-type]
    room = with_fields(plan.parameters, block_transactions_max=50, block_work_max=40_000)
    return replace(
        plan,
        hostile={},
        faults=(),
        weather=FAIR,
        parameters=room,
        changes=(change,),
        chaos_ms=6_000,
    )


def played(plan: Plan) -> Play:
    play = Play(plan)
    play.chaos()
    play.calm()
    play.afterwards()
    return play


@pytest.fixture(scope="module", params=ENGINES)
def swapped(request: pytest.FixtureRequest) -> Play:
    """A network that has put its leader out, for one who lost its disk at the boundary."""
    return played(plan_with(request.param, "swap", leaver="leader", newcomer="wiped"))


# -- what is drawn -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_three_of_four_new_seeds_change_members_in_every_way(engine: Engine) -> None:
    plans = [plan_of(seed, engine) for seed in range(CHANGING_FROM, CHANGING_FROM + 20)]
    changes = [change for plan in plans for change in plan.changes]
    assert 12 <= sum(bool(plan.changes) for plan in plans) < 20
    assert {change.kind for change in changes} == set(KINDS)
    assert {each for change in changes for each in change.around} == set(AROUND)
    assert {change.newcomer for change in changes} == set(NEWCOMERS)
    assert {change.leaver for change in changes} == {"leader", "hostile", "anybody"}
    assert any(change.lost for change in changes)
    assert any(change.cut_before for change in changes)
    assert any(plan.hostile for plan in plans) == (engine == "pbft")
    assert max(len(plan.changes) for plan in plans) > 1


@pytest.mark.parametrize("engine", ENGINES)
def test_old_seeds_change_no_members(engine: Engine) -> None:
    """So that a seed that failed once plays again what failed."""
    for seed in (*range(1, 200), LATER_FROM, 40_000, 100_276, 1_000_000, CHANGING_FROM - 1):
        assert not plan_of(seed, engine).changes


# -- what is played ----------------------------------------------------------------------------------------------------


def test_the_leader_is_put_out_and_who_takes_its_place_has_lost_its_disk(swapped: Play) -> None:
    struck = swapped.nemesis.struck
    assert struck["change: leader put out"] == struck["change: settled"] == 1
    assert struck["change: newcomer wiped"] == 1
    (change,) = swapped.plan.changes
    epochs = swapped.world.epochs
    assert epochs.epoch == 1
    assert set(change.ids) <= set(epochs.ids(1))
    votes = swapped.world.votes
    assert isinstance(votes, VotesByEpoch | BallotsByEpoch)
    assert votes.latest[change.ids[0]] == 1, "the newcomer has promised something"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lost_machine_is_replaced_by_a_spare_that_begins_with_an_empty_disk(
    engine: Engine,
) -> None:
    play = played(plan_with(engine, "spare", leaver="anybody", newcomer="late", lost=True))
    struck = play.nemesis.struck
    assert struck["change: machine lost"] == struck["change: joins with an empty disk"] == 1
    (lost,) = [host for host in play.world.hosts if host.lost]
    assert lost.core is None
    assert lost.node not in play.world.epochs.ids(1)


def test_a_hostile_member_that_was_put_out_votes_in_vain() -> None:
    plan = plan_with("pbft", "swap", leaver="hostile", newcomer="follows")
    play = played(replace(plan, hostile={1: "selective"}))
    assert play.nemesis.struck["change: votes of who was put out"] > 10
    assert 1 not in play.world.epochs.ids(1)


# -- what the checkers would see ---------------------------------------------------------------------------------------


def opened(play: Play) -> tuple[int, BlockRecord]:
    """The first block of epoch 1, from some member's ledger, and the checker as it was before that block."""
    (closing,) = play.world.epochs.closed_at
    core = play._voting()[0]
    for height in range(closing + 1, play.world.chain.height):
        record = core.ledger.block(height)
        if record is not None and record.certificate.height == height:
            return height, record
    raise AssertionError("no block of the new epoch has a certificate of its own")


def test_a_vote_of_who_was_put_out_is_seen_in_a_certificate(swapped: Play) -> None:
    world, (height, record) = swapped.world, opened(swapped)
    world.epochs.certified("node", height, record)
    (out,) = set(world.epochs.ids(0)) - set(world.epochs.ids(1))
    first, *others = record.certificate.votes
    message = vote_message(
        swapped.purse.chain, 0, Epoch(1), record.certificate.view, Height(height), Phase.COMMIT,
        record.certificate.link, record.certificate.parent_link,
    )  # fmt: skip
    ghost = CertVote(NodeId(out), world.keys.sign(out, message))
    haunted = with_fields(record.certificate, votes=(ghost, *others))
    with pytest.raises(Violation, match=rf"P27.*\[{out}\] vote for"):
        world.epochs.certified("node", height, replaced(record, haunted))
    forged = with_fields(record.certificate, votes=(with_fields(first, signature=bytes(64)), *others))  # fmt: skip
    with pytest.raises(Violation, match=r"I2.*forged vote"):
        world.epochs.certified("node", height, replaced(record, forged))
    fewer = with_fields(record.certificate, votes=(first,))
    with pytest.raises(Violation, match=r"I2.*no quorum"):
        world.epochs.certified("node", height, replaced(record, fewer))
    older = with_fields(record.certificate, epoch=Epoch(0))
    with pytest.raises(Violation, match=r"I2.*certified in 0"):
        world.epochs.certified("node", height, replaced(record, older))


def replaced(record: BlockRecord, certificate: Certificate) -> BlockRecord:
    return with_fields(record, certificate=certificate)


def test_a_block_that_closes_without_a_change_or_changes_without_closing_is_seen(
    swapped: Play,
) -> None:
    epochs = swapped.world.epochs
    height, record = opened(swapped)
    closes = with_fields(record, result=with_fields(record.result, next_epoch=b"\x01" * 32))
    with pytest.raises(Violation, match=r"I2.*closes its epoch: True, for 0 changes"):
        epochs.played(height, closes, [])
    core = swapped._voting()[0]
    closing = core.ledger.block(epochs.closed_at[0])
    assert closing is not None
    assert closing.result.next_epoch != NO_CHANGE


def test_nobody_speaks_in_an_epoch_that_does_not_name_him_nor_in_one_that_he_has_left(
    swapped: Play,
) -> None:
    world = swapped.world
    votes = world.votes
    assert isinstance(votes, VotesByEpoch | BallotsByEpoch)
    (out,) = set(world.epochs.ids(0)) - set(world.epochs.ids(1))
    (new,) = set(world.epochs.ids(1)) - set(world.epochs.ids(0))
    stays = min(set(world.epochs.ids(1)) & set(votes.latest))
    durable = Guard(Epoch(1), None).record()
    raft = swapped.plan.engine == "raft"
    for signer, epoch, sentence in (
        (out, 1, "speaks in epoch 1 of"),
        (new, 0, "speaks in epoch 0 of"),
        (stays, 0, "signs in epoch 0 after one of 1"),
        (stays, 2, "somebody speaks in epoch 2"),
    ):
        frame = ballot(epoch) if raft else vote(epoch)
        with pytest.raises(Violation, match=f"P27.*{sentence}"):
            votes.leaves(signer, None, frame, durable, world.chain.links)


def vote(epoch: int) -> bytes:
    said = Vote(Phase.COMMIT, Epoch(epoch), View(0), Height(9), Link(b"\x01" * 32), Link(b"\x02" * 32), bytes(64))  # fmt: skip
    return pack(Channel.CONSENSUS, PBFT_MESSAGE.encode(said))


def ballot(epoch: int) -> bytes:
    said = AskVote(Epoch(epoch), View(9), False, View(0), Height(0), Height(0), False)
    return pack(Channel.CONSENSUS, RAFT_MESSAGE.encode(said))
