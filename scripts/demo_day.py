"""Writes `demo_day.csv`: one day of payments among the accounts of four banks. Same seed, same bytes.

Decided here: a day whose balances do not depend on the order in which a network settles it. Whatever is refused is refused
in every order, or is one of several equal payments from one account to one other: which of them fails then moves no money.
Not here: how a line becomes a transaction (`demo.py`), what the day should end in (`demo_books.py`).
"""

import argparse
import csv
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

BANKS = ("bank-a", "bank-b", "bank-c", "bank-d")
ACCOUNTS_PER_BANK = 80
ASSETS = ("USD", "EUR")
CENTRAL_BANK = "central-bank"
COLUMNS = ("time", "id", "payer", "receiver", "asset", "amount", "remark")

CAP_MINOR = 1_000_000_00
"""What one payment may carry (rule R01 of the demo's genesis), in minor units."""
ROLLING_MINOR = 5_000_000_00
"""What one account may send in 24 hours (rule R04 of the demo's genesis), in minor units of one asset."""

ORDINARY = 5_200
REMARKS = (
    "rent",
    "invoice",
    "payroll",
    "supplier",
    "insurance",
    "utilities",
    "tuition",
    "freight",
    "refund",
    "dues",
)


@dataclass(frozen=True, slots=True)
class Line:
    payer: str
    receiver: str
    asset: str
    amount_minor: int
    remark: str
    id: str = ""
    time: str = ""


def accounts() -> list[str]:
    return [f"{bank}/{number:03}" for bank in BANKS for number in range(1, ACCOUNTS_PER_BANK + 1)]


def ordinary(dice: random.Random, names: list[str]) -> Iterator[Line]:
    """Payments between any two accounts, small ones many, large ones few."""
    for _ in range(ORDINARY):
        payer, receiver = dice.sample(names, 2)
        amount_minor = int(min(dice.lognormvariate(9.5, 1.4), 2_500_000)) + 100
        yield Line(payer, receiver, dice.choice(ASSETS), amount_minor, dice.choice(REMARKS))


def over_cap(dice: random.Random, names: list[str]) -> Iterator[Line]:
    """Funded accounts try to send more than one payment may carry: refused in every order."""
    for number in range(40):
        payer, receiver = dice.sample(names, 2)
        amount_minor = CAP_MINOR + 1 + 7_919 * number
        yield Line(payer, receiver, ASSETS[number % 2], amount_minor, "over the cap of one payment")


def over_rolling_limit(names: list[str]) -> Iterator[Line]:
    """Four accounts send equal payments to one receiver until the day's limit is spent: two of each seven fail."""
    share_minor = ROLLING_MINOR // 5
    for number in range(4):
        for _ in range(7):
            yield Line(
                names[2 * number],
                names[2 * number + 1],
                "USD",
                share_minor,
                "over the limit of 24 hours",
            )


def unfunded(dice: random.Random, poor: list[str], names: list[str]) -> Iterator[Line]:
    """Accounts that never receive anything try to pay."""
    for number in range(120):
        amount_minor = dice.randrange(10_00, 900_00)
        yield Line(
            poor[number % len(poor)],
            dice.choice(names),
            ASSETS[number % 2],
            amount_minor,
            "not funded",
        )


def half_funded(thin: list[str], names: list[str]) -> Iterator[Line]:
    """Accounts with money for three of five equal payments to one receiver."""
    for number, payer in enumerate(thin):
        for _ in range(5):
            yield Line(payer, names[number], "EUR", 250_00, "funded for three of five")


def issues(lines: list[Line], thin: list[str]) -> Iterator[Line]:
    """What the central bank issues in the morning: to each payer all that its ordinary day may need."""
    need: dict[tuple[str, str], int] = {}
    for line in lines:
        if line.remark == "not funded" or line.payer in thin:
            continue
        key = (line.payer, line.asset)
        need[key] = need.get(key, 0) + line.amount_minor
    need |= {(payer, "EUR"): 3 * 250_00 for payer in thin}
    for (name, asset), amount_minor in sorted(need.items()):
        rounded = amount_minor if name in thin else -(-amount_minor // 1_000_00) * 1_000_00
        yield Line(CENTRAL_BANK, name, asset, rounded, "issue")


def day(seed: int) -> list[Line]:
    dice = random.Random(seed)
    names = accounts()
    poor, thin, names = names[::40], names[20::40], [n for i, n in enumerate(names) if i % 20]
    capped, names = names[:8], names[8:]
    lines = [
        *ordinary(dice, names),
        *over_cap(dice, names),
        *over_rolling_limit(capped),
        *unfunded(dice, poor, names),
        *half_funded(thin, names),
    ]
    morning = list(issues(lines, thin))
    dice.shuffle(lines)
    lines = stamped(lines)
    twice = dice.sample([line for line in lines if line.payer in set(names)], 90)
    # The first 60 come again as they are: one receipt. The last 30 come under the same id with another remark: a second
    # message, of which only one may settle. Payer, receiver and amount are equal, so it does not matter which.
    twice = twice[:60] + [
        replace(line, remark=line.remark + " (sent again)") for line in twice[60:]
    ]
    for line in twice:
        lines.insert(dice.randrange(len(lines)), line)
    opening = [replace(line, time="07:00:00", id=f"I{at:04}") for at, line in enumerate(morning, 1)]
    return opening + lines


def stamped(lines: list[Line]) -> list[Line]:
    """Ids in the order of the day, times from 08:00:00 to 18:00:00."""
    step = 36_000 / len(lines)
    return [
        replace(line, id=f"P{at:04}", time=clock(28_800 + int(step * (at - 1))))
        for at, line in enumerate(lines, 1)
    ]


def clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def write(path: Path, lines: list[Line]) -> None:
    with path.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for line in lines:
            amount = f"{line.amount_minor // 100}.{line.amount_minor % 100:02}"
            writer.writerow(
                (line.time, line.id, line.payer, line.receiver, line.asset, amount, line.remark)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the demo's day of payments.")
    parser.add_argument("--seed", type=int, default=1826)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("demo_day.csv"))
    options = parser.parse_args()
    write(options.out, day(options.seed))
    print(options.out, hashlib.sha256(options.out.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
