"""A ledger that is made beside the one in use and then takes its place: `repair`, `restore` and `join` end so.

```
data/ledger           in use                     1  data/repair/ledger is made, in synced batches, and verified
data/repair/ledger    in the making              2  data/repair/ready says so, durably, and where the old one goes
data/old-1/ledger     what stood there before    3  ledger → old-1/ledger, repair/ledger → ledger, repair is removed
```
A sealed ledger and its keyring go together.

Decided here: at whatever instant the power fails, the next call finds out which step is due and goes on from there. Whoever
starts a node asks `unfinished` first. Nothing is ever deleted that was a ledger before.
"""

import os
import shutil
from pathlib import Path

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.opening import NodeStore
from tallystick.node.upkeep.stores import MOVED, Keys, open_new

AGAIN = {
    "repair": "`tallystick ledger repair`",
    "restore": "`tallystick ledger restore`",
    "join": "the node with `--join`",
}
"""Folder → what goes on where it stopped."""
READY = "ready"


class Aside:
    """The folder in which a new ledger is made. The caller holds `folder`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / name

    @property
    def exists(self) -> bool:
        return self._path.is_dir()

    @property
    def ready(self) -> bool:
        """The new ledger is whole: only the exchange is left to do."""
        return (self._path / READY).is_file()

    def open(self, keys: Keys, *, anew: bool = False) -> NodeStore:
        """The new ledger as far as it has come; `anew`: from nothing. One that cannot be read is begun again."""
        if anew:
            self.drop()
        try:
            return open_new(self._path, keys)
        except OperationalError:
            self.drop()
            return open_new(self._path, keys)

    def set_ready(self) -> None:
        """Durably: from now on the exchange is finished, whatever happens. The new ledger is closed."""
        draft = self._path / f"{READY}.new"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self._free_name().encode())
            file.flush()
            os.fsync(handle)
        draft.rename(self._path / READY)
        sync_folder(self._path)
        sync_folder(self._folder)

    def exchange(self) -> Path | None:
        """Put the new ledger in its place; where the old one is now, if there was one. Each step may have been done before."""
        kept = self._folder / (self._path / READY).read_text()
        for name in MOVED:
            made, used = self._path / name, self._folder / name
            if not made.exists():
                continue  # it is in its place, or there is none: a plain ledger has no keyring
            if used.exists() and not (kept / name).exists():
                kept.mkdir(mode=0o700, exist_ok=True)
                used.rename(kept / name)
                sync_folder(kept)
            made.rename(used)
            sync_folder(self._folder)
        sync_folder(self._path)
        self.drop()
        return kept if kept.is_dir() else None

    def drop(self) -> None:
        """Forget the new ledger. The word that it is ready goes last, so an exchange that was begun stays begun."""
        if not self._path.is_dir():
            return
        for each in sorted(self._path.iterdir(), key=lambda path: path.name == READY):
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()
        self._path.rmdir()
        sync_folder(self._folder)

    def _free_name(self) -> str:
        number = 1
        while (self._folder / f"old-{number}").exists():
            number += 1
        return f"old-{number}"


def unfinished(folder: Path) -> str | None:
    """Why a node may not start in `folder`, None if it may."""
    for name, again in AGAIN.items():
        if (folder / name).is_dir():
            return (
                f"a {name} of the ledger in {folder} was begun and not finished:"
                f" run {again} again, it goes on where it stopped"
            )
    return None


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
