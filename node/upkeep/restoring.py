"""`tallystick ledger restore`: a backup becomes a node's ledger, if every byte of it holds and a quorum's certificate says so.

Decided here: the order of belief. First bytes (manifest, files, rows), then the ledger that they make, verified like any other
up to its state root under the last certificate, and only then the exchange. What is restored follows the network and votes
about nothing that it voted about before: neither guard nor vote key is in a backup, and a guard that ever signed is ahead of
the restored database, so a member refuses to start.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tallystick.network.proofs.certificates import Verify
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import Genesis, genesis_from_json, genesis_hash
from tallystick.network.wire.keys import verify_vote
from tallystick.node.core.ports import Store
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.keyring import is_sealed
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.aside import Aside
from tallystick.node.upkeep.findings import Level, Progress, Report, silent
from tallystick.node.upkeep.manifest import (
    GENESIS,
    MANIFEST,
    BackupFile,
    Manifest,
    certificate_of,
    read_manifest,
)
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.rows import Damaged, read_block
from tallystick.node.upkeep.segments import SEGMENT, Row, rows_of_segment
from tallystick.node.upkeep.stores import Keys, open_ledger
from tallystick.node.upkeep.verifying import verify


@dataclass(frozen=True, slots=True)
class Restored:
    """What was proven and is in place now."""

    manifest: Manifest
    report: Report


def restore(
    backup: Path,
    folder: Path,
    genesis: Genesis,
    level: Level = Level.MERKLE,
    progress: Progress = silent,
    *,
    keys: Keys = (),
    check_vote: Verify = verify_vote,
) -> Restored:
    """Make `folder`/ledger from the backup. `OperationalError` says what does not hold; then nothing was changed.

    A folder that has a ledger keeps it: restoring over it would forget what it promised.
    """
    held = FolderLock(folder)
    try:
        aside = Aside(folder, "restore")
        if (folder / "ledger").is_dir() and not aside.ready:
            raise OperationalError(
                f"{folder} has a ledger. Move it away first if it shall be replaced; it may be needed as evidence"
            )
        if is_sealed(folder) and not keys:
            raise OperationalError(
                f"{folder} has a keyring and [storage] names no key: move it away"
            )
        manifest = read_manifest(backup)
        if (
            aside.ready
        ):  # an earlier call had proven it, and was interrupted while it put it in its place
            aside.exchange()
            return _in_place(folder, keys, held, manifest, genesis, level, progress, check_vote)
        store = aside.open(keys, anew=True)
        try:
            fill(store, backup, manifest, genesis, progress)
            report = prove(store, manifest, genesis, level, progress, check_vote)
        except OperationalError:
            store.close()
            aside.drop()
            raise
        store.close()
        aside.set_ready()
        aside.exchange()
        return Restored(manifest, report)
    finally:
        held.release()


def _in_place(
    folder: Path,
    keys: Keys,
    held: FolderLock,
    manifest: Manifest,
    genesis: Genesis,
    level: Level,
    progress: Progress,
    check_vote: Verify,
) -> Restored:
    store = open_ledger(folder, keys, held)
    try:
        return Restored(manifest, prove(store, manifest, genesis, level, progress, check_vote))
    finally:
        store.close()


def fill(
    store: WritableStore,
    backup: Path,
    manifest: Manifest,
    genesis: Genesis,
    progress: Progress = silent,
) -> None:
    """Every row of the backup into an empty store, its files checked on the way."""
    check_genesis(backup, manifest, genesis)
    done = 0
    for rows in rows_of(backup, manifest):
        store.write([dict(rows)])
        done += len(rows)
        progress("rows", done, manifest.rows)


def check_genesis(backup: Path, manifest: Manifest, genesis: Genesis) -> None:
    """The backup is of this very network."""
    theirs = read_file(backup, manifest.files[0])
    try:
        hash_ = genesis_hash(genesis_from_json(theirs))
    except Refused as refused:
        raise OperationalError(
            f"{backup / GENESIS} is not a genesis file: {refused.detail}"
        ) from None
    if not hash_.hex() == manifest.genesis_hash == genesis_hash(genesis).hex():
        raise OperationalError(
            f"{backup} is a backup of another network: its genesis hash is {hash_.hex()[:16]}…,"
            f" this node's is {genesis_hash(genesis).hex()[:16]}…"
        )


def rows_of(backup: Path, manifest: Manifest) -> Iterator[list[Row]]:
    """The rows of each segment, in order. `OperationalError` names the file that is changed, cut, or another's."""
    for entry in manifest.files[1:]:
        try:
            rows = rows_of_segment(read_file(backup, entry))
        except Refused as refused:
            raise OperationalError(
                f"{backup / entry.name} does not decode: {refused.detail}"
            ) from None
        if len(rows) != entry.rows:
            raise OperationalError(
                f"{backup / entry.name} holds {len(rows)} rows, not {entry.rows}"
            )
        yield rows


def read_file(backup: Path, entry: BackupFile) -> bytes:
    """The file's bytes, which are those that the manifest names."""
    path = backup / entry.name
    if entry.bytes > SEGMENT.bytes_max:
        raise OperationalError(
            f"{path}: the manifest says {entry.bytes} bytes, more than any file has"
        )
    try:
        with path.open("rb") as file:
            data = file.read(entry.bytes + 1)
    except OSError as error:
        raise OperationalError(f"{path}: {error.strerror}") from None
    if len(data) != entry.bytes:
        size = "longer" if len(data) > entry.bytes else f"{len(data)} bytes long"
        raise OperationalError(f"{path} is {size}, the manifest says {entry.bytes} bytes")
    if sha256(data).hexdigest() != entry.sha256:
        raise OperationalError(f"{path} was changed: its SHA-256 is not the one in {MANIFEST}")
    return data


def prove(
    store: Store,
    manifest: Manifest,
    genesis: Genesis,
    level: Level,
    progress: Progress = silent,
    check_vote: Verify = verify_vote,
) -> Report:
    """The ledger in `store` is whole and is the one that a quorum certified. `OperationalError` says what does not hold."""
    report = verify(store, genesis, max(level, Level.MERKLE), progress, check_vote=check_vote)
    if report.findings:
        more = len(report.findings) - 1 + report.left_out
        raise OperationalError(
            f"the backup's ledger does not hold: {report.findings[0].sentence()}"
            + (f", and {more} more" if more else "")
        )
    if report.rows != manifest.rows:
        raise OperationalError(
            f"the backup holds {report.rows} rows, its manifest says {manifest.rows}"
        )
    said = (manifest.height, manifest.link, manifest.state_root)
    if said != (report.height, report.link.hex(), report.state_root.hex()):
        raise OperationalError("the backup's ledger is not the one that its manifest speaks of")
    _check_certificate(store, manifest)
    return report


def _check_certificate(store: Store, manifest: Manifest) -> None:
    """The certificate in the manifest is the last block's, whose signatures `verify` has checked."""
    certificate = certificate_of(manifest)
    if manifest.height == 0:
        if certificate is not None:
            raise OperationalError("the manifest carries a certificate of a ledger without blocks")
        return
    try:
        record = read_block(store, manifest.height)
    except Damaged as damaged:
        raise OperationalError(f"the backup's last block {damaged}") from None
    if certificate != record.certificate or record.certificate.height != manifest.height:
        raise OperationalError("the certificate in the manifest is not the last block's")


def opened(backup: Path, genesis: Genesis) -> MemoryStore:
    """A backup to read in memory, its bytes checked, its certificates not."""
    store = MemoryStore()
    fill(store, backup, read_manifest(backup), genesis)
    return store
