"""A ledger that is made beside the one in use and then takes its place: `repair` and `restore` both end so.

```
data/ledger           in use                     1  data/repair/ledger is made, in synced batches, and verified
data/repair/ledger    in the making              2  data/repair/ready says so, durably
data/ledger.old-1     what stood there before    3  ledger → ledger.old-1, repair/ledger → ledger, repair is removed
```

Decided here: at whatever instant the power fails, the next call finds out which step is due and goes on from there. Whoever
starts a node asks `unfinished` first. Nothing is ever deleted that was a ledger before.
"""

import os
import shutil
from pathlib import Path

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.leveldb import LevelStore

NAMES = ("repair", "restore")
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

    def open(self, *, anew: bool = False) -> LevelStore:
        """The new ledger as far as it has come; `anew`: from nothing. One that cannot be read is begun again."""
        if anew:
            self.drop()
        try:
            return LevelStore(self._path)
        except OperationalError:
            self.drop()
            return LevelStore(self._path)

    def set_ready(self) -> None:
        """Durably: from now on the exchange is finished, whatever happens. The new ledger is closed."""
        handle = os.open(self._path / READY, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(self._path)
        sync_folder(self._folder)

    def exchange(self) -> Path | None:
        """Put the new ledger in its place; where the old one is now, if there was one."""
        made, ledger, kept = self._path / "ledger", self._folder / "ledger", None
        if made.is_dir():
            if ledger.is_dir():
                kept = self._free_name()
                ledger.rename(kept)
                sync_folder(self._folder)
            made.rename(ledger)
            sync_folder(self._folder)
            sync_folder(self._path)
        self.drop()
        return kept

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

    def _free_name(self) -> Path:
        number = 1
        while (path := self._folder / f"ledger.old-{number}").exists():
            number += 1
        return path


def unfinished(folder: Path) -> str | None:
    """Why a node may not start in `folder`, None if it may."""
    for name in NAMES:
        if (folder / name).is_dir():
            return (
                f"a {name} of the ledger in {folder} was begun and not finished:"
                f" run `tallystick ledger {name}` again, it goes on where it stopped"
            )
    return None


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
