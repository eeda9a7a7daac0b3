"""A sound ledger is sound at every level; a changed, missing, swapped or surplus row is named, whatever table it is in."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tallystick.contracts import decisions, machine
from tallystick.network.wire.blocks import link_of
from tallystick.network.wire.ids import Link
from tallystick.node.core import schema
from tallystick.node.core.ledger import BLOCK_RECORD, BlockRecord, _encode
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep import findings
from tallystick.node.upkeep.findings import EXIT_DAMAGED, EXIT_DIVERGED, EXIT_SOUND, Level
from tallystick.node.upkeep.verifying import verify
from tests.unit.core.lab import Lab
from tests.unit.upkeep.stage import DERIVED, grown, looked, stored, with_byte


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


@pytest.fixture
def rows(lab: Lab) -> dict[bytes, bytes]:
    return stored(lab)


def block_key(height: int) -> bytes:
    return schema.at_height(schema.BLOCK, height)


def record_at(rows: dict[bytes, bytes], height: int) -> BlockRecord:
    return BLOCK_RECORD.decode(rows[block_key(height)])


@pytest.mark.parametrize("level", list(Level))
def test_a_sound_ledger_is_sound_at_every_level(
    lab: Lab, rows: dict[bytes, bytes], level: Level
) -> None:
    said: list[tuple[str, int, int]] = []
    report = verify(
        MemoryStore(rows),
        lab.genesis,
        level,
        lambda *words: said.append(words),
        check_vote=lab.keys.verify,
    )
    assert report.findings == ()
    assert report.exit_code == EXIT_SOUND
    assert (report.height, report.link) == (7, lab.core(0).ledger.link)
    assert report.rows == len(rows)
    assert report.blocks == (0 if level is Level.RECORDS else 7)
    if level >= Level.MERKLE:
        assert report.state_root == lab.core(0).ledger.state.root
        assert report.transactions == 6
    assert said[0][0] == "records"
    assert said[-1][0] == {1: "records", 2: "headers", 3: "state", 4: "execute"}[level]


def test_the_ledger_holds_a_row_of_every_derived_table(rows: dict[bytes, bytes]) -> None:
    """Else the tests below would damage nothing."""
    assert {key[:1] for key in rows} >= set(DERIVED)


def test_a_ledger_without_blocks_is_sound() -> None:
    fresh = Lab(running=(0,))
    fresh.settle()
    report = looked(fresh, stored(fresh), Level.EXECUTE)
    assert (report.height, report.exit_code) == (0, EXIT_SOUND)


@pytest.mark.parametrize("table", [*DERIVED, schema.FINAL], ids=lambda table: table.decode())
def test_every_changed_byte_of_a_row_is_found_and_the_row_named(
    lab: Lab, rows: dict[bytes, bytes], table: bytes
) -> None:
    """One row of the table, each byte of its value."""
    key = max(key for key in rows if key.startswith(table))
    value = rows[key]
    for at in range(len(value)):
        report = looked(lab, {**rows, key: with_byte(value, at, 0x10)}, Level.EXECUTE)
        assert report.exit_code != EXIT_SOUND, at
        assert key in {finding.key for finding in report.findings}, at


@pytest.mark.parametrize("table", DERIVED, ids=lambda table: table.decode())
def test_a_missing_row_a_surplus_row_and_two_swapped_rows_are_named(
    lab: Lab, rows: dict[bytes, bytes], table: bytes
) -> None:
    keys = sorted(key for key in rows if key.startswith(table))
    for key in keys:
        report = looked(lab, {name: rows[name] for name in rows if name != key}, Level.EXECUTE)
        assert key in {finding.key for finding in report.findings}, key
    surplus = table + (
        b"\xff" * (len(keys[0]) - 1) if table != schema.BLOCK else bytes(7) + b"\x09"
    )
    report = looked(lab, {**rows, surplus: rows[keys[0]]}, Level.EXECUTE)
    assert surplus in {finding.key for finding in report.findings}
    if len(keys) > 1:
        one, two = keys[0], keys[-1]
        report = looked(lab, {**rows, one: rows[two], two: rows[one]}, Level.EXECUTE)
        assert {one, two} <= {finding.key for finding in report.findings}


def test_a_row_of_no_table_is_named(lab: Lab, rows: dict[bytes, bytes]) -> None:
    report = looked(lab, {**rows, b"Zebra": b"1"}, Level.RECORDS)
    assert [finding.sentence() for finding in report.findings] == [
        "unknown 5a65627261: this release knows no such table"
    ]


def test_a_damaged_promise_is_named(lab: Lab, rows: dict[bytes, bytes]) -> None:
    for key in (schema.GUARD, schema.ENGINE):
        report = looked(lab, {**rows, key: rows[key][:-1]}, Level.RECORDS)
        assert [finding.key for finding in report.findings] == [key]
    pending = schema.PENDING + bytes(32)
    report = looked(lab, {**rows, pending: b"garbage"}, Level.RECORDS)
    assert [finding.sentence() for finding in report.findings] == [
        f"pending {pending.hex()}: is not a block"
    ]
    batch = schema.BATCH + bytes(32)
    report = looked(lab, {**rows, batch: _encode([b"transaction"])}, Level.RECORDS)
    assert "not those that its key names" in report.findings[0].sentence()


# -- what only the chain tells -----------------------------------------------------------------------------------------


def with_record(rows: dict[bytes, bytes], height: int, record: BlockRecord) -> dict[bytes, bytes]:
    """The block in its place, with the link row that fits: only certificates know better."""
    link = link_of(record.header, record.result)
    changed = {**rows, block_key(height): _encode(record)}
    changed[schema.at_height(schema.LINK, height)] = link
    return changed


def other_time(record: BlockRecord) -> BlockRecord:
    return replace(record, header=replace(record.header, time_ms=record.header.time_ms + 1))


def other_result(record: BlockRecord) -> BlockRecord:
    return replace(record, result=replace(record.result, state_root=bytes(32)))


def fewer_votes(record: BlockRecord) -> BlockRecord:
    certificate = record.certificate
    return replace(record, certificate=replace(certificate, votes=certificate.votes[:2]))


def forged_vote(record: BlockRecord) -> BlockRecord:
    votes = record.certificate.votes
    bad = replace(votes[0], signature=with_byte(votes[0].signature, 9))
    return replace(record, certificate=replace(record.certificate, votes=(bad, *votes[1:])))


def prepares(record: BlockRecord) -> BlockRecord:
    return replace(record, certificate=replace(record.certificate, phase=1))


def unknown_epoch(record: BlockRecord) -> BlockRecord:
    return replace(record, certificate=replace(record.certificate, epoch=7))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (other_time, "its certificate is of another block"),
        (other_result, "its certificate is of another block"),
        (fewer_votes, "fewer votes than a quorum"),
        (forged_vote, "is not genuine"),
        (prepares, "votes to prepare"),
        (unknown_epoch, "its certificate is of epoch 7"),
    ],
)
def test_a_block_that_no_quorum_certified_is_told_from_one_that_it_did(
    lab: Lab,
    rows: dict[bytes, bytes],
    change: Callable[[BlockRecord], BlockRecord],
    what: str,
) -> None:
    changed = with_record(rows, 4, change(record_at(rows, 4)))
    report = looked(lab, changed, Level.HEADERS)
    assert any(
        what in finding.what and finding.height == 4 and finding.table == "blocks"
        for finding in report.findings
    ), report.findings
    assert report.exit_code == EXIT_DAMAGED


def test_one_damaged_block_gives_one_finding_and_not_one_for_each_of_its_children(
    lab: Lab, rows: dict[bytes, bytes]
) -> None:
    report = looked(lab, {**rows, block_key(3): b"\xc0"}, Level.MERKLE)
    assert [(finding.table, finding.height) for finding in report.findings] == [("blocks", 3)]


def test_a_block_that_is_certified_and_executes_differently_here_is_a_divergence(
    lab: Lab, rows: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this release had changed what a transfer does."""
    kind = next(kind for kind in machine._CONTRACTS if kind.__name__ == "Transfer")
    number = machine._CONTRACTS[kind][0]
    monkeypatch.setitem(machine._CONTRACTS, kind, (number, lambda *_: decisions.NOT_PERMITTED))
    report = looked(lab, rows, Level.EXECUTE)
    assert report.exit_code == EXIT_DIVERGED
    [finding] = report.findings
    assert finding.height == 3
    assert "our execution differs from transaction 0 on" in finding.what


def test_findings_are_bounded_and_the_rest_is_counted(
    lab: Lab, rows: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "FINDINGS_MAX", 3)
    strange = {b"Z%d" % number: b"" for number in range(9)}
    report = looked(lab, {**rows, **strange}, Level.RECORDS)
    assert (len(report.findings), report.left_out) == (3, 6)


def test_blocks_that_one_later_certificate_covers_are_sound_and_a_wrong_one_is_named(
    lab: Lab, rows: dict[bytes, bytes]
) -> None:
    above = record_at(rows, 5).certificate
    covered = with_record(rows, 4, replace(record_at(rows, 4), certificate=above))
    assert looked(lab, covered, Level.MERKLE).exit_code == EXIT_SOUND
    other = replace(above, view=above.view + 1)
    wrong = with_record(rows, 4, replace(record_at(rows, 4), certificate=other))
    report = looked(lab, wrong, Level.HEADERS)
    assert [finding.what for finding in report.findings] == [
        "its certificate is not the one of block 5"
    ]
    beyond = replace(above, height=99, link=Link(bytes(32)))
    report = looked(
        lab, with_record(rows, 7, replace(record_at(rows, 7), certificate=beyond)), Level.HEADERS
    )
    assert "above all" in report.findings[0].what
