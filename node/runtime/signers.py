"""The node's vote key from a PEM file (PKCS#8, encrypted or plain), readable by its owner alone.

Decided here: when a key file is refused, and that a sealed signer never signs again. Not here: whether a statement may be
signed at all (the guard decides before it asks).
"""

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.network.wire.ids import NodeId


class FileVoteSigner:
    """`node.core.ports.VoteSigner` with the key in memory."""

    def __init__(self, node: NodeId, path: Path, password: bytes | None = None) -> None:
        """Load the key. `OperationalError` says what is wrong with the file and what to do."""
        self.node = node
        self._key: Ed25519PrivateKey | None = _load(path, password)
        self.public_key = self._key.public_key().public_bytes_raw()
        """32 bytes, as in the genesis document."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes. `InvariantError` once sealed."""
        if self._key is None:
            raise InvariantError("a halted node was asked to sign")
        return self._key.sign(message)

    def seal(self) -> None:
        """Forget the key: this process signs nothing more."""
        self._key = None


def write_vote_key(path: Path, password: bytes | None = None) -> bytes:
    """Make a new key, mode 0600, durable; never over an existing file. Returns the 32 bytes of its public half."""
    key = Ed25519PrivateKey.generate()
    encryption: KeySerializationEncryption = NoEncryption()
    if password is not None:
        encryption = BestAvailableEncryption(password)
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OperationalError(f"{path} exists. A vote key is never overwritten.") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
    return key.public_key().public_bytes_raw()


def _load(path: Path, password: bytes | None) -> Ed25519PrivateKey:
    data = read_private_file(path)
    try:
        key = load_pem_private_key(data, password)
    except (ValueError, TypeError) as error:
        hint = (
            "Is the password right?"
            if b"ENCRYPTED" in data
            else "It is not a private key in PEM form."
        )
        raise OperationalError(f"cannot read the vote key {path}: {error}. {hint}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise OperationalError(f"{path} holds a {type(key).__name__}, not an Ed25519 vote key.")
    return key


def read_private_file(path: Path) -> bytes:
    """The bytes of a file that only its owner, this process's user, may read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise OperationalError(f"cannot open the key file {path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OperationalError(f"the key file {path} is not a regular file.")
        if facts.st_mode & 0o077:
            raise OperationalError(
                f"the key file {path} may be read by others (mode {facts.st_mode & 0o777:04o}). "
                f"Run: chmod 600 {path}"
            )
        if facts.st_uid != os.geteuid():
            raise OperationalError(f"the key file {path} belongs to user {facts.st_uid}.")
        return file.read()
