"""A ledger that was joined from a snapshot is looked after like any other, and says what it never had."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.ledger import BLOCK_RECORD, _encode
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.comparing import StoredSide, compare
from tallystick.node.upkeep.findings import Level
from tallystick.node.upkeep.repairing import Node, repair
from tests.unit.core.lab import Lab
from tests.unit.core.test_epochs import SPARE, Epochs, settled
from tests.unit.upkeep.disk import on_disk, rows_in
from tests.unit.upkeep.joiners import SAME, Members, equals_executed, joined, table
from tests.unit.upkeep.stage import Peer, grown, looked, stored, with_byte
from tests.unit.upkeep.test_backup import made, taken
from tests.unit.upkeep.test_refuted_raft import raft_lab


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


@pytest.fixture(scope="module")
def rows(lab: Lab) -> dict[bytes, bytes]:
    return joined(lab, Members(lab))[0].snapshot()


def test_its_backup_proves_the_root_and_says_where_transactions_begin(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    taken(lab, made(lab, tmp_path / "backup", rows))
    without = {key: value for key, value in rows.items() if key != schema.WHOLE_FROM}
    with pytest.raises(OperationalError, match="transactions of it are missing"):
        taken(lab, made(lab, tmp_path / "without", without))


def test_transactions_that_are_lost_are_not_taken_for_a_snapshot(
    lab: Lab, rows: dict[bytes, bytes]
) -> None:
    """The row says from where on blocks are whole; below it only what took no id must be there."""
    bare = {**stored(lab), **{key: rows[key] for key in table(rows, schema.BLOCK)}}
    found = looked(lab, bare, Level.MERKLE).findings
    assert {each.what for each in found} == {"transactions of it are missing"}
    for key, value in table(rows, schema.BLOCK).items():
        record = BLOCK_RECORD.decode(value)
        if any(record.bodies):
            blank = replace(record, bodies=(b"",) * len(record.bodies))
            found = looked(lab, {**rows, key: _encode(blank)}, Level.MERKLE).findings
            assert [each.what for each in found] == ["a transaction that took no id is missing"]
            break
    else:
        pytest.fail("nothing was consumed by its body alone")


@pytest.mark.parametrize("name", [*SAME, schema.BLOCK], ids=lambda name: name.decode())
def test_a_changed_row_of_any_table_is_found(
    lab: Lab, rows: dict[bytes, bytes], name: bytes
) -> None:
    for key, value in table(rows, name).items():
        last = len(value) - 1 - (8 if name == schema.REFUSED else 0)
        report = looked(lab, {**rows, key: with_byte(value, last)}, Level.MERKLE)
        assert report.findings, key.hex()


def test_a_damaged_one_is_made_again_from_whole_blocks_of_peers(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    key = max(table(rows, schema.BLOCK))
    folder = on_disk(tmp_path, {**rows, key: with_byte(rows[key], 40)})
    node = Node(folder, lab.genesis, member=False)
    with pytest.raises(OperationalError, match=r"BELOW_SNAPSHOT.*join again"):
        asyncio.run(repair(node, None, check_vote=lab.keys.verify))
    done = asyncio.run(repair(node, Peer(lab).ask, check_vote=lab.keys.verify))
    assert done.fetched == tuple(range(1, done.height + 1))
    again = rows_in(folder)
    assert schema.WHOLE_FROM not in again
    assert looked(lab, again, Level.EXECUTE).findings == ()


def test_compared_with_an_executed_one_it_is_the_same(lab: Lab, rows: dict[bytes, bytes]) -> None:
    ours, theirs = StoredSide("joined", MemoryStore(rows)), StoredSide("whole", MemoryStore(stored(lab)))  # fmt: skip
    assert compare(ours, theirs, lab.genesis).kind == "same"
    key = max(table(rows, schema.ACCOUNT))
    other = StoredSide("joined", MemoryStore({**rows, key: with_byte(rows[key], 30)}))
    assert compare(other, theirs, lab.genesis).kind == "rows"


@pytest.mark.parametrize("engine", ["pbft", "raft"])
def test_a_bank_with_an_empty_disk_joins_under_its_spare_id_and_votes(engine: str) -> None:
    """Twice: within the epoch of genesis, and once more after the members have changed."""
    lab = Epochs(running=(0, 1, 2, 3)) if engine == "pbft" else raft_lab()
    lab.crash(SPARE)
    settled(lab, 0, lab.issue())
    for node in (0, 2, 3):
        settled(lab, node, lab.pay())
    store, _ = joined(lab, Members(lab))
    lab.box(SPARE).store = MemoryStore(store.snapshot())
    lab.start(SPARE)
    lab.settle()
    settled(lab, 2, lab.activation())
    lab.pass_time(3_000)
    assert lab.core(SPARE).votes
    assert lab.core(SPARE).ledger.whole_from > 1
    lab.crash(1)
    lab.crash(3)  # three of four are needed now
    for node in (0, 2, SPARE):
        settled(lab, node, lab.pay())
    lab.pass_time(3_000)
    assert lab.level()
    assert all(box.halted is None for box in lab.boxes.values())

    store, attempt = joined(lab, Members(lab, (0, 2, SPARE)))
    assert attempt.dropped == {}
    equals_executed(lab, store)
    report = looked(lab, store.snapshot(), Level.MERKLE)
    assert report.findings == ()
    assert table(store.snapshot(), schema.EPOCH) != {}


def test_a_false_set_of_members_is_refused_and_its_giver_named() -> None:
    lab = Epochs(running=(0, 1, 2, 3))
    settled(lab, 0, lab.issue())
    lab.start(SPARE)
    settled(lab, 2, lab.activation())
    lab.pass_time(500)
    settled(lab, 0, lab.pay())

    def others(_: object, answer: object) -> object:
        opens = getattr(answer, "opens", None)
        if opens is None:
            return answer
        return replace(answer, opens=replace(opens, members=opens.members[:-1]))  # type: ignore[type-var]

    members = Members(lab, (0, 2, 3))
    for peer in (2, 3):
        members.spoil[NodeId(peer)] = others  # type: ignore[assignment]
    store, attempt = joined(lab, members)
    equals_executed(lab, store)
    assert set(attempt.dropped) <= {NodeId(2), NodeId(3)}
    assert attempt.dropped
    assert all("the block names other members" in why for why in attempt.dropped.values())
