"""A flipped bit on a real disk is found and mended from certified blocks; a damaged promise is never mended, it is refused."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.consensus.accountability.guard import GUARD_RECORD
from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.network.wire.signing import batch_digest
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.block_data import BLOCK_DATA
from tallystick.node.core.ledger import BLOCK_RECORD, _encode
from tallystick.node.core.messages import Blocks
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep import aside as aside_module
from tallystick.node.upkeep.aside import Aside, unfinished
from tallystick.node.upkeep.promises import Forgotten, promises_of
from tallystick.node.upkeep.rebuilding import AskPeers, Rebuilding
from tallystick.node.upkeep.repairing import Node, Repaired, repair
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import flip, flip_value, on_disk, rows_in
from tests.unit.upkeep.stage import DERIVED, Peer, grown, stored, with_byte


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


@pytest.fixture
def rows(lab: Lab) -> dict[bytes, bytes]:
    return stored(lab)


def mended(
    lab: Lab,
    folder: Path,
    ask: AskPeers | None,
    rebuild: bool = False,
    give_up_held: bool = False,
) -> Repaired:
    node = Node(folder, lab.genesis, True, lab.box(0).guard.read())
    return asyncio.run(
        repair(
            node,
            ask,
            rebuild=rebuild,
            give_up_held=give_up_held,
            check_vote=lab.keys.verify,
        )
    )


def block_key(height: int) -> bytes:
    return schema.at_height(schema.BLOCK, height)


def same_ledger(lab: Lab, folder: Path, rows: dict[bytes, bytes]) -> None:
    """What is there now is what was there before; a block that a peer gave may have a later one's certificate."""
    assert unfinished(folder) is None
    assert {key: uncertified(key, value) for key, value in rows_in(folder).items()} == {
        key: uncertified(key, value) for key, value in rows.items()
    }


def uncertified(key: bytes, value: bytes) -> object:
    if key[:1] != schema.BLOCK:
        return value
    record = BLOCK_RECORD.decode(value)
    return record.header, record.result, record.bodies, record.outcomes


def test_a_sound_ledger_is_left_alone(lab: Lab, rows: dict[bytes, bytes], tmp_path: Path) -> None:
    folder = on_disk(tmp_path, rows)
    done = mended(lab, folder, None)
    assert (done.rebuilt, done.findings, done.kept) == (False, (), None)
    same_ledger(lab, folder, rows)


@pytest.mark.parametrize("table", DERIVED, ids=lambda table: table.decode())
def test_a_flipped_bit_in_any_table_of_the_ledger_is_mended(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path, table: bytes
) -> None:
    """LevelDB's own checksum finds it; the row's block of the file is gone, which holds no promise of this node."""
    beside = {key for key in rows if key[:1] == b"m" or key[:1] > table}
    ours = {key: rows[key] for key in rows if key not in beside}
    folder = on_disk(tmp_path, ours, block_bytes=1_024)
    ledger = LevelStore(folder)
    ledger.write([{key: rows[key] for key in beside}])  # in the log, away from the flip
    ledger.close()
    flip_value(folder, rows[max(key for key in rows if key.startswith(table))])
    peer = Peer(lab)
    done = mended(lab, folder, peer.ask)
    assert done.rebuilt
    assert done.findings
    assert done.state_root == lab.core(0).ledger.state.root
    assert done.kept is not None
    assert done.kept.is_dir()
    same_ledger(lab, folder, rows)


@pytest.mark.parametrize("table", [*DERIVED, schema.FINAL], ids=lambda table: table.decode())
def test_a_row_with_another_value_is_mended_without_a_peer_unless_it_is_a_block(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path, table: bytes
) -> None:
    key = max(key for key in rows if key.startswith(table))
    folder = on_disk(tmp_path, {**rows, key: with_byte(rows[key], len(rows[key]) // 2)})
    peer = Peer(lab)
    done = mended(lab, folder, peer.ask)
    assert done.rebuilt
    assert bool(peer.asked) == (table == schema.BLOCK)
    same_ledger(lab, folder, rows)


def test_a_damaged_last_height_does_not_shorten_the_ledger(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    for height in (3, 2**60):
        folder = on_disk(
            tmp_path / str(height), {**rows, schema.FINAL: height.to_bytes(8, "big") + bytes(32)}
        )
        assert mended(lab, folder, None).height == 7
        same_ledger(lab, folder, rows)


def test_a_missing_block_that_no_peer_has_stops_the_repair_and_it_goes_on_later(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    folder = on_disk(tmp_path, {key: rows[key] for key in rows if key != block_key(4)})
    with pytest.raises(
        OperationalError, match="block 4, or one up to its certificate, is damaged or missing here"
    ):
        mended(lab, folder, None)
    assert block_key(5) in rows_in(folder)
    assert "run `tallystick ledger repair` again" in str(unfinished(folder))
    peer = Peer(lab)
    done = mended(lab, folder, peer.ask)
    assert peer.asked == [4]  # blocks 1 to 3 were rebuilt before
    assert done.fetched == (4, 5, 6, 7)
    same_ledger(lab, folder, rows)


def test_what_peers_say_counts_only_with_a_certificate(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    folder = on_disk(tmp_path, {key: rows[key] for key in rows if key != block_key(4)})
    peer = Peer(lab)
    answers = 0

    async def liars_first(height: int) -> Blocks | None:
        nonlocal answers
        answers += 1
        honest = await peer.ask(height)
        assert honest is not None
        assert honest.certificate is not None
        block = honest.blocks[0]
        other = replace(block, result=replace(block.result, state_root=bytes(32)))
        few = replace(honest.certificate, votes=honest.certificate.votes[:2])
        lies: list[Blocks | None] = [
            None,
            replace(honest, blocks=(other,)),
            replace(honest, certificate=few),
            replace(honest, certificate=None),
            replace(honest, blocks=()),
        ]
        return lies[answers - 1] if answers <= len(lies) else honest

    mended(lab, folder, liars_first)
    assert answers == 6
    same_ledger(lab, folder, rows)


def test_a_ledger_that_executes_differently_here_is_not_repaired(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tallystick.contracts import decisions, machine

    kind = next(kind for kind in machine._CONTRACTS if kind.__name__ == "Transfer")
    number = machine._CONTRACTS[kind][0]
    monkeypatch.setitem(machine._CONTRACTS, kind, (number, lambda *_: decisions.NOT_PERMITTED))
    folder = on_disk(tmp_path, rows)
    with pytest.raises(InvariantError, match="differs from what a quorum certified"):
        mended(lab, folder, None, rebuild=True)
    assert rows_in(folder) == rows


# -- promises ----------------------------------------------------------------------------------------------------------


def pending_above(lab: Lab, rows: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """A block above the last final one, as it is kept before a vote."""
    ledger = lab.core(0).ledger
    layer = ledger.execute(ledger.link, ledger.time_ms + 5, lab.box(0).node, [])
    return schema.PENDING + layer.link, BLOCK_DATA.encode(layer.data())


def test_promises_come_along_as_they_are(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    key, block = pending_above(lab, rows)
    raw = lab.pay()
    batch = schema.BATCH + batch_digest([body_id(raw)])
    full = {**rows, key: block, batch: _encode([raw])}
    folder = on_disk(tmp_path, full)
    mended(lab, folder, None, rebuild=True)
    same_ledger(lab, folder, full)


@pytest.mark.parametrize("key", [schema.GUARD, schema.ENGINE])
def test_a_member_whose_promises_are_damaged_is_refused_with_the_way_out(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path, key: bytes
) -> None:
    damaged = {**rows, key: rows[key][:-1], block_key(3): b"\xc0"}
    folder = on_disk(tmp_path, damaged)
    with pytest.raises(Forgotten, match="spare id"):
        mended(lab, folder, Peer(lab).ask)
    assert rows_in(folder) == damaged
    assert unfinished(folder) is None


def test_a_damaged_block_above_the_final_height_is_a_damaged_promise(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    key, block = pending_above(lab, rows)
    folder = on_disk(tmp_path, {**rows, key: with_byte(block, 40)})
    with pytest.raises(Forgotten, match="kept before a vote, is damaged"):
        mended(lab, folder, None, rebuild=True)


def test_a_guard_ahead_of_the_database_is_refused(lab: Lab, rows: dict[bytes, bytes]) -> None:
    record = GUARD_RECORD.decode(rows[schema.GUARD])
    ahead = GUARD_RECORD.encode(replace(record, sequence=record.sequence + 1))
    with pytest.raises(Forgotten, match="guard is ahead of the database"):
        promises_of(MemoryStore(rows), "pbft", 7, ahead)
    gone = {key: rows[key] for key in rows if key != schema.GUARD}
    with pytest.raises(Forgotten, match="guard is ahead"):
        promises_of(MemoryStore(gone), "pbft", 7, rows[schema.GUARD])
    assert promises_of(MemoryStore(rows), "pbft", 7, rows[schema.GUARD]).rows[schema.GUARD]


def test_payments_held_for_others_are_given_up_only_when_asked(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    batch = schema.BATCH + bytes(32)
    folder = on_disk(tmp_path, {**rows, batch: _encode([b"spoilt"])})
    with pytest.raises(OperationalError, match="--give-up-held"):
        mended(lab, folder, None)
    done = mended(lab, folder, None, give_up_held=True)
    assert len(done.lost_batches) == 1
    same_ledger(lab, folder, rows)


def test_a_flipped_bit_in_the_log_is_no_torn_tail(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    """LevelDB would open it and leave out what stands behind: the store does not let it. A member is refused, for its votes
    may have stood there; an observer begins again."""
    store = LevelStore(tmp_path)
    for key in sorted(rows):
        store.write([{key: rows[key]}])
    store.close()
    [log] = (tmp_path / "ledger").glob("*.log")
    flip(log, log.stat().st_size // 2)
    with pytest.raises(OperationalError, match="files are damaged"):
        LevelStore(tmp_path)
    with pytest.raises(Forgotten, match="cannot open the database"):
        mended(lab, tmp_path, Peer(lab).ask)
    observer = Node(tmp_path, lab.genesis, member=False)
    done = asyncio.run(repair(observer, Peer(lab).ask, check_vote=lab.keys.verify))
    assert (done.rebuilt, done.height) == (True, 0)  # it follows from the start


def test_a_log_that_ends_early_is_what_a_crash_leaves(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    store = LevelStore(tmp_path)
    store.write([dict(rows)])
    store.write([{b"m/never": b"acknowledged" * 40}])
    store.close()
    [log] = (tmp_path / "ledger").glob("*.log")
    os.truncate(log, log.stat().st_size - 20)
    assert rows_in(tmp_path) == rows


# -- crashes -----------------------------------------------------------------------------------------------------------


class PowerLost(Exception):
    """In the middle of it."""


class FailingStore(MemoryStore):
    """Loses its power at the n-th write; what was written before is durable."""

    def __init__(self, durable: dict[bytes, bytes], writes: int) -> None:
        super().__init__(durable)
        self.writes = writes

    def write(self, batches: object) -> None:
        self.writes -= 1
        if self.writes < 0:
            raise PowerLost
        super().write(batches)  # type: ignore[arg-type]


def test_a_rebuilding_that_loses_power_at_any_write_goes_on_where_it_was(
    lab: Lab, rows: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.network.wire.bounds.CATCH_UP_BLOCKS_MAX", 1)
    source = MemoryStore(rows)
    for writes in range(9):
        target = FailingStore({}, writes)
        run = Rebuilding(lab.genesis, source, target, None, lab.keys.verify).run(7)
        if writes < 8:
            with pytest.raises(PowerLost):
                asyncio.run(run)
        else:
            asyncio.run(run)
        survived = MemoryStore(target.snapshot())
        again = Rebuilding(lab.genesis, source, survived, None, lab.keys.verify)
        ledger = asyncio.run(again.run(7))
        assert ledger.link == lab.core(0).ledger.link
        derived = {key: rows[key] for key in rows if key not in (schema.ENGINE, schema.GUARD)}
        assert survived.snapshot() == derived


def test_an_exchange_that_loses_power_at_any_step_is_finished_by_the_next_call(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_rename = Path.rename
    steps = 0
    for stop_at in range(1, 6):
        folder = on_disk(tmp_path / str(stop_at), {**rows, block_key(4): b"\xc0"})
        steps = 0

        def rename(self: Path, target: Path, stop_at: int = stop_at) -> Path:
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise PowerLost
            return real_rename(self, target)

        def sync(folder: Path, stop_at: int = stop_at) -> None:
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise PowerLost

        monkeypatch.setattr(Path, "rename", rename)
        monkeypatch.setattr(aside_module, "sync_folder", sync)
        with pytest.raises(PowerLost):
            mended(lab, folder, Peer(lab).ask)
        monkeypatch.setattr(Path, "rename", real_rename)
        assert unfinished(folder) is not None, stop_at
        done = mended(lab, folder, None)
        assert done.rebuilt
        same_ledger(lab, folder, rows)


def test_a_node_does_not_start_in_the_middle_of_a_repair(tmp_path: Path) -> None:
    half = Aside(tmp_path, "repair")
    half.open(()).close()
    assert "a repair of the ledger" in str(unfinished(tmp_path))
    half.drop()
    assert unfinished(tmp_path) is None


def test_a_folder_that_a_node_uses_is_not_touched(
    lab: Lab, rows: dict[bytes, bytes], tmp_path: Path
) -> None:
    folder = on_disk(tmp_path, rows)
    store = LevelStore(folder)
    with pytest.raises(OperationalError, match="is in use by process"):
        mended(lab, folder, None, rebuild=True)
    store.close()
