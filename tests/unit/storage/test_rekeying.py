"""Going over to new keys: at once for the keyring, row by row for the rest, and a crash at every step loses nothing."""

import os
import shutil
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage import keyring, sealed, sealing
from tallystick.node.storage.keyring import head_of
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.overlay import Pairs
from tests.unit.storage.sealed_folder import NEW, OLD, OTHER, opened, raw_rows

ROWS = 1_500


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Path, dict[bytes, bytes]]:
    """A store of 1,500 rows under two data keys, closed."""
    rows = {b"t" + os.urandom(52): os.urandom(44) for _ in range(ROWS)}
    folder = tmp_path / "data"
    for half in (0, 1):
        store = opened(folder)
        store.write([dict(islice(rows.items(), half, None, 2))])
        store.close()
    return folder, rows


def test_after_rekeying_the_old_key_opens_nothing_and_rows_follow_with_the_nodes_own_writes(
    filled: tuple[Path, dict[bytes, bytes]],
) -> None:
    folder, rows = filled
    store = opened(folder)
    store.rekey(NEW)
    assert head_of(folder).key == NEW.id
    writes = 0
    while store.ring.rewriting:
        store.write([{b"m/final": b"%d" % writes}])
        assert dict(islice(store.scan(b"t"), 3)).items() <= rows.items()
        writes += 1
    assert writes == -(-ROWS // sealed.REWRITTEN_ROWS_MAX)
    assert dict(store.scan(b"t")) == rows
    assert len(store.ring.data_keys) == 1
    store.close()
    assert {sealing.key_number(row) for row in raw_rows(folder).values()} == {3}
    with pytest.raises(
        OperationalError, match=r"the wrong key: .* sealed under the key with the id"
    ):
        opened(folder, OLD)
    store = opened(folder, NEW)
    assert store.verify() == ROWS + 1
    store.close()


class PowerCut(Exception):
    """Of a test."""


@pytest.mark.parametrize("step", range(1, 30))
def test_a_crash_at_any_step_of_rekeying_loses_nothing_and_the_next_life_goes_on(
    filled: tuple[Path, dict[bytes, bytes]], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The steps: each draft of a keyring file, each renaming, each write of the database."""
    folder, rows = filled
    left = [step]

    def cut_before(call: Callable[..., object]) -> Callable[..., object]:
        def counted(*facts: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise PowerCut
            return call(*facts, **named)

        return counted

    store = opened(folder)
    finished = False
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut_before(Path.rename))
        patch.setattr("os.fsync", cut_before(os.fsync))
        patch.setattr(LevelStore, "write", cut_before(LevelStore.write))
        try:
            store.rekey(NEW)
            for _ in store.rewrite_all():
                pass
            finished = True
        except PowerCut:
            pass
    store._below.close()

    store = opened(folder, OLD, NEW)
    assert dict(store.scan(b"t")) == rows
    store.rekey(NEW)
    for _ in store.rewrite_all():
        pass
    assert dict(store.scan(b"t")) == rows
    store.close()
    with pytest.raises(OperationalError, match="wrong key"):
        opened(folder, OLD)
    assert step < 29 or finished, "the steps of a rekeying are more than this test takes"


def test_a_rekeying_that_arrives_during_a_write_passes_over_no_row(
    filled: tuple[Path, dict[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = filled
    store = opened(folder)
    store.rekey(NEW)
    real, writes = LevelStore.write, [0]

    def write(below: LevelStore, batches: Sequence[Pairs]) -> None:
        writes[0] += 1
        if writes[0] in (2, 5):  # on another thread, between what is sealed and what is written
            store.rekey(OTHER)
        real(below, batches)

    monkeypatch.setattr(LevelStore, "write", write)
    for _ in store.rewrite_all():
        pass
    assert dict(store.scan(b"t")) == rows
    in_use = {sealing.key_number(row) for _, row in store._below.scan(b"t")}
    assert in_use <= set(store.ring.data_keys)
    assert min(in_use) >= store.ring.retire_below
    store.close()


def test_rows_that_the_node_writes_or_deletes_during_the_walk_stay_as_it_left_them(
    filled: tuple[Path, dict[bytes, bytes]],
) -> None:
    folder, rows = filled
    store = opened(folder)
    store.rekey(NEW)
    names = sorted(rows, key=store._names.opaque)
    for at in range(0, ROWS, 100):
        changed: dict[bytes, bytes | None] = {names[at]: b"changed", names[at + 1]: None}
        store.write([changed])
        rows[names[at]] = b"changed"
        del rows[names[at + 1]]
    for _ in store.rewrite_all():
        pass
    assert dict(store.scan(b"t")) == rows
    store.close()


def test_a_store_that_was_opened_too_often_seals_its_rows_anew_by_itself(
    filled: tuple[Path, dict[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = filled
    monkeypatch.setattr(keyring, "DATA_KEYS_BEFORE_REWRITING", 2)
    store = opened(folder)
    store.write([{b"m/final": b"1"}])
    assert store.ring.rewriting
    for _ in range(8):
        store.write([{b"m/final": b"1"}])
    assert len(store.ring.data_keys) == 1
    assert dict(store.scan(b"t")) == rows
    store.close()


def test_a_scan_that_began_before_the_keys_changed_ends_well(
    filled: tuple[Path, dict[bytes, bytes]],
) -> None:
    folder, rows = filled
    store = opened(folder)
    scan = store.scan(b"t")
    begun = dict(islice(scan, 10))
    store.rekey(NEW)
    for _ in store.rewrite_all():
        pass
    assert begun | dict(scan) == rows
    store.close()


def test_the_copy_of_an_old_folder_with_its_old_key_does_not_open_what_came_after(
    filled: tuple[Path, dict[bytes, bytes]], tmp_path: Path
) -> None:
    folder, _ = filled
    shutil.copytree(folder, tmp_path / "stolen before")
    store = opened(folder)
    store.rekey(NEW)
    for _ in store.rewrite_all():
        pass
    store.write([{b"a" + bytes(20): b"written after"}])
    store.close()
    # The thief has the old key and every old data key; he lays the old keyring beside the new rows.
    for name in keyring.FILES:
        shutil.copy(tmp_path / "stolen before" / name, folder / name)
    thief = opened(folder, OLD)
    for hidden, row in thief._below.scan(b""):
        with pytest.raises(OperationalError, match="cannot be opened"):
            thief._opener.opened(hidden, row)
    thief.close()
