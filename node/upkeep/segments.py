"""Rows of the ledger in pieces of bounded size: the files of a backup, and the way from a running node to one.

A segment is one msgpack array of [key, value]; rows come in any order, each once (`restoring` counts them). On the wire (the
node's answer to a backup) each stands behind its length in 4 bytes; a length of 0 and the SHA-256 of all segments end it, so
an answer that was cut is not taken for a whole one. Decided here: which tables a backup holds. Promises are not among them.
"""

from collections.abc import Generator, Iterable, Iterator
from hashlib import sha256
from typing import Annotated, Final

from msgspec import Meta

from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.node.core import schema

SEGMENT_BYTES: Final = 4 * 1024 * 1024
"""A segment ends at the first row that reaches this."""
ROW_BYTES_MAX: Final = 32 * 1024 * 1024
"""A block of 4,096 transactions with all its outcomes stays below."""
WIRE_CHUNK_BYTES: Final = 256 * 1024
"""Rows that a running node reads at once: about 10 ms during which it does nothing else in Python."""

BACKED_UP: Final = (
    schema.BLOCK,
    schema.EPOCH,
    schema.LINK,
    schema.ACCOUNT,
    schema.FINAL,
    schema.WHOLE_FROM,
    schema.RECORD,
    schema.TAKEN,
    schema.REFUSED,
    schema.CONSUMED,
)
"""The certified ledger, and nothing else: no engine, no guard, no blocks before a vote, no held payments."""

Row = tuple[bytes, bytes]
_Key = Annotated[bytes, Meta(min_length=1, max_length=512)]
_Value = Annotated[bytes, Meta(max_length=ROW_BYTES_MAX)]
SEGMENT: Codec[list[tuple[bytes, bytes]]] = Codec(
    list[tuple[_Key, _Value]],
    bytes_max=SEGMENT_BYTES + ROW_BYTES_MAX + 4_096,
)


def rows_of_segment(segment: bytes) -> list[Row]:
    """Its rows. `Refused` for bytes that are none, `OperationalError` for a row that no backup holds."""
    rows = SEGMENT.decode(segment)
    for key, _ in rows:
        if key not in BACKED_UP and (key[:1] not in BACKED_UP or key[:1] == b"m"):
            raise OperationalError(f"row {key.hex()} is of a table that no backup holds")
    return rows


def framed(chunks: Iterable[list[Row]]) -> Generator[bytes, None, None]:
    """What a node sends: rows in segments behind their lengths, then the end."""
    whole = sha256()
    for rows in chunks:
        segment = SEGMENT.encode(rows)
        whole.update(segment)
        yield len(segment).to_bytes(4, "big") + segment
    yield bytes(4) + whole.digest()


class Unframing:
    """The other end: bytes in pieces of any size in, rows out; `finish` refuses an answer without its end."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._whole = sha256()
        self._ended = False

    def feed(self, data: bytes) -> Iterator[Row]:
        """Rows that are complete now."""
        self._buffer += data
        while len(self._buffer) >= 4 and not self._ended:
            length = int.from_bytes(self._buffer[:4], "big")
            if length > SEGMENT.bytes_max:
                raise OperationalError(f"the node announces {length} bytes at once")
            if length == 0:
                if len(self._buffer) < 36:
                    return
                if bytes(self._buffer[4:36]) != self._whole.digest():
                    raise OperationalError("the node's answer was changed on its way")
                self._ended = True
                del self._buffer[:36]
                break
            if len(self._buffer) < 4 + length:
                return
            segment = bytes(self._buffer[4 : 4 + length])
            del self._buffer[: 4 + length]
            self._whole.update(segment)
            yield from self._rows(segment)
        if self._ended and self._buffer:
            raise OperationalError("the node's answer goes on after its end")

    @staticmethod
    def _rows(segment: bytes) -> list[Row]:
        try:
            return rows_of_segment(segment)
        except Refused as refused:
            raise OperationalError(f"the node's answer does not decode: {refused}") from None

    def finish(self) -> None:
        if not self._ended:
            raise OperationalError("the node's answer ended early: nothing was kept")
