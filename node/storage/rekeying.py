"""A running node goes over to its new key when its operator asks, by SIGUSR1 (`tallystick node rekey` sends it).

Decided here: the request carries nothing. Which key is next stands in the node's configuration, which is read again, so nobody
who can only write into the data folder can make the node wrap its keys for him. Not here: how (`sealed`, `keyring`).
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.key_encryption import KeyEncryption
from tallystick.node.storage.sealed import SealedStore

SIGNAL: Final = signal.SIGUSR1

_log = structlog.get_logger("storage")


class Rekeying:
    """Waits for the request, for as long as the node runs."""

    def __init__(self, store: SealedStore, keys: Callable[[], Sequence[KeyEncryption]]) -> None:
        """`keys`: the configured keys as they are now; the last is the one to go over to."""
        self._store = store
        self._keys = keys
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """What the signal does."""
        self._asked.set()

    async def start(self) -> None:
        if _hears_signals():
            asyncio.get_running_loop().add_signal_handler(SIGNAL, self.ask)
        self._task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        if _hears_signals():
            asyncio.get_running_loop().remove_signal_handler(SIGNAL)
            not_yet()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _serve(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                key = await asyncio.to_thread(self._rekey)
            except OperationalError as error:
                # The ring is as it was, or stands under the new key already: in either case the node can go on.
                _log.error("not rekeyed", error=str(error))
            else:
                _log.info("rekeyed", key=key.id, source=key.source)

    def _rekey(self) -> KeyEncryption:
        keys = self._keys()
        if not keys:
            raise OperationalError("[storage] names no key any more")
        key = keys[-1]
        self._store.rekey(key)
        return key


def not_yet() -> None:
    """Before the data folder is taken, whose holder is asked: a request to a node that starts or stops must not end it."""
    if _hears_signals():
        signal.signal(SIGNAL, signal.SIG_IGN)


def _hears_signals() -> bool:
    """A node beside others in one process, on a thread of its own, is asked by `ask`."""
    return threading.current_thread() is threading.main_thread()
