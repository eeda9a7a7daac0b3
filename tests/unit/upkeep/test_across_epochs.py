"""A ledger whose members have changed is judged by each epoch's own members: verified, rebuilt and restored across the change."""

import asyncio
from pathlib import Path

import pytest

from tallystick.network.wire.faults import OperationalError
from tallystick.node.core import schema
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.findings import EXIT_SOUND, Level
from tallystick.node.upkeep.rebuilding import Rebuilding
from tests.unit.core.test_epochs import Epochs, settled
from tests.unit.upkeep.stage import Peer, looked, stored, with_byte
from tests.unit.upkeep.test_backup import made, taken


@pytest.fixture(scope="module")
def lab() -> Epochs:
    """Member 1 gave way to a spare in the middle."""
    lab = Epochs()
    settled(lab, 0, lab.issue())
    settled(lab, 2, lab.activation())
    lab.pass_time(500)
    for node in (0, 2, 3):
        settled(lab, node, lab.pay())
    lab.pass_time(500)
    assert lab.level()
    assert lab.core(0).ledger.members.epoch == 1
    return lab


EPOCH_1 = schema.at_height(schema.EPOCH, 1)


@pytest.mark.parametrize("level", list(Level))
def test_it_is_sound_at_every_level(lab: Epochs, level: Level) -> None:
    assert looked(lab, stored(lab), level).exit_code == EXIT_SOUND


def test_every_changed_byte_of_the_members_row_is_found(lab: Epochs) -> None:
    rows = stored(lab)
    for at in range(len(rows[EPOCH_1])):
        changed = {**rows, EPOCH_1: with_byte(rows[EPOCH_1], at)}
        report = looked(lab, changed, Level.HEADERS)
        assert EPOCH_1 in {finding.key for finding in report.findings}, at


def test_without_the_members_row_later_certificates_are_not_believed(lab: Epochs) -> None:
    rows = stored(lab)
    del rows[EPOCH_1]
    found = looked(lab, rows, Level.HEADERS).findings
    assert found[0].key == EPOCH_1
    assert any("the members of epoch 1 are not known here" in finding.what for finding in found)


def test_it_is_rebuilt_across_the_change_whoever_gives_a_block(lab: Epochs) -> None:
    rows = stored(lab)
    ledger = lab.core(0).ledger
    for missing in range(1, ledger.height + 1):
        source = {
            key: rows[key]
            for key in rows
            if key not in (EPOCH_1, schema.at_height(schema.BLOCK, missing))
        }
        target = MemoryStore()
        peer = Peer(lab, node=2)
        work = Rebuilding(lab.genesis, MemoryStore(source), target, peer.ask, lab.keys.verify)
        made_again = asyncio.run(work.run(ledger.height))
        assert made_again.link == ledger.link
        assert target.snapshot()[EPOCH_1] == rows[EPOCH_1]
        assert missing in work.fetched


def test_its_backup_proves_the_root_by_the_new_members(lab: Epochs, tmp_path: Path) -> None:
    taken(lab, made(lab, tmp_path / "whole", stored(lab)))
    rows = stored(lab)
    del rows[EPOCH_1]
    with pytest.raises(OperationalError, match="does not hold"):
        taken(lab, made(lab, tmp_path / "without", rows))
