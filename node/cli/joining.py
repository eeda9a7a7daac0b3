"""`--join` of `node run` and `observer run`: a ledger from the members' snapshot before the node starts, if it has none."""

import asyncio

from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.ledger_care import guard_record
from tallystick.node.cli.ledger_tools import Display, keys_of
from tallystick.node.cli.output import fail, say
from tallystick.node.compose import links_of
from tallystick.node.config import NodeConfig
from tallystick.node.preflight import genesis_of
from tallystick.node.runtime.clock import WallClock
from tallystick.node.upkeep.joining import Joined, join
from tallystick.node.upkeep.peers import PeerAnswers


def join_first(settings: NodeConfig, as_json: bool) -> None:
    """Do nothing where there is a ledger already, so that the option may stay on a unit's command line."""
    display = Display(as_json)
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = asyncio.run(_joined(settings, display))
    except (OSError, OperationalError) as error:
        display.finish()
        fail(as_json, str(error))
    seconds = display.finish()
    if done is not None:
        document = {"joined": done.height, "state_root": done.state_root.hex(), "seconds": seconds}
        sentence = (
            f"{settings.name} joined at height {done.height:,} in {seconds:.1f} s,"
            f" state root {done.state_root.hex()}"
        )
        say(as_json, document, sentence)


async def _joined(settings: NodeConfig, display: Display) -> Joined | None:
    peers = PeerAnswers(lambda: links_of(settings, WallClock()))
    try:
        return await join(
            settings.data,
            genesis_of(settings),
            peers,
            keys_of(settings),
            display,
            signed=guard_record(settings) is not None,
        )
    finally:
        await peers.close()
