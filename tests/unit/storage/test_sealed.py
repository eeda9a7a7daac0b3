"""Sealed rows: a stolen folder says nothing, a changed or moved row is refused by name, no nonce comes twice under one key."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.node.core import schema
from tallystick.node.core.ledger import Ledger
from tallystick.node.storage import keyring, sealing
from tallystick.node.storage.keyring import Keyring
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.storage.opening import HEIGHT_TABLES
from tallystick.node.storage.overlay import Pairs
from tallystick.node.storage.sealed import SealedStore
from tests.unit.core.lab import Lab
from tests.unit.storage.sealed_folder import NEW, OLD, opened, raw_rows

# -- what a thief finds ------------------------------------------------------------------------------------------------

WINDOW_BYTES = 8


@pytest.fixture(scope="module")
def ledger() -> tuple[Lab, dict[bytes, bytes]]:
    """A ledger with payments, refusals, and a batch that waits; the lab that wrote it."""
    lab = Lab()
    lab.settle()
    lab.submit(0, lab.issue(amount_minor=987_654_321_987))
    lab.settle()
    for number in range(12):
        lab.submit(number % 4, lab.pay(amount_minor=1_234_567_890 + number))
        lab.settle()
    lab.submit(0, lab.pay(payer=1, creditor=2, amount_minor=2**50))
    lab.settle()
    return lab, lab.box(0).store.snapshot()


def known_strings(rows: dict[bytes, bytes]) -> set[bytes]:
    """Every run of eight telling bytes of every name and value: accounts, ids, keys, digests, amounts, signatures."""
    found = set()
    for name, value in rows.items():
        texts = [value] if name[:1] in HEIGHT_TABLES else [name[1:], value]
        for text in texts:
            for start in range(len(text) - WINDOW_BYTES + 1):
                window = text[start : start + WINDOW_BYTES]
                if len(set(window)) >= 6:
                    found.add(window)
    return found


def readable(folder: Path, known: set[bytes]) -> list[tuple[str, bytes]]:
    """Which of these stand in which file of the folder, as they are, as hex in either case, or in a file's name."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes() + b"\0" + path.name.encode()
            for text in (data, _unhexed(data), _unhexed(b"0" + data)):
                windows = {text[at : at + WINDOW_BYTES] for at in range(len(text))}
                found += [(path.name, each) for each in windows & known]
    return found


def _unhexed(data: bytes) -> bytes:
    digits = set(b"0123456789abcdefABCDEF")
    pairs = (data[at : at + 2] for at in range(0, len(data) - 1, 2))
    return b"".join(bytes([int(pair, 16)]) if set(pair) <= digits else b"\0" for pair in pairs)


def test_a_stolen_folder_says_nothing_of_a_ledger_and_the_node_reads_all_of_it(
    tmp_path: Path, ledger: tuple[Lab, dict[bytes, bytes]]
) -> None:
    lab, rows = ledger
    known = known_strings(rows)
    assert len(known) > 5_000
    store = opened(tmp_path / "sealed")
    for name, value in rows.items():
        store.write([{name: value}])
    again = Ledger(lab.genesis, store)
    assert again.state.root == lab.core(0).ledger.state.root
    assert again.link == lab.core(0).ledger.link
    assert dict(store.scan(b"")) == rows
    # As after a power cut: LevelDB's log is still there. And as after a stop: the log was turned into a table.
    assert readable(tmp_path / "sealed", known) == []
    store.close()
    opened(tmp_path / "sealed").close()
    assert list((tmp_path / "sealed" / "ledger").glob("*.ldb"))
    assert readable(tmp_path / "sealed", known) == []

    # The same search finds everything where nothing is sealed.
    plain = LevelStore(tmp_path / "plain")
    plain.write([rows])
    plain.close()
    assert {each for _, each in readable(tmp_path / "plain", known)} == known


def test_what_a_thief_still_learns_is_the_tables_their_rows_and_sizes_and_the_heights(
    tmp_path: Path, ledger: tuple[Lab, dict[bytes, bytes]]
) -> None:
    _, rows = ledger
    store = opened(tmp_path / "data")
    store.write([rows])
    store.close()
    seen = raw_rows(tmp_path / "data")
    assert sorted(name[:1] for name in seen) == sorted(name[:1] for name in rows)
    heights = {name for name in rows if name[:1] in HEIGHT_TABLES}
    assert {name for name in seen if name[:1] in HEIGHT_TABLES} == heights
    assert {len(name) for name in seen if name not in heights} == {17}
    sizes = sorted(48 + 1 - 16 + len(name) + len(value) for name, value in rows.items())
    assert sorted(map(len, seen.values())) == sizes


def test_two_networks_hide_the_same_name_differently(tmp_path: Path) -> None:
    for name in ("a", "b"):
        store = opened(tmp_path / name)
        store.write([{b"t" + bytes(52): b"1"}])
        store.close()
    assert raw_rows(tmp_path / "a").keys() != raw_rows(tmp_path / "b").keys()


# -- what is refused ---------------------------------------------------------------------------------------------------


def overwrite(folder: Path, rows: Pairs) -> None:
    below = LevelStore(folder)
    below.write([rows])
    below.close()


def test_a_changed_byte_at_any_position_is_refused_and_the_record_is_named(tmp_path: Path) -> None:
    name, value = b"a" + os.urandom(20), b"a balance of 10.00"
    store = opened(tmp_path / "data")
    store.write([{name: value}])
    store.close()
    ((hidden, row),) = raw_rows(tmp_path / "data").items()
    below = LevelStore(tmp_path / "data")
    changed = [
        row[:at] + bytes([row[at] ^ flip]) + row[at + 1 :]
        for at in range(len(row))
        for flip in (1, 0x80)
    ]
    store = SealedStore(below, Keyring.open(tmp_path / "data", [OLD]), HEIGHT_TABLES)
    reads = (partial(store.get, name), store.verify, lambda: list(store.scan(b"a")))
    named = f"record {hidden[1:].hex()} of table 'a' cannot be opened"
    for bad in [*changed, *(row[:length] for length in range(len(row))), row + b"\0"]:
        below.write([{hidden: bad}])
        for read in reads:
            with pytest.raises(OperationalError, match=named):
                read()
    below.write([{hidden: row}])
    assert store.get(name) == value
    store.close()


def test_rows_that_were_swapped_or_copied_to_another_name_are_refused(tmp_path: Path) -> None:
    names = [b"a" + os.urandom(20) for _ in range(2)] + [b"r" + os.urandom(20)]
    store = opened(tmp_path / "data")
    store.write([{name: b"worth %d" % at for at, name in enumerate(names)}])
    store.close()
    rows = raw_rows(tmp_path / "data")
    first, second, third = rows
    for one, other in ((first, second), (first, third)):
        overwrite(tmp_path / "data", {**rows, one: rows[other], other: rows[one]})
        store = opened(tmp_path / "data")
        assert sum(_refuses(partial(store.get, name)) for name in names) == 2
        with pytest.raises(OperationalError, match="belongs to another name"):
            store.verify()
        store.close()


def test_a_row_under_a_wrong_name_is_refused_though_our_own_key_sealed_it(tmp_path: Path) -> None:
    names = [b"a" + os.urandom(20) for _ in range(2)]
    store = opened(tmp_path / "data")
    hidden, real = store._names.opaque(names[0]), store._names
    store._sealer._names = _AllOneName(hidden)
    batch = store._sealer.sealed({names[1]: b"moved"})
    store._sealer._names = real
    store._below.write([batch])
    with pytest.raises(OperationalError, match="holds another name"):
        store.get(names[0])
    with pytest.raises(OperationalError, match="holds another name"):
        list(store.scan(b"a"))
    store.close()


class _AllOneName(sealing.Names):
    def __init__(self, hidden: bytes) -> None:
        super().__init__(bytes(32), frozenset())
        self._hidden = hidden

    def opaque(self, name: bytes) -> bytes:
        return self._hidden


def _refuses(read: Callable[[], object]) -> bool:
    try:
        read()
    except OperationalError:
        return True
    return False


def test_a_row_under_a_key_that_the_ring_does_not_hold_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path / "data")
    store.write([{b"a1": b"1"}])
    store.close()
    for name in keyring.FILES:
        (tmp_path / "data" / name).unlink()
    Keyring.create(tmp_path / "data", OLD)
    store = opened(tmp_path / "data")
    with pytest.raises(OperationalError, match="data key 1, which the keyring does not hold"):
        store.verify()
    store.close()


# -- nonces ------------------------------------------------------------------------------------------------------------


class Recorded:
    """A database below that remembers the head of every row that was ever written."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.heads: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self.memory.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self.memory.scan(prefix)

    def after(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        return (pair for pair in list(self.memory.scan(b"")) if pair[0] > key)

    def export(
        self, tables: Sequence[bytes], chunk_bytes: int
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        raise NotImplementedError("nobody makes a backup here")

    def write(self, batches: Sequence[Pairs]) -> None:
        self.heads += [row[:16] for batch in batches for row in batch.values() if row is not None]
        self.memory.write(batches)

    def close(self) -> None:
        self.memory.close()


_STEPS = st.lists(
    st.one_of(
        st.integers(1, 9),  # rows of one batch
        st.sampled_from(["restart", "rekey", "roll back"]),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(steps=_STEPS, rows_per_key=st.integers(9, 20))
def test_no_nonce_comes_twice_under_one_key_whatever_restarts_rollbacks_and_rekeyings_there_are(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str], rows_per_key: int
) -> None:
    folder = tmp_path_factory.mktemp("nonces")
    below = Recorded()
    ring = Keyring.create(folder, OLD)
    backup = [(folder / name).read_bytes() for name in keyring.FILES]
    store = SealedStore(below, ring, HEIGHT_TABLES, rows_per_key)
    uses: list[tuple[bytes, bytes]] = []
    plain: dict[bytes, bytes] = {}
    rolled_back = False
    for number, step in enumerate(steps):
        before = len(below.heads)
        if step == "rekey":
            store.rekey(NEW if store.ring.key_encryption is OLD else OLD)
        elif isinstance(step, str):
            if step == "roll back":  # an old keyring returns; rows under newer keys are lost to it
                rolled_back = True
                for name, data in zip(keyring.FILES, backup, strict=True):
                    (folder / name).write_bytes(data)
            store = SealedStore(
                below, Keyring.open(folder, [OLD, NEW]), HEIGHT_TABLES, rows_per_key
            )
        elif not rolled_back or not store.ring.rewriting:
            batch = {b"a%d" % (at % 7): b"%d" % number for at in range(step)}
            plain.update(batch)
            store.write([batch])
        ring_keys = store.ring.data_keys
        for head in below.heads[before:]:
            uses.append((ring_keys[sealing.key_number(head)], head[4:]))
    assert len(uses) == len(set(uses)), "a nonce was used twice under one key"
    per_key: dict[bytes, list[int]] = {}
    for key, nonce in uses:
        per_key.setdefault(key, []).append(int.from_bytes(nonce[:4], "big"))
    # By the counter alone, whatever the salt: 0, 1, 2, … under each key, and never more than its bound.
    assert all(counters == list(range(len(counters))) for counters in per_key.values())
    assert all(len(counters) <= rows_per_key for counters in per_key.values())
    if not rolled_back:
        assert dict(store.scan(b"")) == plain


def heads_of(folder: Path) -> list[bytes]:
    """Data key and counter of each row."""
    return [row[:8] for row in raw_rows(folder).values()]


def test_batches_of_one_life_never_share_a_nonce(tmp_path: Path) -> None:
    store = opened(tmp_path / "data")
    for number in range(10):
        store.write([{b"a%d" % (10 * number + at): b"" for at in range(10)}])
    store.close()
    assert sorted(heads_of(tmp_path / "data")) == [
        (1).to_bytes(4, "big") + count.to_bytes(4, "big") for count in range(100)
    ]


def test_a_restart_begins_a_new_key(tmp_path: Path) -> None:
    for life in range(5):
        store = opened(tmp_path / "data")
        assert store.ring.data_keys.keys() == set(range(1, life + 1)), "reading needs none"
        store.write([{b"a%d" % life: b""}])
        store.close()
    assert len(set(heads_of(tmp_path / "data"))) == 5


def test_a_copied_machine_draws_other_salts(tmp_path: Path) -> None:
    store = opened(tmp_path / "data")
    batch = {b"a1": b"1"}
    first = store._sealer.sealed(batch)
    store._sealer._counter -= 1  # the copy, whose memory knows nothing of the other life
    second = store._sealer.sealed(batch)
    heads = [row[:16] for each in (first, second) for row in each.values() if row is not None]
    assert heads[0][:8] == heads[1][:8]
    assert heads[0] != heads[1]
    store.close()


def test_a_key_never_serves_more_rows_than_its_bound() -> None:
    names = sealing.Names(bytes(32), frozenset())
    with pytest.raises(InvariantError, match="too many rows"):
        sealing.Sealer(names, lambda: (1, bytes(32)), sealing.ROWS_PER_KEY_MAX + 1)
    with pytest.raises(InvariantError, match="larger than a key"):
        sealing.Sealer(names, lambda: (1, bytes(32)), 2).sealed(
            {b"%d" % at: b"" for at in range(3)}
        )


def test_a_key_is_left_after_its_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "BYTES_PER_KEY_MAX", 1_000)
    numbers = iter(range(1, 100))
    sealer = sealing.Sealer(
        sealing.Names(bytes(32), frozenset()), lambda: (next(numbers), os.urandom(32))
    )
    used = []
    for _ in range(4):
        sealer.sealed({b"a": bytes(600)})
        used.append(sealer.number)
    assert used == [1, 1, 2, 2]


def test_every_table_of_the_core_has_a_name_that_can_be_sealed() -> None:
    longest = max(len(schema.TAKEN) + 52, len(schema.RECORD) + 64)
    assert longest <= sealing.NAME_BYTES_MAX
