"""The demo's second opinion: what a day of payments must end in, from its CSV file alone.

Nothing of Tallystick is imported here, so that equal balances mean something. Amounts are whole minor units, read as text.
The lines may be taken in any order: the file is made so (`demo_day.py`), and a test shuffles it.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ISSUER = "central-bank"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the file. `amount_minor` in hundredths of the asset's unit."""

    id: str
    payer: str
    receiver: str
    asset: str
    amount_minor: int
    remark: str

    @property
    def message(self) -> tuple[str, ...]:
        """Two rows with the same message are one payment, sent twice."""
        return (self.payer, self.id, self.receiver, self.asset, str(self.amount_minor), self.remark)


@dataclass(slots=True)
class Books:
    balances: dict[tuple[str, str], int] = field(default_factory=dict)
    """(account, asset) → minor units."""
    supply: dict[str, int] = field(default_factory=dict)
    settled: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    """Rows that were the same message again."""


def minor(text: str) -> int:
    """'12.34' → 1234, without a float. Two decimals, no sign."""
    whole, point, cents = text.partition(".")
    if not (whole.isdecimal() and point and len(cents) == 2 and cents.isdecimal()):
        raise ValueError(f"not an amount with two decimals: {text!r}")
    return int(whole) * 100 + int(cents)


def read(path: Path) -> Iterator[Row]:
    with path.open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            yield Row(
                row["id"],
                row["payer"],
                row["receiver"],
                row["asset"],
                minor(row["amount"]),
                row["remark"],
            )


def add_up(rows: Iterable[Row], cap_minor: int, rolling_minor: int) -> Books:
    """Play the rows one by one with the rules of the demo's network: at most `cap_minor` a payment, at most
    `rolling_minor` a day from one account in one asset, no balance below zero, no id twice.
    """
    books = Books()
    first: dict[tuple[str, str], tuple[str, ...]] = {}
    sent: dict[tuple[str, str], int] = {}
    for row in rows:
        name = (row.payer, row.id)
        if first.get(name) == row.message:
            books.repeated += 1
            continue
        taken = first.setdefault(name, row.message) != row.message
        reason = "ID_TAKEN" if taken else refusal(row, books, sent, cap_minor, rolling_minor)
        if reason:
            books.rejected[reason] = books.rejected.get(reason, 0) + 1
        else:
            settle(row, books, sent)
    return books


def refusal(
    row: Row, books: Books, sent: dict[tuple[str, str], int], cap_minor: int, rolling_minor: int
) -> str | None:
    key = (row.payer, row.asset)
    if row.payer == ISSUER:
        return None
    if row.amount_minor > cap_minor:
        return "CAP_PER_PAYMENT"
    if sent.get(key, 0) + row.amount_minor > rolling_minor:
        return "ROLLING_TOTAL"
    if books.balances.get(key, 0) < row.amount_minor:
        return "INSUFFICIENT_FUNDS"
    return None


def settle(row: Row, books: Books, sent: dict[tuple[str, str], int]) -> None:
    debit, credit = (row.payer, row.asset), (row.receiver, row.asset)
    if row.payer == ISSUER:
        books.supply[row.asset] = books.supply.get(row.asset, 0) + row.amount_minor
    else:
        books.balances[debit] = books.balances.get(debit, 0) - row.amount_minor
        sent[debit] = sent.get(debit, 0) + row.amount_minor
    books.balances[credit] = books.balances.get(credit, 0) + row.amount_minor
    books.settled += 1
