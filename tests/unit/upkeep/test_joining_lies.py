"""A snapshot in which anything was changed, left out or swapped is refused with a reason, and its source is named."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.network.wire.faults import OperationalError, Refused, present
from tallystick.network.wire.ids import Height, NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core import schema
from tallystick.node.core.messages import (
    CATCH_UP_MESSAGE,
    AskOutlines,
    AskState,
    CatchUpMessage,
    Outlines,
    StateChunk,
)
from tallystick.node.core.snapshots import STATE_TABLES
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.aside import unfinished
from tallystick.node.upkeep.joining import join
from tallystick.node.upkeep.peers import answers
from tallystick.node.upkeep.snapshots import Snapshot
from tests.unit.core.lab import Lab
from tests.unit.upkeep.disk import rows_in
from tests.unit.upkeep.joiners import Members, Spoil, equals_executed, joined, table
from tests.unit.upkeep.stage import grown


@pytest.fixture(scope="module")
def lab() -> Lab:
    return grown()


# -- liars -----------------------------------------------------------------------------------------------------------


def _outlines(change: Callable[[Outlines], Outlines]) -> Spoil:
    return lambda _, answer: (
        change(answer) if isinstance(answer, Outlines) and answer.blocks else answer
    )


def _state(change: Callable[[StateChunk], StateChunk]) -> Spoil:
    return lambda _, answer: (
        change(answer) if isinstance(answer, StateChunk) and answer.rows else answer
    )


def _last_outcome_left_out(answer: Outlines) -> Outlines:
    at = next(i for i, block in enumerate(answer.blocks) if block.outcomes)
    blocks = list(answer.blocks)
    blocks[at] = replace(blocks[at], outcomes=blocks[at].outcomes[:-1])
    return replace(answer, blocks=tuple(blocks))


def _alone_left_out(answer: Outlines) -> Outlines:
    return replace(answer, blocks=tuple(replace(block, alone=()) for block in answer.blocks))


def _one_vote(answer: Outlines) -> Outlines:
    certificate = present(answer.certificate, "a run without a certificate")
    return replace(answer, certificate=replace(certificate, votes=certificate.votes[:1]))


LIES: dict[str, Spoil] = {
    "an outcome is left out": _outlines(_last_outcome_left_out),
    "what took no id is left out": _outlines(_alone_left_out),
    "blocks are swapped": _outlines(lambda answer: replace(answer, blocks=answer.blocks[::-1])),
    "the last block is left out": _outlines(
        lambda answer: replace(answer, blocks=answer.blocks[:-1])
    ),
    "no certificate": _outlines(lambda answer: replace(answer, certificate=None)),
    "one vote only": _outlines(_one_vote),
    "a row is left out": _state(lambda chunk: replace(chunk, rows=chunk.rows[1:])),
    "a row is given twice": _state(lambda chunk: replace(chunk, rows=(*chunk.rows, chunk.rows[0]))),
    "a row of another table": _state(
        lambda chunk: replace(chunk, rows=((schema.FINAL, bytes(40)), *chunk.rows))
    ),
    "a row of exactly-once": _state(
        lambda chunk: replace(chunk, rows=((b"t" + bytes(52), bytes(44)), *chunk.rows))
    ),
    "two rows are swapped": _state(
        lambda chunk: replace(
            chunk,
            rows=(
                (chunk.rows[0][0], chunk.rows[1][1]),
                (chunk.rows[1][0], chunk.rows[0][1]),
                *chunk.rows[2:],
            ),
        )
    ),
    "rows without end": lambda _, answer: (
        replace(
            answer,
            rows=((b"rx" + bytes(answer.number % 400) + bytes([answer.number // 400]), b""),),
            last=False,
        )
        if isinstance(answer, StateChunk) and answer.number
        else answer
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_member_is_named_and_another_one_is_asked(lab: Lab, lie: str) -> None:
    named: dict[NodeId, str] = {}
    for turn in range(3):  # whoever is asked first
        store, attempt = joined(lab, Members(lab, m0=LIES[lie]), turn)
        equals_executed(lab, store)
        named |= attempt.dropped
    assert set(named) == {NodeId(0)}
    assert named[NodeId(0)].split(":")[0] in RejectReason.__members__


@pytest.mark.parametrize("lie", LIES)
def test_with_liars_alone_nothing_is_put_in_place(lab: Lab, lie: str, tmp_path: Path) -> None:
    members = Members(lab, (0,), m0=LIES[lie])
    with pytest.raises(OperationalError, match="no member gives the rest of the snapshot now"):
        asyncio.run(join(tmp_path, lab.genesis, members, check_vote=lab.keys.verify))
    assert not (tmp_path / "ledger").exists()
    assert "`--join`" in (unfinished(tmp_path) or "")
    done = asyncio.run(join(tmp_path, lab.genesis, Members(lab), check_vote=lab.keys.verify))
    assert done is not None
    assert done.state_root == lab.core(0).ledger.state.root
    assert unfinished(tmp_path) is None
    assert table(rows_in(tmp_path), schema.TAKEN) == table(
        lab.box(0).store.snapshot(), schema.TAKEN
    )
    again = asyncio.run(join(tmp_path, lab.genesis, Members(lab), check_vote=lab.keys.verify))
    assert again is None


def changed(data: bytes) -> list[bytes]:
    """Every byte changed, every shorter one, and halves swapped."""
    middle = len(data) // 2
    return [
        *(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))),
        *(data[:at] for at in range(len(data))),
        data[middle:] + data[:middle],
    ]


def is_refused(encoded: bytes, take: Callable[[CatchUpMessage], object]) -> bool:
    try:
        message = CATCH_UP_MESSAGE.decode(encoded)
        take(message)
    except Refused as refused:
        return bool(refused.detail)
    return False


def test_every_byte_of_a_run_of_outlines_counts(lab: Lab) -> None:
    ledger = lab.core(0).ledger
    members = Members(lab, (0,))
    answer = asyncio.run(members.ask(NodeId(0), AskOutlines(1, 2**62)))
    assert isinstance(answer, Outlines)
    encoded = CATCH_UP_MESSAGE.encode(answer)
    claim = CATCH_UP_MESSAGE.encode(replace(answer, final_height=Height(0)))
    tried = 0
    for wrong in changed(encoded):

        def take(message: CatchUpMessage) -> None:
            if not answers(AskOutlines(1, 2**62), message) or not isinstance(message, Outlines):
                raise Refused(RejectReason.MALFORMED, "not an answer to that question")
            if CATCH_UP_MESSAGE.encode(replace(message, final_height=Height(0))) == claim:
                raise Refused(
                    RejectReason.BAD_FIELD,
                    "only the sender's claim of its height, which nothing rests on",
                )
            made = Snapshot(lab.genesis, MemoryStore(), lab.keys.verify)
            if not made.take_outlines(message):
                raise Refused(RejectReason.NOT_FOUND, "no blocks")

        assert is_refused(wrong, take)
        tried += 1
    assert tried > 2 * ledger.height


def test_every_byte_of_the_state_counts(lab: Lab) -> None:
    whole, _ = joined(lab, Members(lab))
    blocks = {
        key: value
        for key, value in whole.snapshot().items()
        if key[:1] not in (*STATE_TABLES, b"m")
    }
    members = Members(lab, (0,))
    height = lab.core(0).ledger.height
    first = asyncio.run(members.ask(NodeId(0), AskState(0, 0)))
    members.now_ms += 1_000
    chunk = asyncio.run(members.ask(NodeId(0), AskState(height, 1)))
    assert isinstance(first, StateChunk)
    assert isinstance(chunk, StateChunk)
    assert chunk.last
    begun = Snapshot(lab.genesis, MemoryStore(), lab.keys.verify)
    answer = asyncio.run(Members(lab, (0,)).ask(NodeId(0), AskOutlines(1, 2**62)))
    assert isinstance(answer, Outlines)
    begun.take_outlines(answer)
    assert first.certificate is not None
    begun.begin_state(first.certificate, 0)
    rows = begun._target.snapshot()  # type: ignore[attr-defined]
    assert blocks.items() <= rows.items()

    def take(message: CatchUpMessage) -> None:
        if not answers(AskState(height, 1), message) or not isinstance(message, StateChunk):
            raise Refused(RejectReason.MALFORMED, "not an answer to that question")
        made = Snapshot(lab.genesis, MemoryStore(rows), lab.keys.verify)
        if message.certificate is not None or not made.take_rows(message):
            raise Refused(RejectReason.MALFORMED, "another chunk would have to follow")
        made.finish()

    take(chunk)
    wrongs = changed(CATCH_UP_MESSAGE.encode(chunk))
    for wrong in wrongs:
        assert is_refused(wrong, take)


def test_every_byte_of_the_certificate_counts(lab: Lab) -> None:
    answer = asyncio.run(Members(lab, (0,)).ask(NodeId(0), AskOutlines(1, 2**62)))
    first = asyncio.run(Members(lab, (0,)).ask(NodeId(0), AskState(0, 0)))
    assert isinstance(answer, Outlines)

    def take(message: CatchUpMessage) -> None:
        if not answers(AskState(0, 0), message) or not isinstance(message, StateChunk):
            raise Refused(RejectReason.MALFORMED, "not an answer to that question")
        if (
            message.certificate is None
            or message.rows
            or message.last
            or message.height != message.certificate.height
        ):
            raise Refused(RejectReason.MALFORMED, "not a state's beginning")
        made = Snapshot(lab.genesis, MemoryStore(), lab.keys.verify)
        made.take_outlines(answer)
        made.check(message.certificate)
        made.begin_state(message.certificate, 0)

    assert first is not None
    take(first)
    for wrong in changed(CATCH_UP_MESSAGE.encode(first)):
        assert is_refused(wrong, take)
