"""The demo's day of payments: the shipped file is what its generator writes, and its end does not depend on its order."""

import random
from collections import Counter
from pathlib import Path

import demo_books
import demo_day

FILE = Path(demo_day.__file__).with_name("demo_day.csv")


def rows() -> tuple[list[demo_books.Row], list[demo_books.Row]]:
    """(the morning's issues, the day's payments)."""
    lines = list(demo_books.read(FILE))
    return (
        [row for row in lines if row.payer == demo_books.ISSUER],
        [row for row in lines if row.payer != demo_books.ISSUER],
    )


def books(lines: list[demo_books.Row]) -> demo_books.Books:
    return demo_books.add_up(lines, demo_day.CAP_MINOR, demo_day.ROLLING_MINOR)


def test_the_shipped_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    demo_day.write(tmp_path / "day.csv", demo_day.day(1826))
    assert (tmp_path / "day.csv").read_bytes() == FILE.read_bytes()


def test_the_day_has_what_the_demo_promises() -> None:
    morning, day = rows()
    result = books(morning + day)
    payers = {row.payer for row in day}
    assert len(day) >= 5_000
    assert len(payers) >= 300
    assert {name.split("/")[0] for name in payers} == set(demo_day.BANKS)
    assert {row.asset for row in day} == {"USD", "EUR"}
    assert result.rejected == {
        "CAP_PER_PAYMENT": 40,
        "ROLLING_TOTAL": 8,
        "INSUFFICIENT_FUNDS": 136,
        "ID_TAKEN": 30,
    }
    assert result.repeated == 60
    assert (
        sum(Counter(row.message for row in day).values()) - len({row.message for row in day}) == 60
    )


def test_the_day_ends_the_same_in_every_order() -> None:
    morning, day = rows()
    expected = books(morning + day)
    for seed in range(20):
        random.Random(seed).shuffle(day)
        assert books(morning + day) == expected, f"order {seed}"


def test_no_balance_is_negative_and_supply_is_conserved() -> None:
    morning, day = rows()
    result = books(morning + day)
    assert min(result.balances.values()) >= 0
    for asset, supply in result.supply.items():
        held = sum(amount for (_, name), amount in result.balances.items() if name == asset)
        assert held == supply


def test_amounts_are_read_as_text() -> None:
    assert demo_books.minor("0.29") == 29
    assert demo_books.minor("90071992547409.93") == 9_007_199_254_740_993
    for wrong in ("1", "1.2", "1.234", "-1.00", "1,00", "1e2.00", ""):
        try:
            demo_books.minor(wrong)
        except ValueError:
            continue
        raise AssertionError(f"{wrong!r} was read")
