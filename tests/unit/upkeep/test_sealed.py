"""A sealed ledger is looked after without ever being written in clear: verified, repaired, backed up, restored."""

import asyncio
from pathlib import Path

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.core import schema
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.key_encryption import KeyInMemory
from tallystick.node.storage.opening import open_store
from tallystick.node.upkeep.findings import EXIT_SOUND, Level
from tallystick.node.upkeep.repairing import Node, repair
from tallystick.node.upkeep.restoring import restore
from tallystick.node.upkeep.segments import BACKED_UP
from tallystick.node.upkeep.stores import open_ledger, scratch_in
from tallystick.node.upkeep.verifying import verify
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import flip
from tests.unit.upkeep.stage import Peer, grown, stored
from tests.unit.upkeep.test_backup import ledger_rows, made

KEY = KeyInMemory(b"\x07" * 32, "a test")


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


def sealed(folder: Path, rows: dict[bytes, bytes]) -> Path:
    store = open_store(folder, [KEY])
    store.write([dict(rows)])
    store.close()
    return folder


def rows_in(folder: Path) -> dict[bytes, bytes]:
    store = open_store(folder, [KEY])
    try:
        return dict(store.scan(b""))
    finally:
        store.close()


def in_clear(folder: Path, secret: bytes) -> list[str]:
    return [
        str(path) for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()
    ]


def test_it_is_verified_with_a_scratch_that_nobody_can_read(lab: Lab, tmp_path: Path) -> None:
    folder = sealed(tmp_path, stored(lab))
    held = FolderLock(folder)
    store = open_ledger(folder, [KEY], held)
    report = verify(
        store,
        lab.genesis,
        Level.EXECUTE,
        scratch=lambda: scratch_in(folder / "scratch"),
        check_vote=lab.keys.verify,
    )
    store.close()
    assert report.exit_code == EXIT_SOUND
    assert (folder / "scratch" / "ledger").is_dir()
    assert in_clear(folder, bytes(lab.root(1))) == []
    with pytest.raises(OperationalError, match=r"is sealed: name its node's configuration"):
        open_ledger(folder, (), held)
    held.release()


def test_it_is_repaired_sealed_and_its_keyring_goes_with_it(lab: Lab, tmp_path: Path) -> None:
    rows = {
        key: value for key, value in stored(lab).items() if key[:1] != b"m" or key == schema.FINAL
    }
    folder = sealed(tmp_path, rows)
    open_store(folder, [KEY]).close()  # the log becomes a table
    table = max((folder / "ledger").glob("*.ldb"))
    flip(table, table.stat().st_size // 2)
    node = Node(folder, lab.genesis, member=False, keys=[KEY])
    done = asyncio.run(repair(node, Peer(lab).ask, check_vote=lab.keys.verify))
    assert done.rebuilt
    assert done.findings
    assert done.kept is not None
    assert sorted(path.name for path in done.kept.iterdir()) == [
        "keyring",
        "keyring.copy",
        "ledger",
    ]
    assert rows_in(folder).keys() == rows.keys()
    assert in_clear(folder, bytes(lab.root(1))) == []


def test_it_is_backed_up_by_rows_and_restored_sealed(lab: Lab, tmp_path: Path) -> None:
    store = open_store(sealed(tmp_path / "data", stored(lab)), [KEY])
    rows = [row for chunk in store.export(BACKED_UP, 700) for row in chunk]
    store.close()
    assert sorted(rows) == ledger_rows(stored(lab))
    backup = made(lab, tmp_path / "backup", dict(rows))
    again = tmp_path / "again"
    restore(backup, again, lab.genesis, keys=[KEY], check_vote=lab.keys.verify)
    assert sorted(rows_in(again).items()) == ledger_rows(stored(lab))
    assert in_clear(again, bytes(lab.root(1))) == []


def test_epochs_come_in_their_order(tmp_path: Path) -> None:
    """The core counts them as it begins."""
    keys = [schema.at_height(schema.EPOCH, epoch) for epoch in range(1, 40)]
    store = open_store(tmp_path, [KEY])
    store.write([dict.fromkeys(keys, b"members")])
    assert [key for key, _ in store.scan(schema.EPOCH)] == keys
    store.close()
