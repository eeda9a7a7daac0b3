"""The guard's file survives a write torn at any byte, and refuses to pretend when it cannot know."""

import os
from pathlib import Path

import pytest

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.node.storage.guard_file import RECORD_BYTES_MAX, SLOT_BYTES, GuardFile


def _made(path: Path, *records: bytes) -> bytes:
    """A guard with these records written one after the other; the bytes of its file."""
    GuardFile.create(path)
    guard = GuardFile(path)
    for record in records:
        guard.write(record)
    guard.close()
    return path.read_bytes()


def _read(path: Path) -> bytes | None:
    guard = GuardFile(path)
    try:
        return guard.read()
    finally:
        guard.close()


def test_a_new_guard_has_no_record_and_a_written_one_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    _made(path)
    assert _read(path) is None
    guard = GuardFile(path)
    for number in range(5):
        guard.write(b"record %d" % number)
        assert guard.read() == b"record %d" % number
    guard.close()
    assert _read(path) == b"record 4"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("records", [(b"one" * 20,), (b"one" * 20, b"two" * 30)])
def test_a_write_torn_at_every_byte_leaves_the_record_before_it(
    tmp_path: Path, records: tuple[bytes, ...]
) -> None:
    before = _made(tmp_path / "before", *records)
    after = _made(tmp_path / "after", *records, b"the newest statement")
    changed = [i for i in range(len(before)) if before[i] != after[i]]
    for cut in range(changed[0], changed[-1] + 1):
        path = tmp_path / "torn"
        path.write_bytes(after[:cut] + before[cut:])
        assert _read(path) == records[-1]
        path.write_bytes(before[: changed[0]] + os.urandom(cut - changed[0]) + before[cut:])
        assert _read(path) == records[-1]
    (tmp_path / "torn").write_bytes(after)
    assert _read(tmp_path / "torn") == b"the newest statement"


def test_the_first_write_torn_at_every_byte_leaves_no_record(tmp_path: Path) -> None:
    before, after = _made(tmp_path / "before"), _made(tmp_path / "after", b"first")
    changed = [i for i in range(len(before)) if before[i] != after[i]]
    for cut in range(changed[0], changed[-1] + 1):
        (tmp_path / "torn").write_bytes(after[:cut] + before[cut:])
        assert _read(tmp_path / "torn") is None


def test_a_writer_goes_on_after_a_torn_write(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    data = bytearray(_made(path, b"one", b"two", b"three"))
    data[SLOT_BYTES + 53] ^= 1
    path.write_bytes(data)
    guard = GuardFile(path)
    assert guard.read() == b"two"
    guard.write(b"four")
    guard.close()
    assert _read(path) == b"four"


def test_two_damaged_slots_refuse_to_open(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    data = bytearray(_made(path, b"one", b"two"))
    data[20] ^= 1
    data[SLOT_BYTES + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(OperationalError, match="no whole slot"):
        GuardFile(path)


def test_a_slot_copied_over_its_neighbour_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    data = _made(path, b"one", b"two")
    path.write_bytes(data[SLOT_BYTES:] + data[SLOT_BYTES:])
    assert _read(path) == b"one"


def test_a_cut_file_and_a_missing_file_refuse_to_open(tmp_path: Path) -> None:
    path = tmp_path / "guard"
    with pytest.raises(OperationalError, match="there is no guard file"):
        GuardFile(path)
    path.write_bytes(_made(tmp_path / "whole", b"one")[:-1])
    with pytest.raises(OperationalError, match="is cut"):
        GuardFile(path)


def test_an_existing_guard_is_never_made_anew(tmp_path: Path) -> None:
    _made(tmp_path / "guard", b"one")
    with pytest.raises(OperationalError, match="sign twice"):
        GuardFile.create(tmp_path / "guard")


def test_one_key_signs_from_one_process(tmp_path: Path) -> None:
    GuardFile.create(tmp_path / "guard")
    first = GuardFile(tmp_path / "guard")
    with pytest.raises(OperationalError, match="one process only"):
        GuardFile(tmp_path / "guard")
    first.close()


def test_a_record_at_its_bound_fits_and_one_byte_more_is_our_mistake(tmp_path: Path) -> None:
    GuardFile.create(tmp_path / "guard")
    guard = GuardFile(tmp_path / "guard")
    guard.write(b"x" * RECORD_BYTES_MAX)
    assert guard.read() == b"x" * RECORD_BYTES_MAX
    with pytest.raises(InvariantError, match="above its bound"):
        guard.write(b"x" * (RECORD_BYTES_MAX + 1))
    guard.close()


def test_a_failing_write_is_an_operational_error(tmp_path: Path) -> None:
    GuardFile.create(tmp_path / "guard")
    guard = GuardFile(tmp_path / "guard")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    os.dup2(descriptor, guard._file)
    os.close(descriptor)
    with pytest.raises(OperationalError, match="cannot write the guard file"):
        guard.write(b"statement")
    assert guard.read() is None
    guard.close()
