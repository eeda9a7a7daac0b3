"""The readable twin of an encoded struct: a JSON object with field names, byte strings as lower-case hex.

Decided here: one spelling. Fields in their order, all of them, nothing else, each key once; only white space is free, so a
reader never sees another value than the machine. The JSON is decoded into a type made from the struct's own (bytes become
hex strings of their length), so bounds hold, nesting is bounded, and an error names the field.
"""

from functools import cache
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

T = TypeVar("T", bound=Struct)


def to_readable(value: Any) -> Any:
    """Objects, lists, hex strings, texts and integers, ready for a JSON encoder."""
    if isinstance(value, Struct):
        return {name: to_readable(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [to_readable(item) for item in value]
    return value


def to_json(value: Struct) -> bytes:
    """Indented JSON text with a final newline."""
    return msgspec.json.format(msgspec.json.encode(to_readable(value)), indent=2) + b"\n"


def from_json(data: bytes, type_: type[T], bytes_max: int) -> T:
    """The struct, or `Refused`: OVERSIZED, MALFORMED (naming the field) or NON_CANONICAL (another spelling)."""
    if len(data) > bytes_max:
        raise Refused(RejectReason.OVERSIZED, bytes=len(data), bytes_max=bytes_max)
    try:
        twin = msgspec.json.decode(data, type=_twin_of(type_))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(RejectReason.MALFORMED, str(error)) from None
    value: T = _from_twin(twin, type_)
    if msgspec.json.format(data, indent=-1) != msgspec.json.encode(to_readable(value)):
        raise Refused(
            RejectReason.NON_CANONICAL, "a key stands twice or out of order, or a text is escaped"
        )
    return value


@cache
def _twin_of(type_: type[Struct]) -> type[Struct]:
    """A struct type with the same fields, decoded from objects instead of arrays."""
    fields = [(each.name, _readable(each.type, ())) for each in msgspec.structs.fields(type_)]
    return msgspec.defstruct(type_.__name__, fields, frozen=True, forbid_unknown_fields=True)


def _readable(type_: Any, meta: tuple[Meta, ...]) -> Any:
    """The type that a field has in the twin; `meta` are the constraints met on the way in."""
    if get_origin(type_) is Annotated:
        inner, *added = get_args(type_)
        return _readable(inner, (*meta, *added))
    if hasattr(type_, "__supertype__"):  # a NewType
        return _readable(type_.__supertype__, meta)
    if type_ is bytes:
        low = max((each.min_length or 0 for each in meta), default=0)
        high = min((each.max_length for each in meta if each.max_length is not None), default="")
        return Annotated[str, Meta(pattern=rf"\A([0-9a-f]{{2}}){{{low},{high}}}\Z")]
    if isinstance(type_, type) and issubclass(type_, Struct):
        return _twin_of(type_)
    if get_origin(type_) is tuple:
        type_ = GenericAlias(tuple, (_readable(get_args(type_)[0], ()), ...))
    elif get_origin(type_) is UnionType:
        (inner,) = set(get_args(type_)) - {NoneType}
        type_ = _readable(inner, ()) | None
    for each in meta:
        type_ = Annotated[type_, each]
    return type_


def _from_twin(value: Any, type_: Any) -> Any:
    """Undo `to_readable`: the twin's values in the struct's own types."""
    while get_origin(type_) is Annotated or hasattr(type_, "__supertype__"):
        type_ = type_.__supertype__ if hasattr(type_, "__supertype__") else get_args(type_)[0]
    if value is None:
        return None
    if get_origin(type_) is UnionType:
        (type_,) = set(get_args(type_)) - {NoneType}
    if isinstance(type_, type) and issubclass(type_, Struct):
        fields = msgspec.structs.fields(type_)
        return type_(*(_from_twin(getattr(value, each.name), each.type) for each in fields))
    if isinstance(value, tuple):
        return tuple(_from_twin(item, get_args(type_)[0]) for item in value)
    return bytes.fromhex(value) if type_ is bytes else value
