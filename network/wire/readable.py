"""The readable twin of an encoded struct: a JSON object with field names, byte strings as lower-case hex.

Decided here: one spelling. Fields in their order, all of them, nothing else, each key once; only white space is free, so a
reader never sees another value than the machine. Not here: bounds of a field (the struct's own type says them).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

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
        document = msgspec.json.decode(data)
        arrays = _to_arrays(document, type_, "")
        value = msgspec.convert(arrays, type_, strict=True)
    except msgspec.ValidationError as error:
        raise Refused(RejectReason.MALFORMED, _named(str(error), type_)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(RejectReason.MALFORMED, f"not JSON: {error}") from None
    compact = msgspec.json.format(data, indent=-1)
    if compact != msgspec.json.encode(to_readable(value)):
        raise Refused(
            RejectReason.NON_CANONICAL,
            "a key stands twice or out of order, hex is not lower-case, or a text is escaped",
        )
    return value


def _to_arrays(value: Any, type_: Any, path: str) -> Any:
    """Undo `to_readable` as far as names and hex go; types and bounds are checked after it, on the whole."""
    base = _base(type_)
    if isinstance(base, type) and issubclass(base, Struct):
        return _fields_of(value, base, path)
    if get_origin(base) is tuple and isinstance(value, list):
        item = get_args(base)[0]
        return [_to_arrays(each, item, f"{path}[{index}]") for index, each in enumerate(value)]
    if base is bytes:
        try:
            return bytes.fromhex(value)
        except (ValueError, TypeError):
            raise Refused(RejectReason.MALFORMED, f"{path} is not a hex string") from None
    return value


def _fields_of(value: Any, type_: type[Struct], path: str) -> list[Any]:
    names = type_.__struct_fields__
    if not isinstance(value, Mapping):
        raise Refused(RejectReason.MALFORMED, f"{path or 'the document'} is not an object")
    if missing := [name for name in names if name not in value]:
        raise Refused(
            RejectReason.MALFORMED, f"{path or 'the document'} lacks {', '.join(missing)}"
        )
    if unknown := sorted(set(value) - set(names)):
        raise Refused(
            RejectReason.MALFORMED,
            f"{path or 'the document'} has unknown fields: {', '.join(unknown)}",
        )
    return [
        _to_arrays(value[field.name], field.type, f"{path}.{field.name}".lstrip("."))
        for field in msgspec.structs.fields(type_)
    ]


def _base(type_: Any) -> Any:
    """The type itself, without `Annotated` and `NewType`."""
    while True:
        if get_origin(type_) is Annotated:
            type_ = get_args(type_)[0]
        elif hasattr(type_, "__supertype__"):
            type_ = type_.__supertype__
        else:
            return type_


def _named(sentence: str, type_: Any) -> str:
    """msgspec counts the fields of an array; a person wants their names: `$[6][0][3]` → `members[0].vote_key`."""

    def names(match: re.Match[str]) -> str:
        path, current = "", _base(type_)
        for index in re.findall(r"\[(\d+|\.\.\.)\]", match.group()):
            if isinstance(current, type) and issubclass(current, Struct) and index.isdecimal():
                field = msgspec.structs.fields(current)[int(index)]
                path, current = f"{path}.{field.name}".lstrip("."), _base(field.type)
            else:
                path = f"{path}[{index}]"
                current = _base(get_args(current)[0]) if get_args(current) else None
        return f"`{path}`"

    return re.sub(r"`\$[\[\]\d.]*`", names, sentence)
