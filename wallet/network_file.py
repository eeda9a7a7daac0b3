"""`network.json` and `genesis.json`: where the nodes listen, which keys they hold, and what everything is verified against.

The genesis document is the root of trust; addresses are not part of it. An endpoint whose pinned key is not that of a member
of the genesis document is still used (an observer, a proxy), since no answer is believed without a proof.
"""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import Genesis, genesis_from_json, validate_genesis
from tallystick.wallet.errors import BadFile

FILE_BYTES_MAX = 1024 * 1024
"""network.json: 64 nodes and 4,096 participants need about 600 kB."""


class EndpointEntry(Struct, frozen=True):
    """One node's API. Unknown fields are ignored: operators may write their own notes."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    url: Annotated[str, Meta(pattern="^https://", max_length=512)]
    tls_key_hash: Annotated[str, Meta(pattern="^(0x)?[0-9a-fA-F]{64}$")]
    """SHA-256 of the TLS key's SubjectPublicKeyInfo, hex."""
    node: int | None = None
    certificate: str = ""

    @property
    def pin(self) -> bytes:
        return bytes.fromhex(self.tls_key_hash.removeprefix("0x"))


class _Document(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    genesis: Annotated[str, Meta(min_length=1, max_length=1024)]
    """Path of the genesis file, relative to this file."""
    endpoints: Annotated[
        tuple[EndpointEntry, ...], Meta(min_length=1, max_length=bounds.MEMBERS_MAX * 4)
    ]
    observers: Annotated[tuple[EndpointEntry, ...], Meta(max_length=bounds.MEMBERS_MAX * 4)] = ()


class NetworkFile(Struct, frozen=True):
    """A network as a wallet knows it."""

    name: str
    genesis: Genesis
    endpoints: tuple[EndpointEntry, ...]
    observers: tuple[EndpointEntry, ...] = ()
    """Nodes that only read: asked for their status, never for a payment."""

    @classmethod
    def load(cls, path: Path | str) -> "NetworkFile":
        """Read network.json (or the folder that holds it) and the genesis file that it names. `BadFile` with a sentence."""
        path = Path(path)
        if path.is_dir():
            path = path / "network.json"
        try:
            document = msgspec.json.decode(read_bounded(path, FILE_BYTES_MAX), type=_Document)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFile(f"{path} is not a network file: {error}") from None
        names = [entry.name for entry in (*document.endpoints, *document.observers)]
        if len(set(names)) != len(names):
            raise BadFile(f"{path}: two endpoints have the same name")
        genesis = load_genesis(path.parent / document.genesis)
        return cls(document.name, genesis, document.endpoints, document.observers)


def load_genesis(path: Path | str) -> Genesis:
    """Read genesis.json. `BadFile` with a sentence that says what is wrong."""
    path = Path(path)
    try:
        genesis = genesis_from_json(read_bounded(path, bounds.GENESIS_FILE_BYTES_MAX))
    except Refused as refused:
        raise BadFile(f"{path} is not a genesis file: {refused.detail}") from None
    if wrong := validate_genesis(genesis):
        raise BadFile(f"{path} is not a sound genesis file: {'; '.join(wrong[:5])}")
    return genesis


def read_bounded(path: Path, bytes_max: int) -> bytes:
    """A file's bytes, at most `bytes_max`. `BadFile` otherwise."""
    try:
        with path.open("rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise BadFile(
            f"{path}: {error.strerror or error}", hint="Check the path and its permissions."
        ) from None
    if len(content) > bytes_max:
        raise BadFile(f"{path} is larger than {bytes_max} bytes")
    return content
