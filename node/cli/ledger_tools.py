"""What the ledger's commands share: which ledger is meant, how far a long look has come, what is said of findings."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import Genesis, genesis_from_json
from tallystick.node.config import ConfigError, NodeConfig, load_config
from tallystick.node.storage.folder_lock import FolderLock
from tallystick.node.storage.key_encryption import open_keys
from tallystick.node.storage.opening import NodeStore
from tallystick.node.upkeep.aside import unfinished
from tallystick.node.upkeep.findings import Finding
from tallystick.node.upkeep.manifest import GENESIS, MANIFEST, read_manifest
from tallystick.node.upkeep.ports import WritableStore
from tallystick.node.upkeep.restoring import fill
from tallystick.node.upkeep.stores import Keys, open_ledger, scratch_in

SCRATCH = "scratch"
"""Folder beside a ledger for what a command needs while it runs; nothing in it is ever kept."""
SHOWN_MAX = 20
"""Findings that are shown to people; machines get all that were kept."""
SECONDS_PER_LINE = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger at hand: a data folder, or a backup."""

    folder: Path
    genesis: Genesis
    backup: bool
    keys: Keys = ()


def keys_of(settings: NodeConfig) -> Keys:
    """What opens the node's data folder, none for a plain one."""
    return open_keys(settings.storage.sources, settings.source.parent)


def place_of(target: Path | None, config: Path | None, genesis: Path | None) -> Place:
    """Which ledger the command line means. `OperationalError` says what is missing."""
    if (target is None) == (config is None):
        raise OperationalError("name one ledger: a folder, or --config with a node's node.toml")
    if target is not None and target.is_file():
        config = target
    if config is not None:
        try:
            settings = load_config(config)
        except ConfigError as error:
            raise OperationalError("; ".join(error.errors)) from None
        return Place(settings.data, read_genesis(settings.genesis), False, keys_of(settings))
    folder = target or Path()
    if (folder / MANIFEST).is_file():
        return Place(folder, read_genesis(genesis or folder / GENESIS), True)
    if not (folder / "ledger").is_dir():
        raise OperationalError(f"{folder} holds neither a ledger nor a backup of one")
    if genesis is None:
        raise OperationalError(
            f"--genesis is missing: what {folder} holds is judged by the network's genesis file"
        )
    return Place(folder, read_genesis(genesis), False)


def read_genesis(path: Path) -> Genesis:
    """The genesis document in a file."""
    try:
        with path.open("rb") as file:
            return genesis_from_json(file.read(bounds.GENESIS_FILE_BYTES_MAX + 1))
    except OSError as error:
        raise OperationalError(f"{path}: {error.strerror}") from None
    except Refused as refused:
        raise OperationalError(f"{path} is not a genesis file: {refused.detail}") from None


@contextmanager
def ledger_of(settings: NodeConfig) -> Iterator[NodeStore]:
    """The ledger of a node that stands still. `OperationalError` when it runs, or when something was begun there and not ended."""
    if (sentence := unfinished(settings.data)) is not None:
        raise OperationalError(sentence)
    held = hold(settings.data)
    try:
        store = open_ledger(settings.data, keys_of(settings), held)
        try:
            yield store
        finally:
            store.close()
    finally:
        held.release()


@contextmanager
def opened(place: Place) -> Iterator[tuple[NodeStore, Callable[[], WritableStore]]]:
    """The ledger to read, and a way to open an empty database; all but the ledger is gone afterwards.

    A backup is unpacked into such a database first, its files' hashes checked on the way, and is not written to itself.
    `OperationalError` when a node runs in the folder.
    """
    with ExitStack() as stack:
        if place.backup:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="tallystick-")))
            store = scratch_in(scratch / "backup")
            stack.callback(store.close)
            fill(store, place.folder, read_manifest(place.folder), place.genesis)
        else:
            held = hold(place.folder)
            stack.callback(held.release)
            scratch = place.folder / SCRATCH
            shutil.rmtree(scratch, ignore_errors=True)  # of a call that was killed
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            store = open_ledger(place.folder, place.keys, held)
            stack.callback(store.close)
        yield store, lambda: scratch_in(scratch / "again")


def hold(folder: Path) -> FolderLock:
    """Keep nodes out of the folder. `OperationalError` when there is none, or one runs."""
    if not folder.is_dir():
        raise OperationalError(f"there is no folder {folder}")
    try:
        return FolderLock(folder)
    except OperationalError:
        raise OperationalError(
            f"a process uses {folder}: the node runs. Stop it, or make a backup of it (`tallystick ledger backup` with"
            f" --token) and look at that"
        ) from None


class Display:
    """How far it has come, on standard error, rewritten in place on a terminal and silent elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._stage = ""
        self._began = self._said = time.monotonic()
        self.began = self._began

    def __call__(self, stage: str, done: int, total: int) -> None:
        """`findings.Progress`."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._said = stage, now, 0.0
        if self._quiet or (now - self._said < SECONDS_PER_LINE and done != total):
            return
        self._said = now
        speed = done / (now - self._began) if now > self._began else 0.0
        of = f" of {total:,}" if total else ""
        typer.echo(f"\r\x1b[K  {stage}: {done:,}{of}, {speed:,.0f}/s", nl=False, err=True)

    def finish(self) -> float:
        """Clear the line; seconds since the beginning."""
        if not self._quiet:
            typer.echo("\r\x1b[K", nl=False, err=True)
        return time.monotonic() - self.began


def told(findings: tuple[Finding, ...], left_out: int = 0) -> list[str]:
    """Lines for people."""
    lines = [f"  {finding.sentence()}" for finding in findings[:SHOWN_MAX]]
    more = len(findings) - SHOWN_MAX + left_out
    if more > 0:
        lines.append(f"  … and {more:,} more")
    return lines
