"""A backup is a whole ledger or it is refused, whichever byte of it was touched; what is restored proves its state root and
cannot vote twice."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tallystick.contracts.state import Account
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.faults import OperationalError
from tallystick.network.wire.frames import Channel, pack
from tallystick.network.wire.ids import NodeId
from tallystick.node.core import schema
from tallystick.node.core.effects import CheckBodies, Hearsay
from tallystick.node.core.events import BodiesChecked, PeerFrame, PeerUp, Tick
from tallystick.node.core.follower import Follower
from tallystick.node.core.ledger import BLOCK_RECORD, _encode
from tallystick.node.core.messages import CATCH_UP_MESSAGE, AskBlocks
from tallystick.node.core.replica import Replica
from tallystick.node.core.serving import serve
from tallystick.node.storage.leveldb import LevelStore
from tallystick.node.storage.memory import MemoryGuard, MemoryStore
from tallystick.node.upkeep import aside as aside_module
from tallystick.node.upkeep.aside import unfinished
from tallystick.node.upkeep.backing_up import BackupWriter
from tallystick.node.upkeep.findings import Level
from tallystick.node.upkeep.manifest import MANIFEST, Manifest, encoded, read_manifest, sealed
from tallystick.node.upkeep.restoring import fill, prove, read_file, restore, rows_of
from tallystick.node.upkeep.segments import (
    BACKED_UP,
    SEGMENT,
    Unframing,
    framed,
)
from tests.sim.crypto import Signer
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import on_disk, rows_in
from tests.unit.upkeep.stage import grown, stored, with_byte


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


@pytest.fixture(scope="module")
def backup(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of member 0's ledger, in three segments."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tallystick.node.upkeep.backing_up.SEGMENT_BYTES", 3_000)
        return made(lab, tmp_path_factory.mktemp("made") / "backup", stored(lab))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Path]:
    """A network of one member with one issue, and its backup: small enough to touch every byte."""
    lab = Lab(members=1)
    lab.answer(0, lab.issue())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tallystick.node.upkeep.backing_up.SEGMENT_BYTES", 1_200)
        return lab, made(lab, tmp_path_factory.mktemp("tiny") / "backup", stored(lab))


def ledger_rows(rows: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return sorted(pair for pair in rows.items() if pair[0] in BACKED_UP or pair[0][:1] in BACKED_UP)


def made(lab: Lab, folder: Path, rows: dict[bytes, bytes]) -> Path:
    writer = BackupWriter(folder, lab.genesis)
    writer.add(ledger_rows(rows))
    writer.finish()
    return folder


def taken(lab: Lab, backup: Path) -> None:
    """Every check of a restore, in memory. `OperationalError` names what does not hold."""
    manifest, store = read_manifest(backup), MemoryStore()
    fill(store, backup, manifest, lab.genesis)
    prove(store, manifest, lab.genesis, Level.MERKLE, check_vote=lab.keys.verify)


def put(path: Path, at: int, data: bytes) -> None:
    """Into the file as it is: to write it whole costs milliseconds."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def bytes_hold(backup: Path) -> None:
    """The first part of `taken`, without the ledger: quick enough to be asked at every byte."""
    manifest = read_manifest(backup)
    read_file(backup, manifest.files[0])
    for _ in rows_of(backup, manifest):
        pass


def test_a_backup_holds_the_ledger_and_no_promise(lab: Lab, backup: Path) -> None:
    manifest = read_manifest(backup)
    names = sorted(path.name for path in backup.iterdir())
    assert names == [
        "genesis.json",
        "manifest.json",
        *(f"rows-{number:06}.seg" for number in range(len(names) - 2)),
    ]
    assert len(names) > 4
    ledger = lab.core(0).ledger
    assert (manifest.height, manifest.link) == (7, ledger.link.hex())
    assert manifest.state_root == ledger.state.root.hex()
    keys = [
        key for path in sorted(backup.glob("*.seg")) for key, _ in SEGMENT.decode(path.read_bytes())
    ]
    assert keys == [key for key, _ in ledger_rows(stored(lab))]
    assert not {schema.ENGINE, schema.GUARD} & set(keys)
    taken(lab, backup)


def test_a_single_changed_byte_anywhere_is_refused_with_the_reason(
    tiny: tuple[Lab, Path], tmp_path: Path
) -> None:
    lab, backup = tiny
    copy = tmp_path / "copy"
    shutil.copytree(backup, copy)
    tried = 0
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        for at in range(len(whole)):
            put(path, at, with_byte(whole, at, 1 << at % 8)[at : at + 1])
            with pytest.raises(OperationalError, match=re.escape(path.name)):
                bytes_hold(copy)
            if at % 101 == 0:
                with pytest.raises(OperationalError, match=re.escape(path.name)):
                    taken(lab, copy)
            put(path, at, whole[at : at + 1])
            tried += 1
    assert tried == sum(path.stat().st_size for path in backup.iterdir())
    taken(lab, copy)


def test_a_file_that_is_cut_longer_or_missing_is_refused(
    lab: Lab, backup: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(backup, copy)
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        for content in [*(whole[:cut] for cut in range(0, len(whole), 13)), whole + b"\x00", b""]:
            path.write_bytes(content)
            with pytest.raises(OperationalError, match=re.escape(path.name)):
                taken(lab, copy)
        path.unlink()
        with pytest.raises(OperationalError, match=re.escape(path.name)):
            taken(lab, copy)
        path.write_bytes(whole)
    taken(lab, copy)


def test_two_swapped_bytes_and_two_swapped_files_are_refused(
    tiny: tuple[Lab, Path], tmp_path: Path
) -> None:
    lab, backup = tiny
    copy = tmp_path / "copy"
    shutil.copytree(backup, copy)
    for path in sorted(copy.iterdir()):
        whole = path.read_bytes()
        for at in range(len(whole) - 1):
            if whole[at] != whole[at + 1]:
                put(path, at, whole[at + 1 : at + 2] + whole[at : at + 1])
                with pytest.raises(OperationalError, match=re.escape(path.name)):
                    bytes_hold(copy)
                put(path, at, whole[at : at + 2])
    one, two = copy / "rows-000000.seg", copy / "rows-000001.seg"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(OperationalError, match=r"rows-000000\.seg"):
        taken(lab, copy)


# -- whoever writes files can write a manifest, too --------------------------------------------------------------------


def forged(lab: Lab, folder: Path, rows: dict[bytes, bytes], **claims: object) -> Path:
    """A backup with a manifest that fits, of rows that no quorum certified."""
    made(lab, folder, rows)
    manifest = sealed(replace(read_manifest(folder), **claims)) if claims else None
    if manifest is not None:
        (folder / MANIFEST).write_bytes(encoded(manifest))
    return folder


def richer(rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """One more minor unit on the first account that has any."""
    for key in sorted(key for key in rows if key.startswith(schema.ACCOUNT)):
        height, seed, value = msgspec.msgpack.decode(rows[key])
        account = Account.decode(value, seed)
        if account.balances.get("USD"):
            account.balances["USD"] += 1
            return {**rows, key: _encode((height, seed, account.encode()))}
    raise AssertionError("everybody is poor")


def other_result(rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    key = schema.at_height(schema.BLOCK, 7)
    record = BLOCK_RECORD.decode(rows[key])
    record = replace(record, result=replace(record.result, state_root=bytes(32)))
    link = link_of(record.header, record.result)
    final = (7).to_bytes(8, "big") + link
    return {
        **rows,
        key: _encode(record),
        schema.at_height(schema.LINK, 7): link,
        schema.FINAL: final,
    }


def test_a_forged_ledger_with_a_fitting_manifest_fails_at_the_certificate(
    lab: Lab, tmp_path: Path
) -> None:
    rows = stored(lab)
    with pytest.raises(OperationalError, match="do not give the certified state root"):
        taken(lab, forged(lab, tmp_path / "richer", richer(rows)))
    with pytest.raises(OperationalError, match="its certificate is of another block"):
        taken(lab, forged(lab, tmp_path / "result", other_result(rows)))
    spent = min(key for key in rows if key.startswith(schema.TAKEN))
    forgotten = {key: rows[key] for key in rows if key != spent}
    with pytest.raises(OperationalError, match="has no row"):
        taken(lab, forged(lab, tmp_path / "spent", forgotten))
    twice = {**rows, schema.TAKEN + bytes(52): rows[spent]}
    with pytest.raises(OperationalError, match="1 rows more than there are transactions"):
        taken(lab, forged(lab, tmp_path / "twice", twice))


@pytest.mark.parametrize(
    "claims",
    [
        {"height": 6},
        {"state_root": "00" * 32},
        {"link": "00" * 32},
        {"certificate": ""},
        {"certificate": "c0"},
    ],
    ids=lambda claims: str(next(iter(claims))),
)
def test_a_manifest_that_claims_something_else_is_refused(
    lab: Lab, tmp_path: Path, claims: dict[str, object]
) -> None:
    with pytest.raises(OperationalError, match="manifest"):
        taken(lab, forged(lab, tmp_path / "claims", stored(lab), **claims))


def test_a_manifest_cannot_name_files_elsewhere(lab: Lab, tmp_path: Path) -> None:
    folder = made(lab, tmp_path / "backup", stored(lab))
    manifest = read_manifest(folder)
    outside = replace(manifest.files[1], name="../../rows-000000.seg")
    bad = sealed(replace(manifest, files=(manifest.files[0], outside)))
    (folder / MANIFEST).write_bytes(encoded(bad))
    with pytest.raises(OperationalError, match="lists other files"):
        read_manifest(folder)


def test_a_backup_of_another_network_is_refused(lab: Lab, backup: Path) -> None:
    other = replace(lab.genesis, name="another")
    with pytest.raises(OperationalError, match="a backup of another network"):
        fill(MemoryStore(), backup, read_manifest(backup), other)


def test_promises_are_not_let_in_by_a_backup(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    writer = BackupWriter(folder, lab.genesis)
    rows = stored(lab)
    writer.add(sorted(pair for pair in rows.items() if pair[0] != schema.ENGINE))
    writer.finish()
    with pytest.raises(OperationalError, match="of a table that no backup holds"):
        taken(lab, folder)


# -- writing one -------------------------------------------------------------------------------------------------------


def test_an_interrupted_backup_is_none_and_its_folder_may_be_used_again(
    lab: Lab, tmp_path: Path
) -> None:
    rows = ledger_rows(stored(lab))
    begun = BackupWriter(tmp_path / "b", lab.genesis)
    begun.add(rows[:3])
    with pytest.raises(OperationalError, match="was the backup interrupted"):
        read_manifest(tmp_path / "b")
    taken(lab, made(lab, tmp_path / "b", stored(lab)))
    with pytest.raises(OperationalError, match="holds a backup already"):
        BackupWriter(tmp_path / "b", lab.genesis)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "letter.txt").write_text("dear all")
    with pytest.raises(OperationalError, match="is not empty"):
        BackupWriter(tmp_path / "c", lab.genesis)
    assert (tmp_path / "c" / "letter.txt").exists()


def test_rows_that_do_not_end_with_the_last_block_make_no_backup(lab: Lab, tmp_path: Path) -> None:
    writer = BackupWriter(tmp_path / "b", lab.genesis)
    last = schema.at_height(schema.BLOCK, 7)
    writer.add(pair for pair in ledger_rows(stored(lab)) if pair[0] != last)
    with pytest.raises(OperationalError, match="verify it first"):
        writer.finish()
    assert not (tmp_path / "b" / MANIFEST).exists()


def test_a_snapshot_of_a_store_that_is_written_to_is_of_one_instant(
    lab: Lab, tmp_path: Path
) -> None:
    store = LevelStore(on_disk(tmp_path, stored(lab)))
    ledger = dict(ledger_rows(stored(lab)))
    rows: list[tuple[bytes, bytes]] = []
    for number, chunk in enumerate(store.export(BACKED_UP, 500)):
        store.write([{schema.TAKEN + bytes([number]) * 52: b"later" * 9}])
        rows += chunk
    assert rows == sorted(pair for pair in stored(lab).items() if pair[0] in ledger)
    under_way = store.export(BACKED_UP, 500)
    next(under_way)
    store.close()
    with pytest.raises(OperationalError, match="the database is closed"):
        next(under_way)


# -- on the wire -------------------------------------------------------------------------------------------------------


def pieces(lab: Lab) -> bytes:
    rows = ledger_rows(stored(lab))
    return b"".join(framed([rows[:10], rows[10:20], rows[20:]]))


def heard(data: bytes, size: int = 97) -> Iterator[tuple[bytes, bytes]]:
    unframing = Unframing()
    for at in range(0, len(data), size):
        yield from unframing.feed(data[at : at + size])
    unframing.finish()


def test_a_nodes_answer_gives_its_rows_in_pieces_of_any_size(lab: Lab) -> None:
    for size in (1, 7, 4096, 10**6):
        assert list(heard(pieces(lab), size)) == ledger_rows(stored(lab))


def test_an_answer_that_was_cut_or_changed_anywhere_is_no_backup(lab: Lab) -> None:
    whole = pieces(lab)
    for at in range(0, len(whole), 5):
        with pytest.raises(OperationalError):
            list(heard(whole[:at], 4096))
        with pytest.raises(OperationalError):
            list(heard(with_byte(whole, at, 0x40), 4096))
    with pytest.raises(OperationalError, match="goes on after its end"):
        list(heard(whole + b"\x00", 10**6))


# -- restoring ---------------------------------------------------------------------------------------------------------


def put_back(lab: Lab, backup: Path, folder: Path, level: Level = Level.MERKLE) -> None:
    done = restore(backup, folder, lab.genesis, level, check_vote=lab.keys.verify)
    assert done.report.state_root.hex() == done.manifest.state_root


@pytest.mark.parametrize("level", [Level.MERKLE, Level.EXECUTE])
def test_what_is_restored_is_the_ledger(
    lab: Lab, backup: Path, tmp_path: Path, level: Level
) -> None:
    put_back(lab, backup, tmp_path / "data", level)
    assert sorted(rows_in(tmp_path / "data").items()) == ledger_rows(stored(lab))
    assert unfinished(tmp_path / "data") is None
    with pytest.raises(OperationalError, match="has a ledger"):
        put_back(lab, backup, tmp_path / "data")


def test_a_refused_backup_leaves_nothing_behind(lab: Lab, tmp_path: Path) -> None:
    bad = forged(lab, tmp_path / "bad", richer(stored(lab)))
    with pytest.raises(OperationalError, match="does not hold"):
        put_back(lab, bad, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["in-use"]


def test_a_restored_member_that_has_signed_refuses_to_start_and_one_that_never_did_starts(
    lab: Lab, backup: Path, tmp_path: Path
) -> None:
    put_back(lab, backup, tmp_path / "data")
    rows, signer = rows_in(tmp_path / "data"), Signer(NodeId(0), lab.keys)

    def begun(guard: MemoryGuard) -> Replica:
        return Replica(lab.genesis, MemoryStore(rows), signer, guard, lab.now_ms, lab.keys.verify)

    with pytest.raises(OperationalError, match=r"guard is ahead of the database.*spare id"):
        begun(MemoryGuard(lab.box(0).guard.read()))
    assert begun(MemoryGuard()).ledger.height == 7


def test_a_restored_observer_runs_on(lab: Lab, backup: Path, tmp_path: Path) -> None:
    later = grown()
    assert later.genesis == lab.genesis
    put_back(lab, backup, tmp_path / "data")
    for _ in range(3):
        later.answer(0, later.pay())
    assert later.core(1).ledger.block(7) is not None
    store = MemoryStore(rows_in(tmp_path / "data"))
    observer = Follower(NodeId(1_000), later.genesis, store, later.now_ms, later.keys.verify)
    assert observer.ledger.height == 7
    now_ms = later.now_ms
    observer.handle(PeerUp(NodeId(1)), now_ms)
    for _ in range(4):
        now_ms += 2_000
        for said in observer.handle(Tick(), now_ms).immediate:
            assert isinstance(said, Hearsay)
            frame = answer_to(later, said.frame)
            for check in observer.handle(PeerFrame(NodeId(1), frame), now_ms).immediate:
                assert isinstance(check, CheckBodies)
                verdicts = tuple([later.bodies.check(raw) for raw in check.bodies])
                observer.handle(BodiesChecked(check.token, verdicts), now_ms)
    assert observer.halted is None
    assert observer.ledger.height == 10


def answer_to(lab: Lab, frame: bytes) -> bytes:
    question = CATCH_UP_MESSAGE.decode(frame[1:])
    assert isinstance(question, AskBlocks)
    return pack(
        Channel.CATCH_UP, CATCH_UP_MESSAGE.encode(serve(lab.core(1).ledger, question.height))
    )


class PowerLost(Exception):
    """In the middle of it."""


def test_a_restore_that_loses_power_anywhere_is_done_again(
    lab: Lab, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, real_rename, real_sync = LevelStore.write, Path.rename, aside_module.sync_folder
    for stop_at in range(1, 20):
        folder, steps = tmp_path / str(stop_at), [0]

        def step(steps: list[int] = steps, stop_at: int = stop_at) -> None:
            steps[0] += 1
            if steps[0] == stop_at:
                raise PowerLost

        def write(self: LevelStore, batches: list[dict[bytes, bytes | None]]) -> None:
            step()
            real_write(self, batches)

        def rename(self: Path, target: Path) -> Path:
            step()
            return real_rename(self, target)

        def sync(folder: Path) -> None:
            step()
            real_sync(folder)

        with monkeypatch.context() as patched:
            patched.setattr(LevelStore, "write", write)
            patched.setattr(Path, "rename", rename)
            patched.setattr(aside_module, "sync_folder", sync)
            try:
                put_back(lab, backup, folder)
            except PowerLost:
                crashed = True
            else:
                crashed = False
        if not crashed:
            break
        if unfinished(folder) is not None:
            put_back(lab, backup, folder)
        assert sorted(rows_in(folder).items()) == ledger_rows(stored(lab))
    assert stop_at > 5
    assert not crashed


def test_the_manifest_has_one_spelling(backup: Path) -> None:
    manifest = read_manifest(backup)
    assert isinstance(manifest, Manifest)
    data = encoded(manifest)
    assert data == (backup / MANIFEST).read_bytes()
    (backup.parent / "spelled").mkdir(exist_ok=True)
    for other in (data.replace(b"  ", b" "), data + b" ", data.rstrip(b"\n")):
        (backup.parent / "spelled" / MANIFEST).write_bytes(other)
        with pytest.raises(OperationalError, match="one spelling"):
            read_manifest(backup.parent / "spelled")
