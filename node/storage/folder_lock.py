"""One data folder, one process: an advisory lock that the kernel drops when the process dies, however it dies."""

import fcntl
import os
from pathlib import Path

from tallystick.network.wire.faults import OperationalError


class FolderInUse(OperationalError):
    """Another process has the folder: `holder` is its id, 0 when it does not say."""

    def __init__(self, folder: Path, holder: str) -> None:
        self.holder = int(holder) if holder.isdecimal() else 0
        super().__init__(
            f"{folder} is in use by process {holder or 'unknown'}. Two nodes on one folder would sign against each other; "
            f"stop that process first, or give this node a folder of its own."
        )


class FolderLock:
    """Held from construction to `release`. The file stays; only the lock on it says that somebody lives here."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, making it if need be. `OperationalError` names the process that has it already."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(folder / "in-use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise FolderInUse(folder, holder) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
