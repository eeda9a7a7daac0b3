"""SHA-256 with domain tags: a digest made for one purpose never equals a digest made for another.

`Tag(b"tallystick/x").hash(data)` is SHA-256(len(tag) as one byte ‖ tag ‖ data). Every tag is 11 to 60 bytes long, so the
first byte is neither 0x00 nor 0x01, which begin the leaves and nodes of RFC 6962 trees.
"""

from hashlib import sha256
from typing import Final

ZERO: Final = bytes(32)


class Tag:
    """A domain tag with its prefix already hashed."""

    __slots__ = ("_begun", "name")

    def __init__(self, name: bytes) -> None:
        if not (11 <= len(name) <= 60 and name.startswith(b"tallystick/")):
            raise ValueError(f"not a domain tag: {name!r}")
        self.name = name
        self._begun = sha256(bytes([len(name)]) + name)

    def hash(self, data: bytes) -> bytes:
        """32 bytes. `data` must be of fixed length or self-delimiting (a canonical encoding)."""
        begun = self._begun.copy()
        begun.update(data)
        return begun.digest()
