"""A payment file is read whole, and every fault has its line and column."""

import pytest

from tallystick.wallet.core import build, payment_file
from tallystick.wallet.core.payment_file import PaymentFile, parse
from tests.unit.wallet.networks import small_network

NETWORK = small_network()
PAYER, CREDITOR = NETWORK.accounts[1], NETWORK.accounts[2]
HEADER = "id,creditor,amount,asset"


def read(*lines: str, header: str = HEADER) -> PaymentFile:
    return parse("\n".join((header, *lines)).encode(), NETWORK.terms, PAYER)


def faults(*lines: str, header: str = HEADER) -> list[str]:
    return [str(fault) for fault in read(*lines, header=header).faults]


GOOD = f"INV-1,{CREDITOR.hex()},4.00,USD"


def test_a_good_file() -> None:
    uetr = "eb6305c9-1f7f-49de-aed0-16487c27b42d"
    file = read(
        GOOD,
        "",
        f"{uetr}, 0x{CREDITOR.hex().upper()} ,7,JPY\r",
        f'"{"ab" * 32}",{CREDITOR.hex()},0.01,USD',
    )
    assert file.faults == ()
    assert [line.number for line in file.lines] == [2, 4, 5]
    assert [line.amount_minor for line in file.lines] == [400, 7, 1]
    assert file.lines[0].id == build.id_from_reference("INV-1")
    assert file.lines[1].id == build.id_from_uetr(uetr)
    assert {line.account for line in file.lines} == {PAYER}


def test_payer_and_settle_by_may_stand_in_the_file() -> None:
    header = "asset,amount,creditor,settle_by,account,id"
    other = NETWORK.accounts[0]
    file = read(
        f"USD,4.00,{CREDITOR.hex()},2025-03-31T18:00:00.250+02:00,{other.hex()},a",
        f"USD,4.00,{CREDITOR.hex()},1743436800000,,b",
        f"USD,4.00,{CREDITOR.hex()},,,c",
        header=header,
    )
    assert file.faults == ()
    assert [line.settle_by_ms for line in file.lines] == [1_743_436_800_250, 1_743_436_800_000, 0]
    assert [line.account for line in file.lines] == [other, PAYER, PAYER]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"a b,{CREDITOR.hex()},4.00,USD", "line 2, column 1 (id): 'a b' is not a reference"),
        (f",{CREDITOR.hex()},4.00,USD", "line 2, column 1 (id): is empty"),
        (
            f"{'ab' * 31},{CREDITOR.hex()},4.00,USD",
            "line 2, column 1 (id): an id has 64 hex digits",
        ),
        ("a,bank-b,4.00,USD", "line 2, column 2 (creditor): 'bank-b' is not an account"),
        (
            f"a,{PAYER.hex()},4.00,USD",
            "line 2, column 2 (creditor): payer and receiver are the same",
        ),
        (
            f"a,{CREDITOR.hex()},4.001,USD",
            "line 2, column 3 (amount): '4.001' has more than 2 decimals",
        ),
        (
            f"a,{CREDITOR.hex()},4.0,JPY",
            "line 2, column 3 (amount): '4.0' has more than 0 decimals",
        ),
        (f"a,{CREDITOR.hex()},-4,USD", "line 2, column 3 (amount): '-4' is not an amount"),
        (f"a,{CREDITOR.hex()},0.00,USD", "line 2, column 3 (amount): '0.00' is below"),
        (
            f"a,{CREDITOR.hex()},4.00,usd",
            "line 2, column 4 (asset): asset 'usd' is not on this network",
        ),
        (f"a,{CREDITOR.hex()},4.00", "line 2: 3 fields where the header names 4"),
        (f"a,{CREDITOR.hex()},4.00,USD,x", "line 2: 5 fields where the header names 4"),
        (f'a,{CREDITOR.hex()},"4.00,USD', "line 2: not CSV"),
        (f"{'x' * 257},{CREDITOR.hex()},4.00,USD", "line 2, column 1 (id): longer than 256"),
    ],
)
def test_a_bad_line_names_line_and_column(line: str, fault: str) -> None:
    (found,) = faults(line)
    assert found.startswith(fault)


def test_a_line_tells_all_its_faults_and_the_file_all_its_lines() -> None:
    found = faults("a b,nobody,4,USD", GOOD, "c,nobody,4,EUR")
    assert [text.split(":")[0] for text in found] == [
        "line 2, column 1 (id)", "line 2, column 2 (creditor)", "line 4, column 2 (creditor)", "line 4, column 4 (asset)",
    ]  # fmt: skip


def test_an_id_twice_is_a_fault_of_the_second_line() -> None:
    assert faults(GOOD, GOOD) == [
        "line 3, column 1 (id): the id 'INV-1' already stands in line 2 for this account"
    ]


def test_an_open_quote_spoils_its_own_line_only() -> None:
    file = read('"a,b', GOOD)
    assert len(file.lines) == 1
    assert len(file.faults) == 1


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("id,creditor,amount", "line 1: missing columns: asset"),
        ("id,creditor,amount,asset,colour", "line 1, column 5 (colour): unknown column"),
        ("id,creditor,amount,asset,id", "line 1, column 5 (id): the column 'id' stands twice"),
        ("", "line 2"),
    ],
)
def test_a_bad_header_stops_everything(header: str, fault: str) -> None:
    file = read(GOOD, header=header)
    assert file.lines == ()
    assert str(file.faults[0]).startswith(fault)


@pytest.mark.parametrize(
    ("settle_by", "fault"),
    [
        ("tomorrow", "is not a time"),
        ("2025-03-31T18:00:00", "lacks its offset"),
        ("0", "out of range"),
        ("9" * 17, "out of range"),
    ],
)
def test_a_bad_time_is_a_fault(settle_by: str, fault: str) -> None:
    (found,) = faults(f"{GOOD},{settle_by}", header=HEADER + ",settle_by")
    assert fault in found
    assert "column 5 (settle_by)" in found


def test_without_a_payer_the_column_is_wanted() -> None:
    file = parse(f"{HEADER}\n{GOOD}".encode(), NETWORK.terms, None)
    assert "no paying account" in str(file.faults[0])


def test_bytes_that_are_no_text_and_a_mark_at_the_start() -> None:
    assert "not UTF-8" in str(parse(b"id\n\xff", NETWORK.terms, PAYER).faults[0])
    assert parse(b"\xef\xbb\xbf" + f"{HEADER}\n{GOOD}".encode(), NETWORK.terms, PAYER).faults == ()
    assert "empty" in str(parse(b"", NETWORK.terms, PAYER).faults[0])


def test_a_file_has_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payment_file, "LINES_MAX", 3)
    lines = [f"a{number},{CREDITOR.hex()},1,USD" for number in range(4)]
    assert read(*lines[:3]).faults == ()
    assert "more than 3 payments" in faults(*lines)[0]
    monkeypatch.setattr(payment_file, "FILE_BYTES_MAX", 10)
    assert "larger than 10 bytes" in str(parse(b"x" * 11, NETWORK.terms, PAYER).faults[0])
