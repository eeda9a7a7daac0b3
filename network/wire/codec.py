"""The one canonical encoding: msgspec's msgpack arrays, strict and bounded.

A value has exactly one encoding. `decode` refuses bytes that are too long, that do not fit the type, or that are not the
bytes `encode` would give for the decoded value (non-minimal integers, other widths). No JSON, no maps with free keys.
"""

from typing import Generic, TypeVar

import msgspec

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


class Codec(Generic[T]):
    """Encoder and strict decoder of one type (or closed union) with a bound in bytes."""

    __slots__ = ("_decode", "bytes_max", "encode")

    def __init__(self, type_: type[T], bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._decode = msgspec.msgpack.Decoder(type_).decode
        self.encode = _encoder.encode

    def decode(self, data: bytes) -> T:
        """The value, or `Refused` with OVERSIZED, MALFORMED or NON_CANONICAL."""
        if len(data) > self.bytes_max:
            raise Refused(RejectReason.OVERSIZED, bytes=len(data), bytes_max=self.bytes_max)
        try:
            value = self._decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise Refused(RejectReason.MALFORMED, str(error)) from None
        if self.encode(value) != data:
            raise Refused(RejectReason.NON_CANONICAL)
        return value
