"""Who is connected, in the three ways in which it is asked. Kept rather than computed: after every event somebody asks."""

from collections.abc import Iterable

from tallystick.network.wire import bounds
from tallystick.network.wire.ids import NodeId


class Peers:
    """The connected peers, observers among them."""

    def __init__(self) -> None:
        self.up: set[NodeId] = set()
        self.members: list[NodeId] = []
        """Whom we may ask, ascending: observers have nothing of their own."""
        self.sources: list[NodeId] = []
        """Who may have final blocks, ascending: everybody whose number is a member's, of whatever epoch."""
        self._ids: frozenset[NodeId] = frozenset()

    def came(self, peer: NodeId) -> None:
        self.up.add(peer)
        self._sort()

    def left(self, peer: NodeId) -> None:
        self.up.discard(peer)
        self._sort()

    def epoch_of(self, members: Iterable[NodeId]) -> None:
        """These vote from now on."""
        self._ids = frozenset(members)
        self._sort()

    def _sort(self) -> None:
        self.members = sorted(self.up & self._ids)
        self.sources = sorted(peer for peer in self.up if peer <= bounds.MEMBER_ID_MAX)
