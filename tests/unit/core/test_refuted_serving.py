"""Refuted: that whoever asks a few bytes can never halt the node that answers."""

import pytest

from tallystick.network.wire import bounds, frames
from tallystick.network.wire.frames import Channel
from tallystick.node.core import catch_up
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import CATCH_UP_MESSAGE, AskBlocks, Blocks, FinalBlock
from tests.unit.core.lab import Lab

LONG = 9
"""The last block before the long run."""


def long_chain() -> Lab:
    """Member 3 is down from the first block on."""
    lab = Lab()
    lab.crash(3)
    lab.answer(0, lab.issue())
    for _ in range(30):
        lab.answer(0, lab.pay())
    return lab


def run_of(ledger: Ledger, first: int, last: int) -> Blocks:
    records = [ledger.block(height) for height in range(first, last + 1)]
    kept = [record for record in records if record is not None]
    blocks = tuple([FinalBlock(each.header, each.result, each.bodies) for each in kept])
    return Blocks(first, ledger.height, blocks, kept[-1].certificate)


def forgetful(lab: Lab, *runs: Blocks) -> None:
    """Member 3 has nothing, and member 0 gives it these runs."""
    lab.start(3)
    for run in runs:
        lab.core(3).catch_up.owing.add(lab.box(0).node)
        lab.say_catch_up(0, 3, run)


def bounded(monkeypatch: pytest.MonkeyPatch, frame_bytes: int) -> None:
    """Frames so small that this chain plays the part of a long one."""
    most = list(frames._PAYLOAD_BYTES_MAX)
    most[Channel.CATCH_UP] = frame_bytes
    monkeypatch.setattr(frames, "_PAYLOAD_BYTES_MAX", tuple(most))
    monkeypatch.setattr(catch_up, "RUN_BYTES_MAX", frame_bytes)
    monkeypatch.setattr(bounds, "CATCH_UP_BYTES", frame_bytes // 4)


def test_a_long_run_behind_others_is_served_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run keeps only its last certificate. Together with the blocks before it, it may be longer than a frame."""
    lab = long_chain()
    ledger = lab.core(0).ledger
    early, late = run_of(ledger, 1, LONG), run_of(ledger, LONG + 1, ledger.height)
    bounded(monkeypatch, len(CATCH_UP_MESSAGE.encode(late)) + 2_500)
    forgetful(lab, early, late)
    assert lab.core(3).ledger.height == ledger.height
    for height in range(1, LONG + 2):
        lab.say_catch_up(1, 3, AskBlocks(height))
        assert lab.box(3).halted is None
    given = [said for said in lab.said_catch_up(3) if isinstance(said, Blocks)]
    assert given[0].blocks[-1].header.height == LONG
    assert given[-1].blocks[-1].header.height == ledger.height


def test_a_run_that_could_never_be_served_on_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = long_chain()
    ledger = lab.core(0).ledger
    whole = run_of(ledger, 1, ledger.height)
    bounded(monkeypatch, len(CATCH_UP_MESSAGE.encode(whole)))
    forgetful(lab, whole)
    assert lab.core(3).ledger.height < ledger.height
    assert lab.box(3).halted is None
