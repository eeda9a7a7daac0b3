"""Rows of windows that are not what the state's record says of them are named, open windows' and closed ones' alike."""

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.windows import ENTRY_BYTES, window_key, window_record, window_start
from tallystick.node.core import schema
from tallystick.node.core.schema import consumed_row
from tallystick.node.upkeep.findings import Level
from tests.unit.core.lab import STEADY, Lab
from tests.unit.upkeep.stage import looked, stored, with_byte

WINDOW_MS = 5_000


@pytest.fixture(scope="module")
def lab() -> Lab:
    """One window is closed and holds three entries of two blocks, another is open."""
    lab = Lab(parameters=replace(STEADY, window_ms=WINDOW_MS, idle_block_ms=1_000))
    soon_ms = lab.now_ms + 10_000
    lab.answer(0, lab.issue())
    lab.submit(0, *[lab.pay(valid_until_ms=soon_ms) for _ in range(2)])
    lab.settle()
    lab.answer(0, lab.pay(valid_until_ms=soon_ms))
    lab.pass_time(20_000)
    lab.answer(0, lab.pay())
    return lab


@pytest.fixture
def rows(lab: Lab) -> dict[bytes, bytes]:
    return stored(lab)


def starts(rows: dict[bytes, bytes]) -> list[int]:
    """Of the windows with entries, the closed one first."""
    return sorted({int.from_bytes(key[1:9], "big") for key in rows if key[:1] == schema.CONSUMED})


def test_a_sound_ledgers_windows_are_sound(lab: Lab, rows: dict[bytes, bytes]) -> None:
    assert looked(lab, rows, Level.EXECUTE).findings == ()
    records = [window_record(rows[schema.RECORD + window_key(start)]) for start in starts(rows)]
    kinds = [type(each).__name__ for each in records]
    assert (kinds[0], set(kinds[1:])) == ("ClosedWindow", {"OpenWindow"})
    assert records[0].count == 3
    assert starts(rows)[0] == window_start(starts(rows)[0], WINDOW_MS)


@pytest.mark.parametrize("which", [0, 1], ids=["closed", "open"])
@pytest.mark.parametrize("harm", ["a changed byte", "missing", "cut", "one entry less"])
def test_a_spoilt_row_is_named_by_its_window(
    lab: Lab, rows: dict[bytes, bytes], which: int, harm: str
) -> None:
    start_ms = starts(rows)[which]
    key = consumed_row(start_ms, 0)
    value = rows.pop(key)
    if harm == "a changed byte":
        rows[key] = with_byte(value, len(value) // 2)
    elif harm == "cut":
        rows[key] = value[:-1]
    elif harm == "one entry less" and len(value) > ENTRY_BYTES:
        rows[key] = value[ENTRY_BYTES:]
    findings = looked(lab, rows, Level.MERKLE).findings
    assert any(each.key == schema.RECORD + window_key(start_ms) for each in findings), findings


def test_a_row_that_no_window_has_is_nobodys(lab: Lab, rows: dict[bytes, bytes]) -> None:
    rows[consumed_row(starts(rows)[0], 9)] = bytes(ENTRY_BYTES)
    (finding,) = looked(lab, rows, Level.MERKLE).findings
    assert "1 rows more" in finding.sentence()
