"""What a member says it waits for when the cause is on its own machine, or between it and one peer."""

from msgspec.structs import replace

from tallystick.consensus.pbft.messages import MESSAGE, Disagree, Proposal, Vote
from tallystick.consensus.waiting import Phase, Waiting
from tallystick.network.wire.frames import Channel, unpack
from tallystick.network.wire.ids import Epoch, Height, Link, NodeId, View
from tallystick.network.wire.signing import Phase as Kind
from tallystick.network.wire.signing import disagree_message
from tallystick.node.core.block_data import describe
from tallystick.node.core.events import PeerDown, PeerFrame, PeerUp, Wait
from tallystick.node.core.follower import Follower
from tallystick.node.core.messages import BODY_MESSAGE, Forward
from tallystick.node.storage.memory import MemoryStore
from tests.sim.crypto import Signer
from tests.unit.core.lab import STEADY, Box, Lab


def waiting(lab: Lab, node: int) -> Waiting:
    return lab.core(node).status().waiting


class Without(Lab):
    """A lab in which some frames never arrive."""

    def lost(self, sender: NodeId, to: NodeId, frame: bytes) -> bool:
        raise NotImplementedError

    def post(self, box: Box, event: object) -> None:
        if isinstance(event, PeerFrame) and self.lost(event.peer, box.node, event.frame):
            return
        super().post(box, event)  # type: ignore[arg-type]


class WithoutBodiesFor3(Without):
    def lost(self, sender: NodeId, to: NodeId, frame: bytes) -> bool:
        return to == 3 and unpack(frame)[0] is Channel.BODIES


class WithoutVotes(Without):
    """Nobody hears anybody's votes."""

    def lost(self, sender: NodeId, to: NodeId, frame: bytes) -> bool:
        channel, payload = unpack(frame)
        return channel is Channel.CONSENSUS and isinstance(MESSAGE.decode(payload), Vote)


def test_a_member_that_lacks_the_bodies_of_the_proposed_block_names_whom_it_asked() -> None:
    lab = WithoutBodiesFor3()
    lab.cut = {
        (2, 3),
        (1, 3),
    }  # nor does it hear the others' votes: else it would fetch the final block
    lab.submit(0, lab.issue(), wait=Wait.RECEIVED)
    lab.pass_time(40)
    told = waiting(lab, 3)
    assert told.phase is Phase.BODIES
    assert len(told.awaited) == 1
    assert told.awaited[0] in (0, 1, 2)
    assert "1 transactions of the proposed block" in told.unblocks


def test_a_member_whose_disk_hangs_names_its_disk() -> None:
    lab = Lab()
    lab.box(2).held = []
    lab.cut = {(1, 2), (3, 2)}
    lab.submit(0, lab.issue(), wait=Wait.RECEIVED)
    told = waiting(lab, 2)
    assert (told.phase, told.awaited, told.needed) == (Phase.DISK, (2,), 1)
    assert told.since_ms == lab.now_ms
    lab.disk_goes_on(2)
    assert waiting(lab, 2).phase is not Phase.DISK


def test_a_block_from_the_future_waits_for_this_nodes_clock() -> None:
    lab = Lab(running=(0, 1, 2, 3))
    lab.cut = {(0, 3), (1, 3), (2, 3)}
    lab.now_ms += 5_000  # the leader's clock runs ahead, seen from member 3
    lab.submit(0, lab.issue(), wait=Wait.RECEIVED)
    said = [each for each in lab.said(0) if isinstance(each, Proposal)][-1]
    body = [each for each in lab.said_bodies(0) if isinstance(each, Forward)][-1]
    lab.now_ms -= 5_000
    lab.frame(0, 3, Channel.BODIES, BODY_MESSAGE.encode(body))
    lab.say(0, 3, said)
    told = waiting(lab, 3)
    assert (told.phase, told.awaited) == (Phase.CLOCK, (3,))
    assert "believable from" in told.unblocks


def test_missing_votes_are_named_by_a_whole_node_too() -> None:
    lab = WithoutVotes()
    lab.submit(0, lab.issue(), wait=Wait.RECEIVED)
    told = waiting(lab, 1)
    assert (told.phase, told.awaited, told.needed) == (Phase.PREPARES, (0, 2, 3), 2)


def test_a_node_that_catches_up_says_up_to_where_and_of_whom() -> None:
    lab = Lab(running=(0, 1, 2))
    for _ in range(12):
        lab.submit(0, lab.issue())
    lab.cut = {(node, 3) for node in range(3)}
    lab.start(3)
    lab.settle()
    assert not lab.core(3).status().level
    standing = next(each for each in lab.said(0) if type(each).__name__ == "Decided")
    lab.say(0, 3, standing)
    lab.pass_time(150)
    status = lab.core(3).status()
    assert status.catch_up_to == lab.core(0).ledger.height
    assert status.waiting.phase is Phase.CATCH_UP
    assert status.waiting.needed == 1
    assert len(status.waiting.awaited) == 1
    lab.cut = set()
    lab.pass_time(3_000)
    assert lab.core(3).status().catch_up_to is None
    assert lab.core(3).status().level


def test_who_is_down_is_named_with_the_moment_since_when() -> None:
    lab = Lab(running=(0, 1, 2))
    began_ms = lab.now_ms
    lab.pass_time(500)
    assert lab.core(0).status().peers_down == ((3, began_ms),)
    lab.hear(0, PeerDown(NodeId(2)))
    assert lab.core(0).status().peers_down == ((2, began_ms + 500), (3, began_ms))
    told = waiting(lab, 0)
    assert (told.phase, told.awaited, told.needed) == (Phase.CONNECTIONS, (2, 3), 1)
    lab.hear(0, PeerUp(NodeId(2)))
    assert lab.core(0).status().peers_down == ((3, began_ms),)


def test_an_alarm_that_halts_the_engine_halts_the_node_and_says_so() -> None:
    lab = WithoutCommits(parameters=replace(STEADY, view_timeout_ms=300))
    lab.submit(0, lab.issue(), wait=Wait.RECEIVED)
    core = lab.core(3)
    tip = [each for each in lab.said(0) if isinstance(each, Proposal)][-1]
    block = describe(tip.block)
    assert block is not None
    lab.pass_time(1_500)
    assert core.status().view > 0
    for member in (1, 2):
        lab.say(member, 3, disagreement(lab, member, core.status().view, block.height, block.link))
    assert core.halted is not None
    assert f"executed the block proposed at height {block.height} differently" in core.halted
    assert lab.box(3).halted == core.halted
    status = core.status()
    assert (status.halted, status.waiting.phase) == (core.halted, Phase.PEOPLE)
    assert status.waiting.awaited == ()


class WithoutCommits(Without):
    """Blocks become prepared and no more."""

    def lost(self, sender: NodeId, to: NodeId, frame: bytes) -> bool:
        channel, payload = unpack(frame)
        said = MESSAGE.decode(payload) if channel is Channel.CONSENSUS else None
        return isinstance(said, Vote) and said.phase == Kind.COMMIT


def disagreement(lab: Lab, member: int, view: int, height: int, link: Link) -> Disagree:
    """A genuine statement that the block's execution gave another link."""
    own, epoch = Link(b"\x01" * 32), Epoch(0)
    message = disagree_message(lab.purse.chain, 0, epoch, View(view), Height(height), link, own)
    signature = Signer(NodeId(member), lab.keys).sign(message)
    return Disagree(epoch, View(view), Height(height), link, own, signature)


def test_an_observer_names_the_members_it_follows() -> None:
    lab = Lab(running=())
    observer = Follower(NodeId(65_000), lab.genesis, MemoryStore(), lab.now_ms, lab.keys.verify)
    told = observer.status().waiting
    assert (told.phase, told.awaited, told.needed) == (Phase.CONNECTIONS, (0, 1, 2, 3), 1)
    observer.handle(PeerUp(NodeId(2)), lab.now_ms)
    told = observer.status().waiting
    assert (told.phase, told.awaited, told.needed) == (Phase.CATCH_UP, (2,), 1)
    assert not observer.status().level
