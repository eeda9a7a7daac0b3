"""A file of payments: CSV with the columns id, creditor, amount, asset and, if wanted, account and settle_by.

The whole file is read and checked before anything is signed; each fault names its line and column, and all are reported at
once. The id makes the file resumable: the same line is the same payment, answered and not repeated.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import AccountId, PaymentId
from tallystick.network.wire.reasons import RejectReason
from tallystick.wallet.core.build import Terms, parse_account, parse_id

T = TypeVar("T")

LINES_MAX: Final = 200_000
"""Payments in one file."""

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""300 bytes a line."""

FIELD_LENGTH_MAX: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

REQUIRED: Final = ("id", "creditor", "amount", "asset")
OPTIONAL: Final = ("account", "settle_by")


@dataclass(frozen=True, slots=True)
class Line:
    """One good payment."""

    number: int
    """In the file, counted from 1; the header is line 1."""
    id: PaymentId
    id_text: str
    """As the file writes it."""
    account: AccountId
    creditor: AccountId
    asset: str
    amount: str
    amount_minor: int
    settle_by_ms: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where. `column` is the column's name; `position` counts columns from 1, 0 for the whole line."""

    line: int
    column: str
    position: int
    sentence: str

    def __str__(self) -> str:
        where = f", column {self.position} ({self.column})" if self.position else ""
        return f"line {self.line}{where}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """Every line is in exactly one of the two."""

    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]
    columns: tuple[str, ...] = ()
    """As the header names them."""

    def position(self, column: str) -> int:
        """Counted from 1; 0 if there is no such column."""
        return self.columns.index(column) + 1 if column in self.columns else 0


def parse(content: bytes, terms: Terms, account: AccountId | None) -> PaymentFile:
    """Read a file. `account` pays where a line names no account. Never raises on content: faults say it all."""
    faults: list[Fault] = []
    text = _decoded(content, faults)
    if text is None:
        return PaymentFile((), tuple(faults))
    lines: list[Line] = []
    seen: dict[tuple[bytes, bytes], int] = {}
    columns: dict[str, int] | None = None
    # No field holds a line break, so each physical line is read by itself: an open quote spoils one line, not the rest.
    for number, physical in enumerate(text.split("\n"), start=1):
        if not physical.strip():
            continue
        cells = _cells(physical, number, faults)
        if columns is None:
            columns = _columns(cells or [], number, faults)
            if not columns:
                break
        elif cells is None:
            continue
        elif len(lines) + len(faults) >= LINES_MAX:
            faults.append(Fault(number, "", 0, f"more than {LINES_MAX} payments: split the file"))
            break
        else:
            line = _line(_Row(number, columns, cells, faults), terms, account)
            if line is not None and _is_new(line, seen, columns, faults):
                lines.append(line)
    if columns is None:
        faults.append(Fault(1, "", 0, "the file is empty: its first line must name the columns"))
    return PaymentFile(tuple(lines), tuple(faults), tuple(columns or ()))


@dataclass(frozen=True, slots=True)
class _Row:
    """One line's cells, and where its faults go."""

    number: int
    columns: dict[str, int]
    cells: list[str]
    faults: list[Fault]

    def text(self, name: str) -> str:
        """The cell, empty if the file has no such column."""
        return self.cells[self.columns[name]].strip() if name in self.columns else ""

    def read(self, name: str, reader: Callable[[str], T]) -> T | None:
        """The cell's value, or None after its fault has been noted."""
        text = self.text(name)
        try:
            if len(text) > FIELD_LENGTH_MAX:
                raise Refused(RejectReason.BAD_FIELD, f"longer than {FIELD_LENGTH_MAX} characters")
            if not text and name in REQUIRED:
                raise Refused(RejectReason.BAD_FIELD, "is empty")
            return reader(text)
        except Refused as refused:
            self.fault(name, refused.detail)
            return None

    def fault(self, name: str, sentence: str) -> None:
        self.faults.append(Fault(self.number, name, self.columns.get(name, -1) + 1, sentence))


def _decoded(content: bytes, faults: list[Fault]) -> str | None:
    if len(content) > FILE_BYTES_MAX:
        faults.append(Fault(1, "", 0, f"the file is larger than {FILE_BYTES_MAX} bytes: split it"))
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        faults.append(Fault(line, "", 0, "not UTF-8 text"))
        return None


def _cells(physical: str, number: int, faults: list[Fault]) -> list[str] | None:
    try:
        return next(csv.reader([physical.rstrip("\r")], strict=True))
    except (csv.Error, StopIteration) as error:
        faults.append(Fault(number, "", 0, f"not CSV: {error}"))
        return None


def _columns(row: list[str], number: int, faults: list[Fault]) -> dict[str, int]:
    """Column name → index; empty after a fault."""
    names = [cell.strip().lower() for cell in row]
    before = len(faults)
    for position, name in enumerate(names, start=1):
        if name not in REQUIRED + OPTIONAL:
            known = ", ".join(REQUIRED + OPTIONAL)
            faults.append(
                Fault(number, name, position, f"unknown column {name!r}; known are {known}")
            )
        elif names.index(name) != position - 1:
            faults.append(Fault(number, name, position, f"the column {name!r} stands twice"))
    if missing := [name for name in REQUIRED if name not in names]:
        faults.append(Fault(number, "", 0, f"missing columns: {', '.join(missing)}"))
    return {} if len(faults) > before else {name: index for index, name in enumerate(names)}


def _line(row: _Row, terms: Terms, account: AccountId | None) -> Line | None:
    """One payment, or None after every fault of the line has been noted."""
    if len(row.cells) != len(row.columns):
        sentence = f"{len(row.cells)} fields where the header names {len(row.columns)}"
        row.faults.append(Fault(row.number, "", 0, sentence))
        return None

    def payer_of(text: str) -> AccountId:
        if not text and account is None:
            raise Refused(RejectReason.BAD_FIELD, "no paying account: fill it in or give --account")
        return parse_account(text) if text or account is None else account

    id_ = row.read("id", parse_id)
    payer = row.read("account", payer_of)
    creditor = row.read("creditor", parse_account)
    asset = row.read("asset", terms.known_asset)
    minor = row.read("amount", lambda text: terms.minor(text, asset) if asset else 0)
    settle_by_ms = row.read("settle_by", _settle_by)
    if payer is not None and payer == creditor:
        row.fault("creditor", "payer and receiver are the same account")
        return None
    if id_ is None or payer is None or creditor is None or asset is None:
        return None
    if minor is None or settle_by_ms is None:
        return None
    return Line(
        number=row.number,
        id=id_,
        id_text=row.text("id"),
        account=payer,
        creditor=creditor,
        asset=asset,
        amount=row.text("amount"),
        amount_minor=minor,
        settle_by_ms=settle_by_ms,
    )


def _is_new(
    line: Line, seen: dict[tuple[bytes, bytes], int], columns: dict[str, int], faults: list[Fault]
) -> bool:
    first = seen.setdefault((line.account, line.id), line.number)
    if first == line.number:
        return True
    sentence = f"the id {line.id_text!r} already stands in line {first} for this account"
    faults.append(Fault(line.number, "id", columns["id"] + 1, sentence))
    return False


def _settle_by(text: str) -> int:
    """Milliseconds since 1970 from such a number or an ISO 8601 time with its offset; 0 for an empty field."""
    if not text:
        return 0
    if text.isascii() and text.isdigit():
        value = int(text)
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise Refused(
                RejectReason.BAD_FIELD, f"{text!r} is not a time such as 2025-03-31T16:00:00Z"
            ) from None
        if moment.tzinfo is None:
            raise Refused(
                RejectReason.BAD_FIELD, f"{text!r} lacks its offset from UTC: add Z or +01:00"
            )
        value = (moment - _EPOCH) // timedelta(milliseconds=1)
    if not 1 <= value <= bounds.TIME_MS_MAX:
        raise Refused(RejectReason.BAD_FIELD, f"{text!r} is out of range")
    return value
