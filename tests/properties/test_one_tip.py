"""Any q view changes of any reachable set yield exactly one tip, and it never loses what is committed.

Reachable sets come from playing: views in which random parts of PREPARE and COMMIT arrive, then a change of view by a random
quorum. Would have caught: indy-plenum #1506 (no choice at all), selection by view alone, by height alone.
"""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.consensus.pbft.messages import Proposal, ViewChange
from tallystick.consensus.pbft.view_change import signed_change, tip_of
from tallystick.network.proofs.certificates import quorum_of
from tallystick.network.wire.ids import NodeId, View
from tests.unit.consensus.table import Table, is_commit

MEMBERS = 4
subsets = st.sets(st.integers(0, MEMBERS - 1))


@st.composite
def plays(draw: st.DrawFn) -> list[tuple[set[int], set[int], set[int]]]:
    """For each view: who hears proposals, who hears PREPAREs, who hears COMMITs."""
    return [(draw(subsets), draw(subsets), draw(subsets)) for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=120, deadline=None)
@given(plays(), st.integers(1, 2))
def test_every_quorum_of_view_changes_gives_one_tip_that_holds_all_that_is_committed(
    views: list[tuple[set[int], set[int], set[int]]], pipeline: int
) -> None:
    table = Table(MEMBERS, pipeline=pipeline, block_max=1)
    for proposed, prepared, committed in views:
        table.work(2)

        def rule(_: NodeId, to: NodeId, message: object, heard: tuple[set[int], ...] = (proposed, prepared, committed)) -> bool:  # fmt: skip
            if isinstance(message, Proposal):
                return to in heard[0]
            if is_commit(message):  # type: ignore[arg-type]
                return to in heard[2]
            return to in heard[1]

        table.deliver(rule)
        table.lose()
        everybody_is_asked(table)
        table.tick(1_000)
        table.tick(1_000)
        table.deliver(lambda _, __, message: isinstance(message, ViewChange))
        table.deliver(lambda _, __, message: not isinstance(message, Proposal))
        table.lose()
    everybody_is_asked(table)
    assert table.chains_agree()


def everybody_is_asked(table: Table) -> None:
    """What each would show if it left now: each quorum's tip is unique, and at or above every committed block."""
    states = [table.engine(node)._state for node in range(table.members)]
    changes = [signed_change(state, View(state.view + 1), state.high) for state in states]
    committed = max((seat.disk.height for seat in table.seats.values()), default=0)
    links = max((seat.chain for seat in table.seats.values()), key=len)
    for chosen in combinations(changes, quorum_of(table.members)):
        tip = tip_of(chosen)
        assert tip == tip_of(tuple(reversed(chosen)))
        shown = [change.certificate for change in chosen if change.certificate is not None]
        ranks = [certificate.rank for certificate in shown if tip and certificate.rank == tip.rank]
        same = {certificate.link for certificate in shown if tip and certificate.rank == tip.rank}
        assert len(same) <= 1, f"two tips of one rank {ranks}"
        if committed:
            assert tip is not None, "a committed block is unknown to a quorum"
            assert tip.height >= committed
            assert stands_on(table, tip.link, links[committed - 1], committed)


def stands_on(table: Table, link: bytes, ancestor: bytes, height: int) -> bool:
    """Whether the block `link` is `ancestor` or a descendant of it."""
    while link != ancestor:
        block = table.known.get(link)  # type: ignore[call-overload]
        if block is None or block.height <= height:
            return False
        link = block.parent_link
    return True
