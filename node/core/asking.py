"""What a node lacks, it asks of one member after the other: bodies and blocks for a proposal, final blocks to catch up.

Not here: what is lacking (`judging`, `catch_up`), what an answer is worth.
"""

from collections.abc import Callable

from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import BodyId
from tallystick.node.core.catch_up import CatchUp
from tallystick.node.core.judging import Judging
from tallystick.node.core.messages import (
    BODY_MESSAGE,
    CATCH_UP_MESSAGE,
    AskBlockData,
    AskBodies,
)
from tallystick.node.core.peers import Peers
from tallystick.node.core.step import Step


def ask_for_missing(
    judging: Judging,
    catch_up: CatchUp,
    is_on_its_way: Callable[[BodyId], bool],
    now_ms: int,
    peers: Peers,
    step: Step,
) -> None:
    """Whatever is due to be asked for now. Final blocks prove themselves, and our own members may have left meanwhile: of
    those, every source is asked."""
    wants = judging.wants(now_ms, peers.members, is_on_its_way)
    if wants is not None:
        peer, ids, links = wants
        if ids:
            step.hearsay(Channel.BODIES, BODY_MESSAGE.encode(AskBodies(ids)), peer)
        for link in links:
            step.hearsay(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(AskBlockData(link)), peer)
    if catch_up.wants:
        asked = catch_up.ask(now_ms, peers.sources)
        if asked is not None:
            step.hearsay(Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(asked[1]), asked[0])
