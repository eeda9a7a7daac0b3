"""How one row is sealed: AES-256-GCM over name and value, under an opaque name.

A sealed row is `data key u32 ‖ counter u32 ‖ salt 8 ‖ GCM(length u8 ‖ name ‖ value) ‖ tag 16`; nonce = counter ‖ salt;
associated data = the opaque name. An opaque name is the table's letter and 16 bytes of BLAKE2b (RFC 7693) keyed with the
name key; only the tables named by height keep their names, whose order the core needs.

**No nonce is ever used twice under one key.** A data key is random, belongs to one `Sealer`, and is used after it is durable in
the keyring, never again after that `Sealer`: a restart, a rollback or a restored backup begins a new one. Within it the
counter grows by one with every row and the key is left after 2^28 rows or 2^40 bytes, of the 2^32 values that the counter
has. GCM's bound for that much is about 2^(2·36) / 2^129 < 2^-56, as no nonce is random. The salt, drawn once for each batch,
is for what a counter cannot see: a machine that was copied while it ran. The two lives then share key and counter, and their
salts differ but for 2^-64. Not here: who holds the keys (`keyring`), transactions, threads.
"""

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from struct import Struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tallystick.network.wire.faults import OperationalError, invariant

ROWS_PER_KEY_MAX: Final = 2**28
BYTES_PER_KEY_MAX: Final = 2**40
NAME_BYTES: Final = 16
"""Names of 2^40 rows collide with a chance of 2^-49; a collision is found at the read, by the name inside."""
SALT_BYTES: Final = 8
HEAD_BYTES: Final = 16
TAG_BYTES: Final = 16
NAME_BYTES_MAX: Final = 255
"""Of the core's names; its longest has 53."""

KNOWN_NAMES_MAX: Final = 32_768
"""8 MB: the payments on their way, several times over."""

_NUMBER = Struct(">I")
_NUMBERS = Struct(">II")
_LENGTHS: Final = tuple(bytes([length]) for length in range(NAME_BYTES_MAX + 1))
_HEIGHT_NAME_BYTES: Final = 9


class Names:
    """The core's names → the database's, always the same ones."""

    def __init__(self, name_key: bytes, height_tables: frozenset[bytes]) -> None:
        """`height_tables`: letters of tables that are named by a height of 8 bytes, which stays readable and in order."""
        self._copy = blake2b(key=name_key, digest_size=NAME_BYTES).copy
        self._height_tables = height_tables
        self._known: dict[bytes, bytes] = {}
        """What is written was mostly asked for before, and busy accounts are written with every block."""

    def opaque(self, name: bytes) -> bytes:
        """17 bytes: the table's letter and the rest without its meaning; or `name`, where it is a height."""
        known = self._known.get(name)
        if known is not None:
            return known
        if len(name) == _HEIGHT_NAME_BYTES and name[:1] in self._height_tables:
            return name
        hidden = self.hashed(name)
        if len(self._known) >= KNOWN_NAMES_MAX:
            self._known.clear()
        self._known[name] = hidden
        return hidden

    def hashed(self, name: bytes) -> bytes:
        """`opaque` for a name that is no height, and not remembered: for whoever passes over all of them once."""
        keyed = self._copy()
        keyed.update(name)
        return name[:1] + keyed.digest()

    def ordered(self, prefix: bytes) -> bool:
        """Whether the database has the names below `prefix` in their own order."""
        return prefix[:1] in self._height_tables


class Sealer:
    """Seals rows under one data key after the other. One thread."""

    def __init__(
        self,
        names: Names,
        new_key: Callable[[], tuple[int, bytes]],
        rows_per_key_max: int = ROWS_PER_KEY_MAX,
    ) -> None:
        """`new_key`: a data key that nobody ever used, and its number, durable. It is asked at the first row."""
        invariant(rows_per_key_max <= ROWS_PER_KEY_MAX, "a key for too many rows")
        self._names = names
        self._new_key = new_key
        self._rows_per_key_max = rows_per_key_max
        self._aead: AESGCM | None = None
        self.number = 0
        """Of the key in use; 0: none."""
        self._rows_left = 0
        self._bytes_left = 0
        self._counter = 0

    def leave_key(self) -> None:
        """The next row is sealed under a new key."""
        self._rows_left = 0

    def sealed(self, pairs: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        """The batch as the database gets it: opaque names, sealed values, deletions."""
        if not pairs:
            return {}
        if len(pairs) > self._rows_left:
            self._change_key()
        invariant(len(pairs) <= self._rows_left, "a batch larger than a key", rows=len(pairs))
        aead = self._aead
        if aead is None:
            raise OperationalError("there is no data key")
        encrypt, opaque, pack = aead.encrypt, self._names.opaque, _NUMBERS.pack
        number, counter, size, salt = self.number, self._counter, 0, os.urandom(SALT_BYTES)
        batch: dict[bytes, bytes | None] = {}
        for name, value in pairs.items():
            hidden = opaque(name)
            if value is None:
                batch[hidden] = None
                continue
            head = pack(number, counter) + salt
            counter += 1
            row = head + encrypt(head[4:], _LENGTHS[len(name)] + name + value, hidden)
            batch[hidden] = row
            size += len(row)
        self._rows_left -= counter - self._counter
        self._counter = counter
        self._bytes_left -= size
        if self._bytes_left <= 0:
            self._rows_left = 0
        return batch

    def _change_key(self) -> None:
        number, key = self._new_key()
        self._aead = AESGCM(key)
        self.number = number
        self._counter = 0
        self._rows_left = self._rows_per_key_max
        self._bytes_left = BYTES_PER_KEY_MAX


class Opener:
    """Opens rows under every key of the ring. Any thread: it is only ever added to."""

    def __init__(self, data_keys: Mapping[int, bytes]) -> None:
        self._decrypts: dict[bytes, Callable[[bytes, bytes, bytes], bytes]] = {}
        """By the first four bytes of a row."""
        for number, key in data_keys.items():
            self.add(number, key)

    def add(self, number: int, key: bytes) -> None:
        """Before the first row is sealed under it."""
        self._decrypts[_NUMBER.pack(number)] = AESGCM(key).decrypt

    def opened(self, hidden: bytes, row: bytes) -> tuple[bytes, bytes]:
        """Name and value. `OperationalError` names the row: changed, cut, moved, or under a key that is not ours."""
        if len(row) <= HEAD_BYTES + TAG_BYTES:
            raise damaged(hidden, f"it is cut to {len(row)} bytes")
        decrypt = self._decrypts.get(row[:4])
        if decrypt is None:
            raise damaged(
                hidden, f"it is under data key {key_number(row)}, which the keyring does not hold"
            )
        try:
            plain = decrypt(row[4:HEAD_BYTES], row[HEAD_BYTES:], hidden)
        except InvalidTag:
            raise damaged(hidden, "it was changed, or belongs to another name") from None
        end = 1 + plain[0]
        return plain[1:end], plain[end:]


def key_number(row: bytes) -> int:
    """Of the data key that a row says it is under; 0 for a row that is cut."""
    return int.from_bytes(row[:4], "big") if len(row) >= HEAD_BYTES else 0


def damaged(hidden: bytes, why: str) -> OperationalError:
    """One sentence for a row that cannot be used, with the table's letter and the name in the database."""
    table = hidden[:1].decode("ascii", "replace")
    return OperationalError(
        f"the record {hidden[1:].hex()} of table {table!r} cannot be opened: {why}"
    )
