"""Which engine orders this network's blocks: the genesis document says so, once and for ever.

Two engines are two classes behind one interface (`consensus.api`); nothing else in the node asks which one it is.
"""

from typing import assert_never

from tallystick.consensus import api
from tallystick.consensus.pbft import Pbft
from tallystick.consensus.raft import Raft, jitter_of
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import EngineName
from tallystick.node.core.bystander import Bystander
from tallystick.node.core.restoring import forgotten

CULPABLE = frozenset(
    {
        "garbage",
        "bad-proposal",
        "forged-proposal",
        "forged-vote",
        "forged-view-change",
        "forged-new-view",
        "forged-certificate",
        "forged-disagreement",
        "forged-statement",
    }
)
"""What the engine notes that no honest member sends."""


def engine_of(
    name: EngineName,
    setup: api.Setup,
    crypto: api.Crypto,
    restored: api.Restored,
    now_ms: int,
) -> api.Engine:
    """The member's engine as a start, or the end of an epoch, finds it; a bystander's for who does not vote in this one.
    `OperationalError` when its record cannot be read."""
    if setup.me not in setup.vote_keys:
        return Bystander(setup, restored, now_ms)
    try:
        return _engine_of(name, setup, crypto, restored, now_ms)
    except Refused as refused:
        raise forgotten(f"the engine's record: {refused}") from None


def _engine_of(
    name: EngineName,
    setup: api.Setup,
    crypto: api.Crypto,
    restored: api.Restored,
    now_ms: int,
) -> api.Engine:
    match name:
        case "pbft":
            return Pbft(setup, crypto, restored, now_ms)
        case "raft":
            # Members must not wait equally long; nothing secret hangs on it.
            seed = setup.genesis_link + setup.me.to_bytes(2, "big") + now_ms.to_bytes(8, "big")
            return Raft(setup, crypto, restored, jitter_of(seed), now_ms)
        case _:
            assert_never(name)
