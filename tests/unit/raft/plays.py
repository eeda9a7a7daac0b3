"""Moves that several plays share."""

from collections.abc import Callable

from tallystick.consensus.api import Heard
from tallystick.consensus.raft.messages import MESSAGE, Append, Message
from tests.unit.raft.cluster import Cluster
from tests.unit.raft.owner import Wire

Kind = type[Message] | tuple[type[Message], ...]


def wires(
    cluster: Cluster, kind: Kind, sender: int | None = None, to: int | None = None
) -> list[Wire]:
    """What is on its way, of a kind."""
    return [
        wire
        for wire in cluster.wires
        if isinstance(wire.message, kind)
        and sender in (None, wire.sender)
        and to in (None, wire.to)
    ]


def pass_on(cluster: Cluster, kind: Kind, sender: int | None = None, to: int | None = None) -> int:
    """Deliver what is on its way now, of a kind; receivers sync. How many."""
    found = wires(cluster, kind, sender, to)
    for wire in found:
        cluster.deliver(wire)
        cluster.sync(wire.to)
    return len(found)


def drop(cluster: Cluster, wanted: Callable[[Wire], bool]) -> None:
    cluster.wires = [wire for wire in cluster.wires if not wanted(wire)]


def tell(cluster: Cluster, to: int, sender: int, message: Message) -> None:
    """A message that nobody sent just now: late, repeated or forged."""
    cluster.feed(to, Heard(cluster.ids[sender], MESSAGE.encode(message)))


def led_by(node: int, members: int = 3, **options: object) -> Cluster:
    """A cluster whose first leader has opened its term everywhere."""
    cluster = Cluster(members, **options)  # type: ignore[arg-type]
    cluster.elect(node)
    assert cluster.heights() == [1] * members
    return cluster


def last_append(cluster: Cluster, sender: int, to: int) -> Append:
    """The newest append on its way."""
    message = wires(cluster, Append, sender, to)[-1].message
    assert isinstance(message, Append)
    return message


def link_at(cluster: Cluster, node: int, height: int) -> bytes | None:
    return cluster.members[cluster.ids[node]].state.log.link_at(height)
