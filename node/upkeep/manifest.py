"""`manifest.json` of a backup: what it is of, up to where, proven by which certificate, and the hash of every file.

It is written last, so a folder without one is no backup. One spelling per content: fields in their order, two blanks of
indentation, and a digest over the rest, so that no byte of it can change unseen. The digest is no signature: whoever can write
files can write a manifest. What he cannot write is the certificate, and `restoring` ends with it.
"""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from tallystick.network.proofs.certificates import Certificate
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.faults import OperationalError, Refused

MANIFEST: Final = "manifest.json"
GENESIS: Final = "genesis.json"
MANIFEST_BYTES_MAX: Final = 64 * 1024 * 1024
"""200 bytes for each segment of 4 MiB: a backup of a terabyte."""

_DIGEST = Tag(b"tallystick/backup")
_NAME = re.compile(r"genesis\.json|rows-[0-9]{6}\.seg")
CERTIFICATE: Codec[Certificate] = Codec(Certificate, bytes_max=16 * 1024)

Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class BackupFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One file beside the manifest."""

    name: str
    bytes: Count
    sha256: Hex32
    rows: Count


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup says of itself."""

    format: Literal["tallystick-backup/1"]
    genesis_hash: Hex32
    chain: Count
    height: Count
    """Of the last final block."""
    link: Hex32
    state_root: Hex32
    time_ms: Count
    """Block time of that block."""
    certificate: str
    """Of that block: canonical msgpack in hex; empty at height 0."""
    rows: Count
    files: tuple[BackupFile, ...]
    digest: str = ""
    """Tagged SHA-256 of this document with an empty digest."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Manifest)


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with its digest."""
    empty = msgspec.structs.replace(manifest, digest="")
    return msgspec.structs.replace(manifest, digest=_DIGEST.hash(_encoder.encode(empty)).hex())


def encoded(manifest: Manifest) -> bytes:
    """The file's bytes."""
    return msgspec.json.format(_encoder.encode(manifest), indent=2) + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the backup in `folder`. `OperationalError` names what is wrong with it."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
    except FileNotFoundError:
        raise OperationalError(
            f"{folder} is not a backup: there is no {MANIFEST}. It is written last; was the backup interrupted?"
        ) from None
    except OSError as error:
        raise OperationalError(f"{path}: {error.strerror}") from None
    if len(data) > MANIFEST_BYTES_MAX:
        raise OperationalError(f"{path} is larger than {MANIFEST_BYTES_MAX} bytes")
    try:
        manifest = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperationalError(f"{path} is not the manifest of a backup: {error}") from None
    if encoded(manifest) != data:
        raise OperationalError(f"{path} was edited: it is not in its one spelling")
    if sealed(manifest) != manifest:
        raise OperationalError(f"{path} was changed: its digest is not that of its contents")
    _check_files(path, manifest)
    return manifest


def certificate_of(manifest: Manifest) -> Certificate | None:
    """The certificate of the last block; None at height 0."""
    if not manifest.certificate:
        return None
    try:
        return CERTIFICATE.decode(bytes.fromhex(manifest.certificate))
    except (Refused, ValueError) as error:
        raise OperationalError(f"the certificate in {MANIFEST} does not decode: {error}") from None


def _check_files(path: Path, manifest: Manifest) -> None:
    names = [file.name for file in manifest.files]
    segments = [f"rows-{number:06}.seg" for number in range(len(names) - 1)]
    if names != [GENESIS, *segments] or not all(_NAME.fullmatch(name) for name in names):
        raise OperationalError(f"{path} lists other files than a backup has")
    if sum(file.rows for file in manifest.files) != manifest.rows:
        raise OperationalError(f"{path}: the rows of its files are not as many as it says")
