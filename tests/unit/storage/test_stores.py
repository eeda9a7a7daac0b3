"""All stores keep one contract: reads see what was handed over, durable or not; a crash keeps only what was written."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.node.storage.key_encryption import KeyInMemory
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.storage.opening import open_store
from tallystick.node.storage.sealed import SealedStore

Store = LevelStore | MemoryStore | SealedStore

KEY = KeyInMemory(bytes(range(32)), "test")


def sealed(folder: Path) -> Store:
    return open_store(folder, [KEY])


@pytest.fixture(params=["leveldb", "memory", "sealed"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    match request.param:
        case "leveldb":
            made = LevelStore(tmp_path / "data")
        case "sealed":
            made = sealed(tmp_path / "data")
        case _:
            made = MemoryStore()
    yield made
    made.close()


def test_a_staged_pair_is_readable_before_it_is_durable(store: Store) -> None:
    store.stage({b"a": b"1"})
    assert store.get(b"a") == b"1"
    assert list(store.scan(b"")) == [(b"a", b"1")]


def test_a_staged_deletion_hides_the_durable_pair(store: Store) -> None:
    store.write([{b"a": b"1", b"b": b"2"}])
    store.stage({b"a": None})
    assert store.get(b"a") is None
    assert list(store.scan(b"")) == [(b"b", b"2")]


def test_releasing_an_older_batch_keeps_the_newer_value_of_the_same_key(store: Store) -> None:
    store.stage({b"a": b"old"})
    first = store.mark
    store.stage({b"a": b"new"})
    second = store.mark
    store.write([{b"a": b"old"}])
    store.release(first)
    assert store.get(b"a") == b"new"
    store.write([{b"a": b"new"}])
    store.release(second)
    assert store.get(b"a") == b"new"


def test_delete_put_delete_of_one_key_never_shows_a_middle_value(store: Store) -> None:
    store.write([{b"a": b"0"}])
    batches: list[dict[bytes, bytes | None]] = [{b"a": None}, {b"a": b"1"}, {b"a": None}]
    marks = []
    for batch in batches:
        store.stage(batch)
        marks.append(store.mark)
    for batch, mark in zip(batches, marks, strict=True):
        store.write([batch])
        store.release(mark)
        assert store.get(b"a") is None


def test_several_batches_in_one_write_keep_their_order(store: Store) -> None:
    store.write([{b"a": b"1", b"b": b"1"}, {b"a": b"2", b"b": None}])
    assert store.get(b"a") == b"2"
    assert store.get(b"b") is None


def test_a_scan_is_of_its_moment_and_of_its_prefix(store: Store) -> None:
    store.write([{b"p/1": b"durable", b"q/1": b"other", b"p": b"short"}])
    store.stage({b"p/0": b"staged", b"p/1": b"newer"})
    scan = store.scan(b"p/")
    store.stage({b"p/2": b"late"})
    assert sorted(scan) == [(b"p/0", b"staged"), (b"p/1", b"newer")]


def test_tables_named_by_height_come_in_order_whatever_is_staged_among_them(store: Store) -> None:
    heights = {b"H" + height.to_bytes(8, "big"): b"%d" % height for height in range(0, 600, 3)}
    store.write([dict(reversed(heights.items()))])
    store.stage({b"H" + bytes(7) + b"\1": b"1", b"H" + bytes(7) + b"\3": None})
    expected = {**heights, b"H" + bytes(7) + b"\1": b"1"}
    del expected[b"H" + bytes(7) + b"\3"]
    assert list(store.scan(b"H")) == sorted(expected.items())


def test_releasing_what_was_never_staged_is_our_own_mistake(store: Store) -> None:
    with pytest.raises(InvariantError, match="never staged"):
        store.release(store.mark + 1)


def test_memory_forgets_what_was_not_written_when_it_crashes() -> None:
    store = MemoryStore()
    store.write([{b"a": b"1"}])
    store.stage({b"a": b"2", b"b": b"2"})
    store.lose_unsynced()
    assert (store.get(b"a"), store.get(b"b")) == (b"1", None)
    assert MemoryStore(store.snapshot()).get(b"a") == b"1"


_KEYS = st.binary(min_size=1, max_size=3)
_BATCHES = st.lists(
    st.dictionaries(_KEYS, st.none() | st.binary(max_size=4), max_size=5), max_size=6
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=_BATCHES, durable=st.integers(0, 6), prefix=st.binary(max_size=1))
def test_any_split_into_durable_and_staged_reads_like_a_plain_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[dict[bytes, bytes | None]],
    durable: int,
    prefix: bytes,
) -> None:
    plain: dict[bytes, bytes] = {}
    folder = tmp_path_factory.mktemp("property")
    stores: list[Store] = [MemoryStore(), LevelStore(folder / "data"), sealed(folder / "sealed")]
    for number, batch in enumerate(batches):
        for key, value in batch.items():
            if value is None:
                plain.pop(key, None)
            else:
                plain[key] = value
        for store in stores:
            store.stage(batch)
            if number < durable:
                store.write([batch])
                store.release(store.mark)
    for store in stores:
        expected = sorted(pair for pair in plain.items() if pair[0].startswith(prefix))
        found = list(store.scan(prefix))
        # Sealed rows stand in no order that says anything; each is there once.
        assert (sorted(found) if isinstance(store, SealedStore) else found) == expected
        assert all(store.get(key) == plain.get(key) for batch in batches for key in batch)
        store.close()


def test_a_second_opening_of_the_folder_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    first = LevelStore(tmp_path / "data")
    with pytest.raises(OperationalError, match=r"in use by process [0-9]+"):
        LevelStore(tmp_path / "data")
    first.close()
    LevelStore(tmp_path / "data").close()


def test_a_flipped_byte_in_a_table_surfaces_at_the_read_and_in_the_audit(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "data", write_buffer_bytes=64 * 1024)
    for number in range(20):
        store.write([{b"k%05d" % (100 * number + i): bytes([i]) * 500 for i in range(100)}])
    store.close()
    for table in (tmp_path / "data" / "ledger").glob("*.ldb"):
        damaged = bytearray(table.read_bytes())
        damaged[len(damaged) // 3] ^= 0x40
        table.write_bytes(damaged)

    again = LevelStore(tmp_path / "data", write_buffer_bytes=64 * 1024)
    with pytest.raises(OperationalError, match="damaged after key"):
        again.verify()
    with pytest.raises(OperationalError, match="damaged after key"):
        list(again.scan(b"k"))
    with pytest.raises(OperationalError, match="cannot read key"):
        [again.get(b"k%05d" % number) for number in range(2_000)]
    again.close()


def test_a_database_that_cannot_be_opened_says_which(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger").write_bytes(b"a file where a folder belongs")
    with pytest.raises(OperationalError, match="cannot open the database"):
        LevelStore(tmp_path / "data")


def test_an_audit_counts_every_pair(tmp_path: Path) -> None:
    store = LevelStore(tmp_path / "data")
    store.write([{b"%d" % number: b"" for number in range(1_000)}])
    assert store.verify() == 1_000
    store.close()
