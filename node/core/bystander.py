"""The engine of a node that does not vote in this epoch: a member that left, a new bank, a spare that waits for its epoch.

It signs nothing, orders nothing and takes no part; its owner follows certified blocks like an observer, and makes a member's
engine as soon as a block opens an epoch that names the node.
"""

from tallystick.consensus import api
from tallystick.consensus.waiting import Phase, Waiting
from tallystick.network.wire.ids import Height, View

NEVER_MS = 2**62


class Bystander:
    """`consensus.api.Engine` that hears everything and says nothing."""

    __slots__ = ("_height", "_members", "_setup", "_since_ms", "_view")

    def __init__(self, setup: api.Setup, restored: api.Restored, now_ms: int) -> None:
        self._since_ms = now_ms + setup.timing.idle_block_ms
        """From when on the members owe it another block: while they make some, nothing is stalled here."""
        self._members = sorted(setup.vote_keys)
        self._setup = setup
        self._height, self._view = restored.final_height, View(0)

    def handle(self, event: api.Event, now_ms: int) -> list[api.Effect]:
        """Only final blocks that its owner fetched concern it."""
        if isinstance(event, api.CaughtUp):
            self._height, self._view = event.certificate.height, event.certificate.view
            self._since_ms = now_ms + self._setup.timing.idle_block_ms
        return []

    @property
    def deadline_ms(self) -> int:
        return NEVER_MS

    def status(self) -> api.EngineStatus:
        leader = self._members[self._view % len(self._members)]
        what = f"an epoch that names member {self._setup.me}"
        height = Height(self._height + 1)
        waiting = Waiting(Phase.PEOPLE, (), 0, self._since_ms, height, what)
        return api.EngineStatus(self._view, False, leader, self._height, 0, waiting, None)
