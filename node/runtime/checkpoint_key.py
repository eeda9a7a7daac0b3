"""The node's checkpoint key (BLS12-381) from a text file that its owner alone may read: a heading, and the secret in hex.

Decided here: when a key file is refused, and that a sealed key never signs again. There is no guard beside it: a checkpoint says
what the certified ledger says, and the core keeps each statement before it leaves. Not here: what is signed (`node.core.checkpoints`).
"""

import os
import re
import secrets
from pathlib import Path

from tallystick.network.wire import bls
from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.node.runtime.signers import FileVoteSigner, read_private_file

_HEADING = "tallystick checkpoint key 1"
_FILE = re.compile(rf"{_HEADING}\n([0-9a-f]{{64}})\n")


class FileCheckpointSigner:
    """`node.core.ports.CheckpointSigner` with the secret in memory."""

    def __init__(self, path: Path) -> None:
        """Load the key. `OperationalError` says what is wrong with the file and what to do."""
        self._key: bls.SecretKey | None = _load(path)
        self.public_key = self._key.public_key
        """48 bytes, as in the genesis document."""

    def sign(self, message: bytes) -> bytes:
        """96 bytes. `InvariantError` once sealed."""
        if self._key is None:
            raise InvariantError("a halted node was asked to sign a checkpoint")
        return self._key.sign(message)

    def seal(self) -> None:
        """Forget the key: this process signs nothing more."""
        self._key = None


class Keys:
    """Everything that a node signs with: sealed together."""

    def __init__(self, vote: FileVoteSigner, checkpoint: FileCheckpointSigner | None) -> None:
        self._vote = vote
        self._checkpoint = checkpoint

    def seal(self) -> None:
        """This process signs nothing more."""
        self._vote.seal()
        if self._checkpoint is not None:
            self._checkpoint.seal()


def write_checkpoint_key(path: Path) -> tuple[bytes, bytes]:
    """Make a new key, mode 0600, durable; never over an existing file. Returns its public half (48 bytes) and the proof that its
    secret is known (96 bytes): both go into the genesis document."""
    key = bls.SecretKey.from_random(secrets.token_bytes(48))
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise OperationalError(f"{path} exists. A checkpoint key is never overwritten.") from None
    with os.fdopen(handle, "wb") as file:
        file.write(f"{_HEADING}\n{key.to_bytes().hex()}\n".encode())
        file.flush()
        os.fsync(handle)
    return key.public_key, key.prove_possession()


def _load(path: Path) -> bls.SecretKey:
    found = _FILE.fullmatch(read_private_file(path).decode("ascii", "replace"))
    if found is None:
        raise OperationalError(f"{path} is not a checkpoint key: {_HEADING!r}, then 64 hex digits")
    try:
        return bls.SecretKey(bytes.fromhex(found[1]))
    except ValueError as error:
        raise OperationalError(f"cannot use the checkpoint key {path}: {error}") from None
