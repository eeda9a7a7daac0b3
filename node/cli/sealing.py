"""`tallystick node rekey`, `tallystick node seal`: the keys of the data folder, beside a running node or with it stopped."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from tallystick.network.wire.faults import OperationalError
from tallystick.node.cli.operate import Config, Json, node_app, settings_of
from tallystick.node.cli.output import fail, say
from tallystick.node.config import NodeConfig

ANSWER_SECONDS_MAX = 30.0
"""A running node's time to go over to the new key: two small files, synced."""
ASK_AGAIN_SECONDS = 3.0
REWRITING_SECONDS_MAX = 7 * 86_400.0
"""The longest `--wait` beside a running node."""
_POLL_SECONDS = 0.1

Wait = Annotated[
    bool, typer.Option("--wait", help="Return only when every row is sealed under new data keys.")
]


@node_app.command("rekey")
def rekey(config: Config, wait: Wait = False, as_json: Json = False) -> None:
    """Go over to the key that [storage] new_key names (without one: keep the key, and change the data keys under it).

    At once only that key opens the data. Rows are sealed anew under new data keys, a few with each block while the node
    runs, all of them with --wait. The node may run or not; a crash at any moment loses nothing.
    """
    from tallystick.node.storage.folder_lock import FolderInUse
    from tallystick.node.storage.key_encryption import open_keys
    from tallystick.node.storage.keyring import head_of, is_sealed

    settings = settings_of(config, as_json)
    try:
        keys = open_keys(settings.storage.sources, settings.source.parent)
        if not keys or not is_sealed(settings.data):
            fail(as_json, f"the data in {settings.data} is not sealed: see `tallystick node seal`")
        try:
            _offline(settings, wait, as_json)
            running = False
        except FolderInUse as taken:
            _beside(settings.data, taken.holder, keys[-1].id, wait, as_json)
            running = True
        head = head_of(settings.data)
    except OperationalError as error:
        fail(as_json, str(error))
    document = {"key": head.key, "rewriting": head.rewriting, "running": running}
    rest = "follow, a few with each block" if head.rewriting else "are under new data keys"
    say(
        as_json,
        document,
        f"{settings.name}: the data is opened by {keys[-1].source} (id {head.key}) and by no other key.",
        f"  rows {rest}",
    )


def _offline(settings: NodeConfig, wait: bool, as_json: bool) -> None:
    from tallystick.node.storage.key_encryption import open_keys
    from tallystick.node.storage.opening import open_store
    from tallystick.node.storage.sealed import SealedStore

    keys = open_keys(settings.storage.sources, settings.source.parent)
    store = open_store(settings.data, keys)
    try:
        if isinstance(store, SealedStore):
            store.rekey(keys[-1])
            for rows in store.rewrite_all() if wait else ():
                _progress(as_json, rows)
    finally:
        store.close()


def _beside(folder: Path, holder: int, wanted: str, wait: bool, as_json: bool) -> None:
    """Ask the process that has the folder, and wait until its keyring says that it has done so."""
    from tallystick.node.storage.keyring import head_of
    from tallystick.node.storage.rekeying import SIGNAL

    before = head_of(folder).sequence
    ends, ask_again = time.monotonic() + ANSWER_SECONDS_MAX, 0.0
    while (head := head_of(folder)).sequence == before or head.key != wanted:
        if time.monotonic() > ends:
            fail(as_json, f"process {holder} has not gone over to the key {wanted}: read its log")
        if time.monotonic() > ask_again:  # a node that starts does not hear it yet
            try:
                os.kill(holder, SIGNAL)
            except (ProcessLookupError, PermissionError) as error:
                fail(
                    as_json,
                    f"process {holder} has {folder} and cannot be asked: {error.strerror}",
                )
            ask_again = time.monotonic() + ASK_AGAIN_SECONDS
        time.sleep(_POLL_SECONDS)
    ends = time.monotonic() + REWRITING_SECONDS_MAX
    while wait and head_of(folder).rewriting and time.monotonic() < ends:
        time.sleep(_POLL_SECONDS)


@node_app.command("seal")
def seal(config: Config, as_json: Json = False) -> None:
    """Seal the data of a stopped node that was kept in clear until now, under the key that [storage] names.

    The plain files are deleted, not wiped: treat the disk as one that may still hold them.
    """
    from tallystick.node.storage.key_encryption import open_keys
    from tallystick.node.storage.opening import seal_plain

    settings = settings_of(config, as_json)
    try:
        keys = open_keys(settings.storage.sources, settings.source.parent)
        if not keys:
            fail(as_json, f"{config} names no key: set key in [storage]")
        rows = seal_plain(settings.data, keys[0], lambda rows: _progress(as_json, rows))
    except (OperationalError, OSError) as error:
        fail(as_json, str(error))
    say(
        as_json,
        {"key": keys[0].id, "rows": rows},
        f"{settings.name}: {rows} rows are sealed; {keys[0].source} (id {keys[0].id}) opens them.",
    )


def _progress(as_json: bool, rows: int) -> None:
    if not as_json:
        typer.echo(f"  {rows} rows", err=True)
