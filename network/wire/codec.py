"""The one canonical encoding: msgspec's msgpack arrays, strict and bounded.

A value has exactly one encoding. `decode` refuses bytes that are too long, that do not fit the type, or that are not the
bytes `encode` would give for the decoded value (non-minimal integers, other widths). No JSON, no maps with free keys, and no
open types: msgspec follows nesting as deep as Python's recursion limit, which libraries raise (py_ecc to 100,000, where a
hostile message of brackets overruns the C stack), so a type must say by itself how deep its values are.
"""

from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


class Codec(Generic[T]):
    """Encoder and strict decoder of one type (or closed union) with a bound in bytes."""

    __slots__ = ("_decode", "bytes_max", "encode")

    def __init__(self, type_: type[T] | UnionType, bytes_max: int) -> None:
        if not _is_closed(inspect.type_info(type_), ()):
            raise TypeError(f"values of {type_} may be nested without end")
        self.bytes_max = bytes_max
        self._decode: Callable[[bytes], T] = msgspec.msgpack.Decoder(type_).decode
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


def _is_closed(info: Any, above: tuple[Any, ...]) -> bool:
    """Whether the type bounds the depth of its values: it contains neither `Any` nor itself."""
    if isinstance(info, inspect.AnyType | inspect.RawType | inspect.CustomType):
        return False
    if any(info is each for each in above):
        return False
    return all(_is_closed(part, (*above, info)) for part in _parts(info))


def _parts(info: Any) -> Iterator[Any]:
    if isinstance(info, inspect.StructType):
        yield from (field.type for field in info.fields)
    elif isinstance(info, inspect.UnionType):
        yield from info.types
    elif isinstance(info, inspect.TupleType):
        yield from info.item_types
    elif isinstance(info, inspect.DictType):
        yield from (info.key_type, info.value_type)
    elif isinstance(info, inspect.CollectionType):
        yield info.item_type
    elif isinstance(info, inspect.Metadata):
        yield info.type
