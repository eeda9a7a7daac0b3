"""Key files that every Ethereum wallet opens: Web3 secret storage, version 3 (scrypt or PBKDF2, AES-128-CTR, Keccak MAC).

Decided here: what we are willing to spend on a stranger's file *before* memory is spent, and that every bad file gives the
same error. The cryptography is eth-keyfile's. Files are 0600 and never overwritten unless told so.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from tallystick.wallet.errors import BadKeystore

FILE_BYTES_MAX: Final = 64 * 1024
"""A keystore has about 500 bytes."""

OPENINGS_MAX: Final = 64
"""Brackets and braces in a file; a keystore opens 4. It bounds the nesting, which no typed decoder does here."""

SCRYPT_MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""128·N·r: the common N = 262,144, r = 8 needs 256 MiB."""

SCRYPT_WORK_MAX: Final = 2**24
"""N·r·p: the common file has 2**21 and takes 1 s; this much takes about 8 s."""

PBKDF2_ROUNDS_MAX: Final = 10_000_000
"""The common file has 262,144 to 1,000,000 rounds; this many take about 5 s."""

SALT_BYTES_MAX: Final = 1_024
CIPHERTEXT_BYTES: Final = 32
PASSWORD_BYTES_MAX: Final = 1_024

SCRYPT_N: Final = 2**18
SCRYPT_N_FAST: Final = 2**12
"""For tests and demonstrations: 4 MiB, a few milliseconds, and worth as much as the password."""

_SENTENCE = (
    "The keystore cannot be opened: wrong password, or not an unchanged keystore of version 3."
)


def encrypt(private_key: bytes, password: str, fast: bool = False) -> dict[str, Any]:
    """A keystore document. `private_key` 32 bytes; `fast` spends little on the password and is for tests."""
    check_private_key(private_key)
    secret = _password_bytes(password)
    rounds = SCRYPT_N_FAST if fast else SCRYPT_N
    document: dict[str, Any] = _library().create_keyfile_json(
        private_key, secret, 3, "scrypt", rounds
    )
    return document


def decrypt(document: Mapping[str, Any], password: str) -> bytes:
    """The 32-byte private key, or `BadKeystore` (always the same sentence)."""
    secret = _password_bytes(password)
    try:
        checked = _checked(document)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise BadKeystore(_SENTENCE) from None
    library = _library()
    try:
        private_key = bytes(library.decode_keyfile_json(checked, secret))
        check_private_key(private_key)
        # The MAC does not cover the IV: a changed one opens to another key, which only the address tells.
        claimed = address_of(document)
        if claimed and claimed != address_of_key(private_key):
            raise BadKeystore(_SENTENCE)
    except Exception:  # noqa: BLE001  # eth-keyfile raises many types; each means the same here
        raise BadKeystore(_SENTENCE) from None
    return private_key


def check_private_key(private_key: bytes) -> None:
    """`BadKeystore` unless 32 bytes that are a secp256k1 secret (neither zero nor beyond the order)."""
    from coincurve import PrivateKey

    if len(private_key) != 32:
        raise BadKeystore("A private key has 32 bytes.")
    try:
        PrivateKey(private_key)
    except ValueError:
        raise BadKeystore("These 32 bytes are not a private key of secp256k1.") from None


def save(path: Path, document: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a keystore, mode 0600, whole or not at all. `FileExistsError` unless `force`."""
    content = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    write_private(path, content, force=force)


def write_private(path: Path, content: bytes, *, force: bool = False) -> None:
    """A file that only its owner reads. It appears complete or not at all; `FileExistsError` unless `force`."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if force:
            beside.replace(path)
        else:
            os.link(beside, path)  # link refuses an existing name, even one made a moment ago
    finally:
        beside.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """The document in a file, unopened. `BadKeystore` if it is not one JSON object of sensible size."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadKeystore(
            f"{path}: {error.strerror or error}", hint="Check the path and its permissions."
        ) from None
    openings = content.count(b"[") + content.count(b"{")
    if len(content) > FILE_BYTES_MAX or openings > OPENINGS_MAX:
        raise BadKeystore(_SENTENCE)
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadKeystore(_SENTENCE) from None


def address_of_key(private_key: bytes) -> str:
    """The Ethereum address of a private key: 40 hex digits, the last 20 bytes of the public point's Keccak."""
    from coincurve import PublicKey
    from sha3 import keccak_256

    point: bytes = PublicKey.from_secret(private_key).format(compressed=False)
    digest: bytes = keccak_256(point[1:]).digest()
    return digest[-20:].hex()


def address_of(document: Mapping[str, Any]) -> str:
    """The Ethereum address that the file claims, for display; empty if it claims none."""
    address = document.get("address")
    return (
        address.lower().removeprefix("0x")
        if isinstance(address, str) and len(address) <= 42
        else ""
    )


def _library() -> ModuleType:
    """eth-keyfile, imported when it is needed, without what its import does to the process.

    py_ecc, far below it, raises Python's recursion limit to 100,000: then a decoder that follows nested brackets overruns
    the C stack before the limit stops it.
    """
    limit = sys.getrecursionlimit()
    from eth_keyfile import keyfile

    sys.setrecursionlimit(limit)
    return keyfile


def _password_bytes(password: str) -> bytes:
    secret = password.encode("utf-8", "strict")
    if len(secret) > PASSWORD_BYTES_MAX:
        raise BadKeystore(f"A password has at most {PASSWORD_BYTES_MAX} bytes.")
    return secret


def _checked(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document in the one spelling that eth-keyfile reads, after every bound has been checked.

    Old tools wrote `Crypto`, put `version` inside it, wrote short or odd IVs.
    """
    outer = {str(name).lower(): value for name, value in document.items()}
    crypto = {str(name).lower(): value for name, value in outer["crypto"].items()}
    version = outer.get("version", crypto.get("version"))
    if isinstance(version, bool) or version not in (3, "3"):
        raise ValueError("version")
    if crypto["cipher"] != "aes-128-ctr":
        raise ValueError("cipher")
    if (
        len(_hex(crypto["ciphertext"], CIPHERTEXT_BYTES)) != CIPHERTEXT_BYTES
        or len(_hex(crypto["mac"], 32)) != 32
    ):
        raise ValueError("length")
    params = {str(name).lower(): value for name, value in crypto["kdfparams"].items()}
    iv = _hex(crypto["cipherparams"]["iv"], 16)
    return {
        "version": 3,
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.rjust(16, b"\0").hex()},
            "ciphertext": _hex(crypto["ciphertext"], CIPHERTEXT_BYTES).hex(),
            "mac": _hex(crypto["mac"], 32).hex(),
            "kdf": crypto["kdf"],
            "kdfparams": _checked_kdf(crypto["kdf"], params),
        },
    }


def _checked_kdf(kdf: object, params: Mapping[str, Any]) -> dict[str, Any]:
    salt = _hex(params["salt"], SALT_BYTES_MAX).hex()
    if _integer(params["dklen"], 32, 32) != 32:
        raise ValueError("dklen")
    if kdf == "scrypt":
        n = _integer(params["n"], 2, SCRYPT_MEMORY_BYTES_MAX)
        r = _integer(params["r"], 1, SCRYPT_MEMORY_BYTES_MAX)
        p = _integer(params["p"], 1, SCRYPT_WORK_MAX)
        if n & (n - 1) or 128 * n * r > SCRYPT_MEMORY_BYTES_MAX or n * r * p > SCRYPT_WORK_MAX:
            raise ValueError("scrypt")
        return {"dklen": 32, "n": n, "r": r, "p": p, "salt": salt}
    if kdf == "pbkdf2" and params["prf"] == "hmac-sha256":
        rounds = _integer(params["c"], 1, PBKDF2_ROUNDS_MAX)
        return {"dklen": 32, "c": rounds, "prf": "hmac-sha256", "salt": salt}
    raise ValueError("kdf")


def _integer(value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError("integer")
    return value


def _hex(value: object, bytes_max: int) -> bytes:
    if not isinstance(value, str):
        raise TypeError("hex")
    bare = value.removeprefix("0x")
    if len(bare) > 2 * bytes_max:
        raise ValueError("hex")
    return bytes.fromhex("0" + bare if len(bare) % 2 else bare)
