"""Going over to new keys: at once for the keyring, row by row for the rest, and a crash at every step loses nothing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
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
ROOT = Path(__file__).resolve().parents[3]


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
            for _ in store.rewrite_all(256):
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
    for _ in store.rewrite_all(256):
        pass
    assert dict(store.scan(b"t")) == rows
    in_use = {sealing.key_number(row) for _, row in store._below.scan(b"t")}
    assert in_use <= set(store.ring.data_keys)
    assert min(in_use) >= store.ring.retire_below
    store.close()


def test_a_rekeying_during_a_write_loses_no_row(tmp_path: Path) -> None:
    """It arrives when the write has begun its walk: what is sealed now retires, and is not passed over by the next walk."""
    store = opened(tmp_path / "data")
    store.write([{b"a%d" % number: b"old" for number in range(10)}])
    store.rekey(NEW)
    below = store._below
    honest = below.after

    def after(key: bytes) -> Iterator[tuple[bytes, bytes]]:
        below.after = honest  # type: ignore[method-assign]
        store.rekey(OTHER)
        return honest(key)

    below.after = after  # type: ignore[method-assign]
    store.write([{b"a0": b"new"}])
    assert store.ring.rewriting
    store.close()
    store = opened(tmp_path / "data", OTHER)
    for _ in store.rewrite_all():
        pass
    store.close()
    store = opened(tmp_path / "data", OTHER)
    assert dict(store.scan(b"a")) == {
        b"a0": b"new",
        **{b"a%d" % number: b"old" for number in range(1, 10)},
    }
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


WRITES_AND_REKEYS = """
import sys, threading, time
from pathlib import Path
from tests.unit.storage.sealed_folder import NEW, OLD, opened

store = opened(Path(sys.argv[1]), OLD, NEW)

first = int(sys.argv[2])

def rekey():
    while True:
        time.sleep(0.03)
        store.rekey(NEW if store.ring.key_encryption is OLD else OLD)

threading.Thread(target=rekey, daemon=True).start()
number = first
while True:
    number += 1
    name = number.to_bytes(8, "big")
    store.write([{b"a" + name: name * 9, b"b" + name: name, b"m/newest": name}])
    print(number, flush=True)
"""


def test_a_process_killed_while_it_changes_keys_over_and_over_has_every_row_it_acknowledged(
    tmp_path: Path,
) -> None:
    acknowledged = 0
    for life in range(4):
        command = [
            sys.executable,
            "-c",
            WRITES_AND_REKEYS,
            str(tmp_path / "data"),
            str(acknowledged),
        ]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(10 + 17 * life):
                acknowledged = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            for line in child.stdout:  # what it said before it died counts as well
                if line.endswith("\n"):
                    acknowledged = int(line)
        store = opened(tmp_path / "data", OLD, NEW)
        newest = int.from_bytes(store.get(b"m/newest") or b"", "big")
        assert newest >= acknowledged
        rows = dict(store.scan(b""))
        names = [number.to_bytes(8, "big") for number in range(1, newest + 1)]
        assert rows == {
            b"m/newest": names[-1],
            **{b"a" + name: name * 9 for name in names},
            **{b"b" + name: name for name in names},
        }
        assert len(store.ring.data_keys) < keyring.DATA_KEYS_BEFORE_REWRITING
        store.close()
        acknowledged = newest
