"""Who signs. A `Signer` holds one key and shows only its public half; `LocalSigner` keeps the secret in this process.

Signatures are 64 bytes r‖s over an EIP-712 digest, RFC 6979 nonces, low s. Not here: what is signed (`wallet.core`).
"""

import secrets
from pathlib import Path
from typing import NoReturn

from tallystick.network.wire.ids import TxDigest
from tallystick.network.wire.transactions import Transaction
from tallystick.wallet import keystore
from tallystick.wallet.core.approvals import Signer
from tallystick.wallet.errors import BadKeystore

__all__ = ["LocalSigner", "Signer"]


class LocalSigner:
    """A secp256k1 key in memory. Its repr shows the public key; it cannot be pickled or copied by accident."""

    __slots__ = ("_secret", "key")

    def __init__(self, private_key: bytes) -> None:
        """`BadKeystore` unless 32 bytes in 1 … n-1."""
        from coincurve import PrivateKey

        keystore.check_private_key(private_key)
        self._secret = PrivateKey(private_key)
        self.key: bytes = self._secret.public_key.format(compressed=True)

    @classmethod
    def generate(cls) -> "LocalSigner":
        """A new random key."""
        while True:
            candidate = secrets.token_bytes(32)
            try:
                return cls(candidate)
            except BadKeystore:  # zero or beyond the order: once in 2**127 draws
                continue

    @classmethod
    def from_keystore(cls, path: Path, password: str) -> "LocalSigner":
        """`BadKeystore` if it cannot be opened."""
        return cls(keystore.decrypt(keystore.load(path), password))

    @property
    def address(self) -> str:
        """The key's Ethereum address, 40 hex digits: a name for people who use Ethereum's tools, not an account of ours."""
        return keystore.address_of_key(self._secret.secret)

    def sign(self, digest: TxDigest, transaction: Transaction | None = None) -> bytes:
        """64 bytes r‖s; libsecp256k1 returns low s."""
        return bytes(self._secret.sign_recoverable(digest, hasher=None)[:64])

    def to_keystore(self, password: str, fast: bool = False) -> dict[str, object]:
        """The key, encrypted."""
        return keystore.encrypt(self._secret.secret, password, fast)

    def reveal(self) -> bytes:
        """The 32 secret bytes, for an export that a person asked for in so many words."""
        return bytes(self._secret.secret)

    def __repr__(self) -> str:
        return f"LocalSigner(key={self.key.hex()}, secret=<redacted>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is not pickled: its secret stays in this process")
