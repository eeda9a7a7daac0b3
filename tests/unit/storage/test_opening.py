"""A folder is never opened as what it is not; a plain database is sealed once, whatever moment the power fails at."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.core import schema
from tallystick.node.storage import opening
from tallystick.node.storage.folder_lock import FolderInUse
from tallystick.node.storage.keyring import FILES, is_sealed
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.opening import open_store, seal_plain
from tests.unit.storage.sealed_folder import NEW, OLD, opened

HINT = "`tallystick node seal --config node.toml`"
ROWS = {b"t%04d" % number: b"a value in clear %d" % number for number in range(500)}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    store = LevelStore(tmp_path / "data")
    store.write([ROWS])
    store.close()
    return tmp_path / "data"


def test_a_plain_database_under_a_key_is_refused_with_the_way_on(plain: Path) -> None:
    with pytest.raises(OperationalError, match=r"is not sealed, or its keyring is lost.*node seal"):
        open_store(plain, [OLD], HINT)
    assert not is_sealed(plain)
    assert dict(open_store(plain, []).scan(b"")) == ROWS


def test_a_sealed_database_without_a_key_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "data").close()
    with pytest.raises(OperationalError, match=r"names no key: set key in \[storage\]"):
        open_store(tmp_path / "data", [])
    for name in FILES:
        (tmp_path / "data" / name).unlink()
    with pytest.raises(OperationalError, match="its keyring is lost"):
        open_store(tmp_path / "data", [OLD], HINT)


def test_a_wrong_key_leaves_the_folder_free_and_untouched(tmp_path: Path) -> None:
    store = opened(tmp_path / "data")
    store.write([{b"a1": b"1"}])
    store.close()
    before = [(tmp_path / "data" / name).read_bytes() for name in FILES]
    for _ in range(2):
        with pytest.raises(OperationalError, match="wrong key"):
            opened(tmp_path / "data", NEW)
    assert [(tmp_path / "data" / name).read_bytes() for name in FILES] == before
    store = opened(tmp_path / "data")
    assert store.get(b"a1") == b"1"
    with pytest.raises(FolderInUse) as taken:
        opened(tmp_path / "data")
    assert taken.value.holder == os.getpid()
    store.close()


def test_a_crash_between_the_ring_and_the_database_of_a_new_folder_leaves_one_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(opening, "LevelStore", _fails)
        with pytest.raises(PowerCut):
            opened(tmp_path / "data")
    store = opened(tmp_path / "data")
    assert store.verify() == 0
    store.close()


def test_a_plain_database_is_sealed_and_reads_the_same(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "COPIED_BYTES_MAX", 2_000)
    told: list[int] = []
    assert seal_plain(plain, OLD, told.append) == len(ROWS)
    assert told[-1] == len(ROWS)
    assert len(told) > 5
    assert sorted(path.name for path in plain.iterdir()) == ["in-use", *FILES, "ledger"]
    assert all(b"in clear" not in path.read_bytes() for path in plain.rglob("*") if path.is_file())
    store = opened(plain)
    assert dict(store.scan(b"")) == ROWS
    store.close()
    with pytest.raises(OperationalError, match="sealed already"):
        seal_plain(plain, OLD)


def test_there_must_be_a_database_to_seal_and_nobody_may_have_it_open(plain: Path) -> None:
    with pytest.raises(OperationalError, match="there is no database"):
        seal_plain(plain.parent / "other", OLD)
    store = LevelStore(plain)
    with pytest.raises(FolderInUse):
        seal_plain(plain, OLD)
    store.close()


class PowerCut(Exception):
    """Of a test."""


def _fails(*_: object) -> object:
    raise PowerCut


@pytest.mark.parametrize("step", range(1, 21))
def test_a_crash_at_any_step_of_sealing_leaves_the_plain_database_or_ends_with_the_next_call(
    plain: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The steps: each write, renaming, replacing and removal of a tree; of a tree, only half is removed."""
    left = [step]

    def cut(call: Callable[..., object], half: bool = False) -> Callable[..., object]:
        def counted(*facts: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                if half:
                    files = [path for path in Path(str(facts[0])).rglob("*") if path.is_file()]
                    for path in files[::2]:
                        path.unlink()
                raise PowerCut
            return call(*facts, **named)

        return counted

    finished = False
    with monkeypatch.context() as patch:
        patch.setattr(opening, "COPIED_BYTES_MAX", 4_000)
        for name in ("rename", "replace"):
            patch.setattr(Path, name, cut(getattr(Path, name)))
        patch.setattr(LevelStore, "write", cut(LevelStore.write))
        patch.setattr(shutil, "rmtree", cut(shutil.rmtree, half=True))
        try:
            seal_plain(plain, OLD)
            finished = True
        except PowerCut:
            pass
    if not finished and not is_sealed(plain):
        if (plain / opening.DONE).exists():
            with pytest.raises(OperationalError, match=r"being sealed .* run .*node seal.* again"):
                open_store(plain, [OLD], HINT)
        else:
            store = open_store(plain, [])
            assert dict(store.scan(b"")) == ROWS
            store.close()
    if (plain / opening.DONE).exists() or not is_sealed(plain):
        seal_plain(plain, OLD)
    store = opened(plain)
    assert dict(store.scan(b"")) == ROWS
    store.close()
    assert not (plain / opening.DONE).exists()
    assert step < 20 or finished, "sealing takes more steps than this test"


def test_every_table_that_is_named_by_a_height_keeps_its_order() -> None:
    """Whoever walks a table in order names it by `schema.at_height`; a sealed store must not hide such names."""
    node = Path(str(opening.__file__)).parents[1]
    sources = [path.read_text("utf-8") for path in sorted(node.rglob("*.py"))]
    tables = {
        name for text in sources for name in re.findall(r"at_height\(\s*schema\.([A-Z]+)", text)
    }
    assert {getattr(schema, name) for name in tables} == opening.HEIGHT_TABLES
