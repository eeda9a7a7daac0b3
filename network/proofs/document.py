"""The file form of evidence: JSON that people read, with exactly one text for each value.

Bytes are lower-case hex, minor units are decimal strings (a reader with doubles would round them), and what
has a name (status, reason, rule, kind, phase) is written by its name alone: nothing is said twice, so
nothing can disagree. The transaction is written field by field and encoded again on reading.
Not here: whether any of it is true (`verify`).
"""

import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, inspect

from tallystick.network.proofs.absence import ABSENCE, Absence
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.receipts import (
    BLOCK_PROOF,
    RECEIPT,
    BlockProof,
    Cause,
    Finding,
    Outcome,
    Receipt,
    Status,
)
from tallystick.network.proofs.state_proof import STATE_PROOF, StateProof
from tallystick.network.wire import bounds
from tallystick.network.wire.codec import Codec
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import BY_NUMBER, RejectReason
from tallystick.network.wire.signing import Phase
from tallystick.network.wire.transactions import KINDS, Transaction
from tallystick.network.wire.transactions.codec import TRANSACTION

T = TypeVar("T")
Names: TypeAlias = dict[int, str | None]
Document: TypeAlias = dict[str, Any]

FORMAT: Final = "tallystick/receipt"
"""First field of a receipt's document: what it is, before its version."""
ABSENCE_FORMAT: Final = "tallystick/absence"
"""The same of a proof of non-settlement."""

OPENINGS_MAX: Final = 8_192
"""Brackets and braces opened in one receipt's file; the fullest receipt opens fewer. It bounds the nesting: msgspec
follows that as deep as Python's recursion limit, which libraries raise until the C stack overruns."""

_FINDINGS: Final = ("ALLOW", "REPORT", "HOLD", "REJECT")
_KINDS: Final[dict[str, type[Struct]]] = dict(
    zip(
        ("OPEN_ACCOUNT", "ISSUE", "TRANSFER", "CHANGE_MEMBERS", "ACTIVATE_SPARE"),
        KINDS,
        strict=True,
    )
)


def _names(enum: type[IntEnum]) -> Names:
    return {member.value: member.name for member in enum}


_NAMED: Final[dict[tuple[type, str], Names]] = {
    (Certificate, "phase"): _names(Phase),
    (Outcome, "cause"): _names(Cause),
    (Outcome, "status"): _names(Status),
    (Outcome, "kind"): dict(enumerate(_KINDS, start=1)),
    (Outcome, "reason"): {0: None} | {number: why.code for number, why in BY_NUMBER.items()},
    (Finding, "rule"): {number: f"R{number:02}" for number in range(1, 31)},
    (Finding, "outcome"): dict(enumerate(_FINDINGS)),
}
"""Numbers that a document writes as names."""


def receipt_to_bytes(receipt: Receipt) -> bytes:
    """The receipt's file: the one text that `receipt_from_bytes` takes."""
    compact = msgspec.json.encode(receipt_to_document(receipt))
    return msgspec.json.format(compact, indent=2) + b"\n"


def receipt_from_bytes(data: bytes) -> Receipt:
    """The receipt of a file, or `Refused` with OVERSIZED, MALFORMED or NON_CANONICAL."""
    receipt = receipt_from_document(json_of(data))
    if receipt_to_bytes(receipt) != data:
        raise Refused(RejectReason.NON_CANONICAL, "the file is not the one text of its receipt")
    return receipt


def absence_to_bytes(absence: Absence) -> bytes:
    """The absence's file: the one text that `absence_from_bytes` takes."""
    compact = msgspec.json.encode(absence_to_document(absence))
    return msgspec.json.format(compact, indent=2) + b"\n"


def absence_from_bytes(data: bytes) -> Absence:
    """The absence of a file, as strict as a receipt's."""
    absence = absence_from_document(json_of(data))
    if absence_to_bytes(absence) != data:
        raise Refused(RejectReason.NON_CANONICAL, "the file is not the one text of its absence")
    return absence


def is_absence(data: bytes) -> bool:
    """Whether a file calls itself an absence; what is in it, `absence_from_bytes` says."""
    return re.match(rb'\s*{\s*"format"\s*:\s*"tallystick/absence"', data) is not None


def absence_to_document(absence: Absence) -> Document:
    """The absence as a JSON object. `Refused` if it holds bytes or numbers that mean nothing."""
    written = to_document(absence)
    written["transaction"] = transaction_to_document(TRANSACTION.decode(absence.transaction))
    return {"format": ABSENCE_FORMAT} | written


def absence_from_document(document: object) -> Absence:
    """The absence of a JSON object; every field must be there, be known, and be in its one form."""
    fields = _with_transaction(document, ABSENCE_FORMAT)
    absence = ABSENCE.decode(_packed(Absence, fields))
    _same(absence_to_document(absence), document)
    return absence


def receipt_to_document(receipt: Receipt) -> Document:
    """The receipt as a JSON object. `Refused` if it holds bytes or numbers that mean nothing."""
    written = to_document(receipt)
    written["transaction"] = transaction_to_document(TRANSACTION.decode(receipt.transaction))
    return {"format": FORMAT} | written


def receipt_from_document(document: object) -> Receipt:
    """The receipt of a JSON object; every field must be there, be known, and be in its one form."""
    fields = _with_transaction(document, FORMAT)
    receipt = RECEIPT.decode(_packed(Receipt, fields))
    _same(receipt_to_document(receipt), document)
    return receipt


def json_of(data: bytes) -> object:
    """The document of a proof's file, within the bounds of all of them, or `Refused` with OVERSIZED or MALFORMED."""
    if len(data) > bounds.RECEIPT_BYTES_MAX:
        raise Refused(RejectReason.OVERSIZED, bytes=len(data), bytes_max=bounds.RECEIPT_BYTES_MAX)
    if data.count(b"[") + data.count(b"{") > OPENINGS_MAX:
        raise Refused(RejectReason.MALFORMED, "the file opens more objects than a receipt has")
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refused(RejectReason.MALFORMED, f"not JSON: {error}") from None


def _with_transaction(document: object, format_: str) -> dict[str, object]:
    """The fields of a document of this format, its transaction as bytes again."""
    fields = dict(_object(document, "the document"))
    if fields.pop("format", None) != format_:
        raise Refused(RejectReason.MALFORMED, f"the document is not a {format_}")
    transaction = transaction_from_document(fields.get("transaction"))
    fields["transaction"] = TRANSACTION.encode(transaction).hex()
    return fields


def block_from_document(document: object) -> BlockProof:
    """The inverse of `to_document(block proof)`, as strict as a receipt's."""
    return from_document(BlockProof, BLOCK_PROOF, document)


def state_from_document(document: object) -> StateProof:
    """The inverse of `to_document(state proof)`, as strict as a receipt's."""
    return from_document(StateProof, STATE_PROOF, document)


def to_document(value: Struct) -> Document:
    """Any struct of the evidence as a JSON object, fields in the struct's order."""
    written: Document = _forms(type(value))[0](value)
    return written


def transaction_to_document(transaction: Transaction) -> Document:
    """The transaction, field by field, its kind by name."""
    kind = next(name for name, kind in _KINDS.items() if kind is type(transaction))
    return {"kind": kind} | to_document(transaction)


def transaction_from_document(document: object) -> Transaction:
    """The inverse of `transaction_to_document`, or `Refused`."""
    fields = dict(_object(document, "transaction"))
    name = fields.pop("kind", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Refused(RejectReason.MALFORMED, "transaction: the kind is not known")
    transaction = TRANSACTION.decode(_packed(kind, fields))
    _same(transaction_to_document(transaction), document)
    return transaction


def from_document(type_: type[T], codec: Codec[T], document: object) -> T:
    """Any struct of the evidence from its JSON object, or `Refused`; the inverse of `to_document`."""
    value = codec.decode(_packed(type_, document))
    if isinstance(value, Struct):
        _same(to_document(value), document)
    return value


def _packed(type_: type, document: object) -> bytes:
    """The document as the canonical encoding would be; its codec then checks every bound."""
    try:
        return msgspec.msgpack.encode(_forms(type_)[1](document))
    except (OverflowError, UnicodeEncodeError) as error:
        raise Refused(RejectReason.MALFORMED, str(error)) from None


def _same(written: Document, document: object) -> None:
    """The last word on strictness: what was read, written again, is what was given."""
    ours = msgspec.json.encode(written, order="sorted")
    if ours != msgspec.json.encode(document, order="sorted"):
        raise Refused(RejectReason.NON_CANONICAL, "the document is not the one form of its value")


# Compiled from the structs' own fields: (value → JSON, JSON → what msgpack would hold).

Forms: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any], Any]]


@cache
def _forms(type_: type) -> Forms:
    info = inspect.type_info(type_)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{type_} is not a struct")
    fields = {field.name: _field(type_, field) for field in info.fields}
    tag = [] if info.tag is None else [info.tag]

    def write(value: Any) -> Document:
        return {name: form[0](getattr(value, name)) for name, form in fields.items()}

    def read(document: Any) -> list[Any]:
        given = _object(document, type_.__name__)
        if given.keys() != fields.keys():
            odd = ", ".join(sorted(map(str, given.keys() ^ fields.keys())))
            raise Refused(RejectReason.MALFORMED, f"{type_.__name__}: missing or unknown: {odd}")
        return tag + [form[1](given[name]) for name, form in fields.items()]

    return write, read


def _field(type_: type, field: inspect.Field) -> Forms:
    where = f"{type_.__name__}.{field.name}"
    names = _NAMED.get((type_, field.name))
    if names is not None:
        return _named(names, where)
    if field.name.endswith("_minor"):
        return str, lambda text: _decimal(text, where)
    return _plain(field.type, where)


def _plain(info: inspect.Type, where: str) -> Forms:
    match info:
        case inspect.BytesType():
            return bytes.hex, lambda text: _bytes(text, where)
        case inspect.StructType(cls=cls):
            return _forms(cls)
        case inspect.VarTupleType(item_type=item):
            write, read = _plain(item, where)
            return (
                lambda values: [write(value) for value in values],
                lambda values: [read(value) for value in _typed(list, values, where)],
            )
        case inspect.UnionType(types=(some, inspect.NoneType())):
            write, read = _plain(some, where)
            return (
                lambda value: None if value is None else write(value),
                lambda value: None if value is None else read(value),
            )
        case inspect.BoolType():
            return bool, lambda value: _typed(bool, value, where)
        case inspect.IntType():
            return int, lambda value: _typed(int, value, where)
        case inspect.StrType():
            return str, lambda value: _typed(str, value, where)
        case _:
            raise TypeError(f"{where} has no form in a document")


def _named(names: Names, where: str) -> Forms:
    numbers = {name: number for number, name in names.items()}

    def write(number: int) -> str | None:
        if number not in names:
            raise Refused(RejectReason.MALFORMED, f"{where}: {number} has no name")
        return names[number]

    def read(name: object) -> int:
        if not (name is None or isinstance(name, str)) or name not in numbers:
            raise Refused(RejectReason.MALFORMED, f"{where}: not a known name")
        return numbers[name]

    return write, read


def _object(value: object, where: str) -> Mapping[str, object]:
    return _typed(dict, value, where)


def _typed(type_: type[T], value: object, where: str) -> T:
    if type(value) is not type_:  # exactly: a bool is not a number here
        raise Refused(RejectReason.MALFORMED, f"{where}: expected {type_.__name__}")
    return value


def _bytes(value: object, where: str) -> bytes:
    try:
        return bytes.fromhex(_typed(str, value, where))
    except ValueError:
        raise Refused(RejectReason.MALFORMED, f"{where}: not hex") from None


def _decimal(value: object, where: str) -> int:
    text = _typed(str, value, where)
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise Refused(RejectReason.MALFORMED, f"{where}: not a decimal number")
    return int(text)
