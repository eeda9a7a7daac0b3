"""The keyring: the data keys of one sealed store, in a file that only the key-encryption key opens.

    key-encryption key ── AES key wrap ──► ring key ── AES-256-GCM ──► name key, data keys, which of them retire

Every writing of the file has a ring key of its own, so a nonce of zeros is used once, and whoever knows an old key-encryption
key and an old file cannot open a newer file. The file stands in the folder twice, written one after the other and each
replaced as a whole: a crash leaves at least one, and what is in either is enough, because a data key is used only when it is
durable in both. Not here: how rows are sealed (`sealing`), and when (`sealed`).
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.network.wire.faults import OperationalError, invariant
from tallystick.node.storage.key_encryption import ANEW, KEY_BYTES, KeyEncryption

FILES: Final = ("keyring", "keyring.copy")
FORMAT: Final = "tallystick-keyring-1"
DATA_KEYS_MAX: Final = 16_384
"""Every opening that writes takes one key. 42 bytes each, so a ring stays below 1 MB."""
DATA_KEYS_BEFORE_REWRITING: Final = 4_096
"""Above it the store re-encrypts itself under its newest key, so that the ring never fills: eleven openings a day for a year."""
RING_BYTES_MAX: Final = 2 * 1024 * 1024

_ONCE: Final = bytes(12)


class Head(msgspec.Struct, frozen=True):
    """What can be read without a key."""

    format: str
    sequence: int
    """Grows by one with each writing."""
    key: str
    """`KeyEncryption.id` of the key that opens it."""
    rewriting: bool
    """Some rows still are under data keys that retire."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    head: Head
    wrapped: bytes
    sealed: bytes


class _DataKey(msgspec.Struct, frozen=True, array_like=True):
    number: int
    key: bytes


class _Ring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name_key: bytes
    data_keys: tuple[_DataKey, ...]
    next_number: int
    retire_below: int
    """Rows under a lower number are to be sealed anew."""


_encode = msgspec.json.Encoder().encode
_FILE = msgspec.json.Decoder(_File)
_RING = msgspec.json.Decoder(_Ring)


class Keyring:
    """An open ring. Its methods may be called from any thread; one process at a time, by the folder's lock."""

    def __init__(
        self, folder: Path, key_encryption: KeyEncryption, ring: _Ring, sequence: int
    ) -> None:
        """Use `create` or `open`."""
        self._folder = folder
        self._key_encryption = key_encryption
        self._ring = ring
        self._sequence = sequence
        self._lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path, key_encryption: KeyEncryption) -> "Keyring":
        """A new ring, durable. Refuses to touch one that is there."""
        if is_sealed(folder):
            raise OperationalError(
                f"{folder} has a keyring. A new one would lose what the old one opens."
            )
        made = cls(folder, key_encryption, _Ring(os.urandom(KEY_BYTES), (), 1, 0), 0)
        made._write(made._ring, key_encryption)
        return made

    @classmethod
    def open(cls, folder: Path, candidates: Sequence[KeyEncryption]) -> "Keyring":
        """The ring in `folder` under the first of these keys that opens it; both copies are whole afterwards."""
        ring, used, sequence = _newest(folder, candidates)
        opened = cls(folder, used, ring, sequence)
        opened._write(ring, used)
        return opened

    @property
    def key_encryption(self) -> KeyEncryption:
        """The key that opens the file as it is now."""
        return self._key_encryption

    @property
    def name_key(self) -> bytes:
        """32 bytes; of the whole life of the store."""
        return self._ring.name_key

    @property
    def data_keys(self) -> dict[int, bytes]:
        """Number → 32 bytes."""
        return {entry.number: entry.key for entry in self._ring.data_keys}

    @property
    def retire_below(self) -> int:
        """Rows under a data key of a lower number are to be sealed anew."""
        return self._ring.retire_below

    @property
    def rewriting(self) -> bool:
        """A data key that retires is still here."""
        return _rewriting(self._ring)

    def add_data_key(self) -> tuple[int, bytes]:
        """A new random data key and its number; durable in both files when this returns."""
        with self._lock:
            ring = self._ring
            if len(ring.data_keys) >= DATA_KEYS_MAX:
                raise OperationalError(
                    f"the keyring in {self._folder} holds {DATA_KEYS_MAX} data keys and takes no more: stop the node "
                    f"and let `tallystick node rekey --wait` seal its data under one key"
                )
            entry = _DataKey(ring.next_number, os.urandom(KEY_BYTES))
            retire = ring.retire_below
            if len(ring.data_keys) >= DATA_KEYS_BEFORE_REWRITING and not _rewriting(ring):
                retire = entry.number
            self._write(
                msgspec.structs.replace(
                    ring,
                    data_keys=(*ring.data_keys, entry),
                    next_number=entry.number + 1,
                    retire_below=retire,
                ),
                self._key_encryption,
            )
            return entry.number, entry.key

    def rewrap(self, key_encryption: KeyEncryption) -> None:
        """From now on only `key_encryption` opens the ring, and every data key so far retires."""
        with self._lock:
            ring = msgspec.structs.replace(self._ring, retire_below=self._ring.next_number)
            self._write(ring, key_encryption)

    def forget_below(self, number: int) -> None:
        """No row is under a data key of a lower number any more: forget those keys."""
        with self._lock:
            ring = self._ring
            invariant(number <= ring.retire_below, "a key forgotten before it retired")
            kept = tuple(entry for entry in ring.data_keys if entry.number >= number)
            self._write(msgspec.structs.replace(ring, data_keys=kept), self._key_encryption)

    def _write(self, ring: _Ring, key_encryption: KeyEncryption) -> None:
        """Both files, one after the other, synced; then this object speaks for the new ring."""
        sequence = self._sequence + 1
        head = Head(FORMAT, sequence, key_encryption.id, _rewriting(ring))
        ring_key = os.urandom(KEY_BYTES)
        sealed = AESGCM(ring_key).encrypt(_ONCE, _encode(ring), _encode(head))
        data = _encode(_File(head, key_encryption.wrap(ring_key), sealed))
        invariant(len(data) <= RING_BYTES_MAX, "a keyring above its bound", bytes=len(data))
        for name in FILES:
            try:
                _replace(self._folder / name, data)
            except OSError as error:
                raise OperationalError(
                    f"cannot write the keyring {self._folder / name}: {error}"
                ) from error
        self._ring, self._key_encryption, self._sequence = ring, key_encryption, sequence


def is_sealed(folder: Path) -> bool:
    """There is a keyring, whole or not."""
    return any((folder / name).exists() for name in FILES)


def head_of(folder: Path) -> Head:
    """What the newest file here says to everybody. `OperationalError` when neither can be read."""
    return max((file.head for file in _files(folder)), key=lambda head: head.sequence)


def _newest(folder: Path, candidates: Sequence[KeyEncryption]) -> tuple[_Ring, KeyEncryption, int]:
    """The newest ring that one of these keys opens."""
    files = _files(folder)
    for file in sorted(files, key=lambda file: file.head.sequence, reverse=True):
        for key_encryption in candidates:
            if (ring := _opened(file, key_encryption)) is not None:
                return ring, key_encryption, max(each.head.sequence for each in files)
    known = {key_encryption.id for key_encryption in candidates}
    wanted = sorted({file.head.key for file in files})
    if not known & set(wanted):
        have = ", ".join(f"{each.source} has the id {each.id}" for each in candidates)
        raise OperationalError(
            f"the wrong key: the data in {folder} is sealed under the key with the id {' or '.join(wanted)}, and {have}"
        )
    raise OperationalError(
        f"the keyring in {folder} is damaged: its key is the right one and does not open it. Restore "
        f"{' or '.join(FILES)} from a copy of this folder."
    )


def _files(folder: Path) -> list[_File]:
    """Every file that can be parsed, at least one."""
    found: list[_File] = []
    for name in FILES:
        try:
            with (folder / name).open("rb") as file:
                found.append(_FILE.decode(file.read(RING_BYTES_MAX + 1)))
        except (msgspec.DecodeError, FileNotFoundError):
            continue  # the other one will do
        except OSError as error:
            raise OperationalError(f"cannot read the keyring {folder / name}: {error}") from error
    if not found:
        raise OperationalError(
            f"the keyring in {folder} is damaged: neither {' nor '.join(FILES)} can be read. Restore one of them, or "
            f"begin anew: {ANEW}."
        )
    return found


def _opened(file: _File, key_encryption: KeyEncryption) -> _Ring | None:
    if file.head.format != FORMAT:
        return None
    ring_key = key_encryption.unwrap(file.wrapped)
    if ring_key is None:
        return None
    try:
        return _RING.decode(AESGCM(ring_key).decrypt(_ONCE, file.sealed, _encode(file.head)))
    except (InvalidTag, ValueError):
        return None


def _rewriting(ring: _Ring) -> bool:
    return any(entry.number < ring.retire_below for entry in ring.data_keys)


def _replace(path: Path, data: bytes) -> None:
    """The file as a whole or not at all, durable with its folder's entry."""
    draft = path.with_name(path.name + ".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
