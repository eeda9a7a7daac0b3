"""The key-encryption key: what opens a keyring, and where it comes from.

Decided here: the three kinds of source (`file:`, `env:`, `pkcs11:`), when a key file is refused, and that keys are wrapped
with AES key wrap (RFC 3394), which tells a wrong key from a right one and needs no nonce. Not here: what is wrapped
(`keyring`). A key that lives in a token never enters this process; one from a file or the environment does.
"""

import os
import stat
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from tallystick.network.wire.faults import OperationalError, invariant

KEY_BYTES: Final = 32
"""AES-256."""
ID_BYTES: Final = 8
"""Enough to tell an operator's keys apart."""

ANEW: Final = (
    "an observer with an empty data folder, a member under its spare id; peers have the ledger"
)
"""What is left to a node whose data nobody can open. A member's guard refuses an empty folder."""

_ID_LABEL: Final = b"tallystick key-encryption key"


class KeyEncryption(Protocol):
    """A key that we may use, and perhaps never see."""

    @property
    def id(self) -> str:
        """16 hex digits that name it."""
        ...

    @property
    def source(self) -> str:
        """Where it came from, for sentences."""
        ...

    def wrap(self, key: bytes) -> bytes:
        """40 bytes of a key of 32."""
        ...

    def unwrap(self, wrapped: bytes) -> bytes | None:
        """The 32 bytes; None when they were wrapped by another key, or changed."""
        ...


class KeyInMemory:
    """`KeyEncryption` with the key in this process."""

    def __init__(self, key: bytes, source: str) -> None:
        invariant(len(key) == KEY_BYTES, "a key of another size", bytes=len(key))
        self._key = key
        self.source = source
        self.id = id_by_wrapping(self.wrap)

    def wrap(self, key: bytes) -> bytes:
        return aes_key_wrap(self._key, key)

    def unwrap(self, wrapped: bytes) -> bytes | None:
        try:
            return aes_key_unwrap(self._key, wrapped)
        except InvalidUnwrap:
            return None


def id_by_wrapping(wrap: Callable[[bytes], bytes]) -> str:
    """Names a key by what it does, as a token does not show its keys: it says no more of it than one wrapped value does."""
    return sha256(wrap(sha256(_ID_LABEL).digest())).digest()[:ID_BYTES].hex()


def open_key(source: str, folder: Path) -> KeyEncryption:
    """The key that `source` names: `file:PATH` (relative to `folder`), `env:NAME` or `pkcs11:…`.

    `OperationalError` says what is wrong with it and what to do.
    """
    kind, _, rest = source.partition(":")
    match kind:
        case "file" if rest:
            return KeyInMemory(_read(folder / rest), source)
        case "env" if rest:
            text = os.environ.get(rest)
            if text is None:
                raise OperationalError(
                    f"the environment has no variable {rest}, which [storage] names as the key of this node's data"
                )
            return KeyInMemory(_parsed(text, f"the environment variable {rest}"), source)
        case "pkcs11":
            from tallystick.node.storage.token_key import open_token_key

            return open_token_key(source, folder)
    raise OperationalError(f"[storage] key is {source!r}; it wants file:PATH, env:NAME or pkcs11:…")


def open_keys(sources: Sequence[str], folder: Path) -> tuple[KeyEncryption, ...]:
    """Each of these, in order."""
    return tuple(open_key(source, folder) for source in sources)


def make_key_file(path: Path) -> None:
    """A new key, 64 hex digits, mode 0600, durable; never over an existing file."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OperationalError(
            f"{path} exists. A key is never overwritten: what it opens would be lost."
        ) from None
    except OSError as error:
        raise OperationalError(f"cannot make the key file {path}: {error.strerror}") from None
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(os.urandom(KEY_BYTES).hex() + "\n")
        file.flush()
        os.fsync(handle)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except FileNotFoundError:
        raise OperationalError(
            f"there is no key file {path}. Without it the data of this node cannot be read: restore the file, or "
            f"begin anew: {ANEW}."
        ) from None
    except OSError as error:
        raise OperationalError(f"cannot read the key file {path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise OperationalError(
            f"{path} may be read by others than its owner (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
        )
    return _parsed(text.decode("ascii", "replace"), str(path))


def _parsed(text: str, where: str) -> bytes:
    """Never quotes the text: it may be a key with one slip in it."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise OperationalError(f"{where} does not hold a key: it wants 64 hex digits")
    return key
