"""Old transactions go into an archive and come back; nothing that proves anything is lost, and no byte of an archive is believed."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.receipts import BUNDLE
from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.ids import PaymentId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import decode
from tallystick.node.core import schema
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.reading import LedgerReader
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep import pruning
from tallystick.node.upkeep.findings import Level
from tallystick.node.upkeep.pruning import prunable, prune, put_back
from tests.unit.core.lab import STEADY, Lab
from tests.unit.upkeep.joiners import Dying, Members, joined, table
from tests.unit.upkeep.stage import grown, looked, stored


@pytest.fixture(scope="module")
def lab() -> Lab:
    """Payments, then so much time with empty blocks that none of them waits any more."""
    lab = grown(replace(STEADY, max_validity_ms=70_000))
    lab.pass_time(310_000)
    return lab


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "SEGMENT_BYTES", 1_500)


def pruned(lab: Lab, archive: Path) -> MemoryStore:
    store = MemoryStore(stored(lab))
    done = prune(store, lab.genesis, archive)
    assert done.files == len(list(archive.iterdir())) > 2
    assert done.whole_from == done.last + 1 > 5
    return store


def test_what_proves_anything_stays_and_old_transactions_are_gone(lab: Lab, tmp_path: Path) -> None:
    store = pruned(lab, tmp_path)
    before, after = stored(lab), store.snapshot()
    kept = {key for key in before if key[:1] != schema.BLOCK}
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    assert sum(map(len, table(after, schema.BLOCK).values())) < sum(map(len, table(before, schema.BLOCK).values()))  # fmt: skip
    report = looked(lab, after, Level.MERKLE)
    assert report.findings == ()
    assert report.whole_from > 1
    reader, whole = LedgerReader(Ledger(lab.genesis, store)), lab.core(0).reader
    for height in range(1, report.whole_from):
        view = whole.block(height)
        assert view is not None
        for index in range(len(view.bodies)):
            bundle = BUNDLE.decode(reader.bundle(height, [index]))
            assert bundle == BUNDLE.decode(whole.bundle(height, [index]))
    old = next(key for key in table(after, schema.TAKEN))
    place = reader.locate(old[1:21], old[21:])
    assert place is not None
    if place.height < report.whole_from:
        with pytest.raises(Refused) as refused:
            reader.receipt(place.height, place.index)
        assert refused.value.reason is RejectReason.BELOW_SNAPSHOT


def test_absence_is_proven_as_before_where_it_was_pruned_and_by_whoever_joined(
    lab: Lab, tmp_path: Path
) -> None:
    ordered = lab.core(0).ledger.block(2)
    assert ordered is not None
    paid = decode(ordered.bodies[0])
    lost = replace(paid, id=PaymentId(b"\xee" * 32))
    digest = Verifier(lab.genesis).digest(lost)
    asked = (lost.account, lost.id, digest, lost.valid_until_ms)
    stores = pruned(lab, tmp_path), joined(lab, Members(lab))[0]
    proofs = [LedgerReader(Ledger(lab.genesis, store)).absence(*asked)() for store in stores]
    whole = lab.core(0).reader.absence(*asked)()
    assert whole.window is not None
    assert whole.window.count > 3
    assert proofs == [whole, whole]


def test_what_may_still_be_waited_for_stays_whole(lab: Lab, tmp_path: Path) -> None:
    store = MemoryStore(stored(lab))
    ledger = lab.core(0).ledger
    last = prunable(store, lab.genesis)
    edge_ms = ledger.time_ms - lab.genesis.parameters.max_validity_ms
    times = [lab.core(0).reader.block(height) for height in range(1, ledger.height + 1)]
    old = [view.header.height for view in times if view and view.header.time_ms < edge_ms]
    assert last == max(old) < ledger.height
    young = grown()
    assert prunable(MemoryStore(stored(young)), young.genesis) == 0
    untouched = MemoryStore(stored(young))
    assert prune(untouched, young.genesis, tmp_path).files == 0
    assert untouched.snapshot() == stored(young)
    below = MemoryStore({**stored(lab), schema.CHECKPOINT_NEWEST: (2).to_bytes(8, "big")})
    assert prunable(below, lab.genesis) == 2


def test_they_come_back_byte_for_byte(lab: Lab, tmp_path: Path) -> None:
    store = pruned(lab, tmp_path)
    again = prune(store, lab.genesis, tmp_path)
    assert again.files == 0
    done = put_back(store, tmp_path)
    assert done.whole_from == 1
    assert store.snapshot() == stored(lab)
    assert put_back(store, tmp_path).files == 0
    assert looked(lab, store.snapshot(), Level.EXECUTE).findings == ()


def test_a_power_cut_at_any_write_loses_nothing(lab: Lab, tmp_path: Path) -> None:
    whole = stored(lab)
    writes = 0
    while True:
        archive = tmp_path / str(writes)
        dying = Dying(whole, writes)
        try:
            prune(dying, lab.genesis, archive)
            break
        except KeyboardInterrupt:
            cut = dying.snapshot()
            assert looked(lab, cut, Level.MERKLE).findings == ()
            store = MemoryStore(cut)
            prune(store, lab.genesis, archive)
            dying = Dying(store.snapshot(), writes)
            try:
                put_back(dying, archive)
            except KeyboardInterrupt:
                assert looked(lab, dying.snapshot(), Level.MERKLE).findings == ()
            back = MemoryStore(dying.snapshot())
            put_back(back, archive)
            assert back.snapshot() == whole
        writes += 1
    assert writes > 2


def test_every_byte_of_an_archive_counts(lab: Lab, tmp_path: Path) -> None:
    rows = pruned(lab, tmp_path).snapshot()
    path = max(tmp_path.iterdir())
    good = path.read_bytes()
    wrong = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(good))]
    wrong += [good[:at] for at in range(0, len(good), 7)] + [good + b"\0"]
    for data in wrong:
        path.write_bytes(data)
        store = MemoryStore(rows)
        with pytest.raises(OperationalError, match="blocks-"):
            put_back(store, tmp_path)
        assert store.snapshot() == rows
    path.write_bytes(good)
    first = min(tmp_path.iterdir())
    swapped = first.read_bytes()
    first.write_bytes(good)
    path.write_bytes(swapped)
    with pytest.raises(OperationalError, match="other blocks than its name says"):
        put_back(MemoryStore(rows), tmp_path)


def test_a_damaged_block_is_not_archived(lab: Lab, tmp_path: Path) -> None:
    store = MemoryStore(stored(lab))
    record = lab.core(0).ledger.block(2)
    assert record is not None
    damaged = replace(record, bodies=(record.bodies[0][:-1], *record.bodies[1:]))
    store.write([{schema.at_height(schema.BLOCK, 2): pruning._encode(damaged)}])
    with pytest.raises(OperationalError, match="block 2 are damaged"):
        prune(store, lab.genesis, tmp_path)
