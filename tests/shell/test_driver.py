"""The driver's promises, with a disk held by hand: persist before send, halt before sign, tick not before its time."""

import asyncio
import json
from pathlib import Path

import pytest

from tallystick.network.wire.faults import InvariantError, OperationalError, Refused
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.effects import (
    Answer,
    Batch,
    CheckBodies,
    Effects,
    Halt,
    Hearsay,
    Promise,
    Reply,
    TraceEvent,
)
from tallystick.node.core.events import (
    BodiesChecked,
    ClientGone,
    Event,
    PeerDown,
    PeerUp,
    Persisted,
    Submit,
    Tick,
    Wait,
)
from tallystick.node.runtime.driver import LAST_WORD_SECONDS, SUBMISSIONS_MAX
from tallystick.node.runtime.verifiers import SLICE
from tests.shell.stage import Shell, frames, silent, ticking
from tests.shell.virtual_time import START_MS, play

A, B = NodeId(1), NodeId(2)


def vote(token: int, *more: Promise) -> Effects:
    """A step that persists and then promises."""
    return Effects(Batch(token, {b"k": b"v"}), (Promise(None, b"vote-%d" % token), *more))


def test_a_promise_leaves_only_when_its_batch_is_durable(tmp_path: Path) -> None:
    shell = Shell(tmp_path, frames({b"p": vote(1)}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"p")
        assert shell.story == []
        shell.disk.sync()
        assert shell.story == ["synced 1", "promise vote-1 to all"]
        assert shell.replica.of_kind(Persisted) == [Persisted(1)]

    play(story(), shell.loop)


def test_hearsay_leaves_at_once_while_the_promise_of_the_same_step_waits(tmp_path: Path) -> None:
    step = Effects(Batch(1, {}), (Promise(B, b"held"),), immediate=(Hearsay(None, b"bodies"),))
    shell = Shell(tmp_path, frames({b"p": step}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"p")
        assert shell.story == ["hearsay bodies to all"]
        shell.disk.sync()
        assert shell.story[1:] == ["synced 1", "promise held to 2"]

    play(story(), shell.loop)


def test_a_promise_without_a_batch_waits_for_every_batch_before_it(tmp_path: Path) -> None:
    bare = Effects(after_persist=(Promise(A, b"bare"),))
    shell = Shell(tmp_path, frames({b"1": vote(1), b"2": vote(2), b"bare": bare, b"3": vote(3)}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"bare")
        assert shell.story == ["promise bare to 1"]  # nothing waits, so it rests on what is durable
        shell.story.clear()
        for frame in (b"1", b"2", b"bare", b"3"):
            shell.driver.on_frame(A, frame)
        assert shell.story == []
        shell.disk.sync()
        assert shell.story == ["synced 1", "promise vote-1 to all"]
        shell.disk.sync(2)
        assert shell.story[2:] == [
            "synced 2,3",
            "promise vote-2 to all",
            "promise bare to 1",
            "promise vote-3 to all",
        ]
        assert shell.driver.batches_pending == 0

    play(story(), shell.loop)


def test_a_batch_released_inside_a_group_still_waits_for_its_own_turn(tmp_path: Path) -> None:
    """`Persisted(1)` asks for a new batch while batch 2 of the same group is being told."""

    def script(event: Event, now_ms: int) -> Effects:
        if isinstance(event, Persisted) and event.token == 1:
            return vote(3)
        return frames({b"1": vote(1), b"2": vote(2)})(event, now_ms)

    shell = Shell(tmp_path, script)

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"1")
        shell.driver.on_frame(A, b"2")
        shell.disk.sync(2)
        assert shell.story == ["synced 1,2", "promise vote-1 to all", "promise vote-2 to all"]
        shell.disk.sync()
        assert shell.story[3:] == ["synced 3", "promise vote-3 to all"]

    play(story(), shell.loop)


def test_a_failed_sync_halts_and_no_waiting_promise_ever_leaves(tmp_path: Path) -> None:
    shell = Shell(
        tmp_path, frames({b"1": vote(1), b"h": Effects(immediate=(Hearsay(A, b"late"),))})
    )

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"1")
        shell.disk.fail(OperationalError("the database cannot write: no space left"))
        assert shell.signer.sealed
        assert "no space left" in await shell.driver.wait_halted()
        shell.disk.sync()
        shell.driver.on_frame(A, b"h")
        assert shell.story == ["synced 1"]
        assert "no space left" in str(shell.driver.status().halted)
        with pytest.raises(Refused) as refused:
            await shell.driver.submit([b"x"], Wait.FINAL)
        assert refused.value.reason is RejectReason.NOT_READY

    play(story(), shell.loop)


def test_tokens_out_of_order_are_our_own_mistake_and_halt(tmp_path: Path) -> None:
    shell = Shell(tmp_path, frames({b"1": vote(1), b"2": vote(2)}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"1")
        shell.driver.on_frame(A, b"2")
        shell.disk.waiting.reverse()
        shell.disk.sync()
        assert "out of order" in str(shell.driver.halted)
        assert shell.story == ["synced 2"]

    play(story(), shell.loop)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InvariantError("supply is not conserved", asset="USD"), "our own rule was broken"),
        (OperationalError("the database cannot read"), "the world failed us"),
        (KeyError("surprise"), "a step failed"),
    ],
)
def test_whatever_breaks_a_step_seals_the_signer_and_leaves_a_diagnosis(
    tmp_path: Path, error: Exception, words: str
) -> None:
    def script(event: Event, now_ms: int) -> Effects:
        if isinstance(event, PeerUp):
            return Effects(trace=(TraceEvent("view-change", {"view": 3, "vote_key": b"x" * 32}),))
        if isinstance(event, PeerDown):
            raise error
        return Effects()

    shell = Shell(tmp_path, script)

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_peer_up(A)
        shell.driver.on_peer_down(A)
        assert words in await shell.driver.wait_halted()
        assert shell.signer.sealed

    play(story(), shell.loop)
    (path,) = tmp_path.glob("halt-*.json")
    bundle = json.loads(path.read_text())
    assert bundle["error"]["type"] == type(error).__name__
    assert bundle["status"] == {"height": 7, "halted": None}
    (event,) = bundle["trace"]
    assert event["facts"] == {"view": 3, "vote_key": "[redacted]"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_halt_in_the_middle_of_a_step_keeps_the_rest_of_it_back(tmp_path: Path) -> None:
    step = Effects(
        Batch(1, {}),
        (Promise(None, b"vote"),),
        immediate=(Halt("f+1 members disagree"), Hearsay(None, b"bodies")),
    )
    shell = Shell(tmp_path, frames({b"p": step}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"p")
        assert shell.driver.halted == "f+1 members disagree"
        assert (shell.story, shell.disk.waiting) == ([], [])

    play(story(), shell.loop)


def test_a_tick_comes_at_its_deadline_and_not_before(tmp_path: Path) -> None:
    wanted = [START_MS + 500, START_MS + 501, START_MS + 2_000]
    shell = Shell(tmp_path, ticking(list(wanted)))

    async def story() -> None:
        await shell.driver.start()
        await asyncio.sleep(5)
        await shell.driver.stop()

    play(story(), shell.loop)
    assert [at for at, event in shell.replica.heard if isinstance(event, Tick)] == [
        START_MS,
        *wanted,
    ]


def test_an_earlier_deadline_replaces_a_later_one_and_a_later_one_is_kept_waiting(
    tmp_path: Path,
) -> None:
    answers = {b"%d" % ms: Effects(deadline_ms=START_MS + ms) for ms in (100, 300, 900)}
    shell = Shell(tmp_path, frames(answers))

    async def story() -> None:
        await shell.driver.start()
        for frame in (b"300", b"100", b"900"):
            shell.driver.on_frame(A, frame)
        await asyncio.sleep(5)
        await shell.driver.stop()

    play(story(), shell.loop)
    ticks = [at - START_MS for at, event in shell.replica.heard if isinstance(event, Tick)]
    assert ticks == [0, 900]  # the last wish counts; the alarm for 100 rang and was set again


def test_checks_that_wait_together_are_made_together_and_answered_each(tmp_path: Path) -> None:
    half = SLICE // 2
    answers = {
        b"%d" % n: Effects(immediate=(CheckBodies(n, (b"%d" % n,) * half),)) for n in range(1, 4)
    }
    shell = Shell(tmp_path, frames(answers))

    async def story() -> None:
        await shell.driver.start()
        for n in range(1, 4):
            shell.driver.on_frame(A, b"%d" % n)
        await asyncio.sleep(0.1)
        await shell.driver.stop()

    play(story(), shell.loop)
    assert [len(bodies) for bodies in shell.verifiers.rounds] == [SLICE, half]
    checked = shell.replica.of_kind(BodiesChecked)
    assert [(event.token, len(event.verdicts)) for event in checked] == [
        (n, half) for n in (1, 2, 3)
    ]


def _answers(state: str, *bodies: bytes) -> tuple[Answer, ...]:
    return tuple(Answer(state, BodyId(body)) for body in bodies)


def test_a_submission_is_answered_when_what_it_rests_on_is_durable(tmp_path: Path) -> None:
    def script(event: Event, now_ms: int) -> Effects:
        if isinstance(event, Submit):
            return Effects(Batch(1, {}), (Reply(event.token, _answers("received", *event.bodies)),))
        return Effects()

    shell = Shell(tmp_path, script)

    async def story() -> None:
        await shell.driver.start()
        call = asyncio.create_task(shell.driver.submit([b"x"], Wait.RECEIVED))
        await asyncio.sleep(1)
        assert not call.done()
        shell.disk.sync()
        assert await call == _answers("received", b"x")

    play(story(), shell.loop)


def test_after_its_time_a_submission_says_how_far_it_came(tmp_path: Path) -> None:
    def script(event: Event, now_ms: int) -> Effects:
        if isinstance(event, ClientGone):
            return Effects(after_persist=(Reply(event.token, _answers("accepted", b"x")),))
        return Effects()

    shell = Shell(tmp_path, script)

    async def story() -> None:
        await shell.driver.start()
        began = shell.loop.time()
        assert await shell.driver.submit([b"x"], Wait.FINAL, timeout_s=3) == _answers(
            "accepted", b"x"
        )
        assert shell.loop.time() - began == pytest.approx(3)

    play(story(), shell.loop)


def test_a_core_that_never_says_how_far_it_came_leaves_the_outcome_open(tmp_path: Path) -> None:
    shell = Shell(tmp_path, silent)

    async def story() -> None:
        await shell.driver.start()
        with pytest.raises(OperationalError, match="how far"):
            await shell.driver.submit([b"x"], Wait.FINAL, timeout_s=1)
        assert shell.loop.time() == pytest.approx(1 + LAST_WORD_SECONDS)

    play(story(), shell.loop)


def test_a_client_that_goes_away_is_reported_and_its_late_answer_hurts_nobody(
    tmp_path: Path,
) -> None:
    late: list[Reply] = []

    def script(event: Event, now_ms: int) -> Effects:
        if isinstance(event, Submit):
            late.append(Reply(event.token, _answers("final", b"x")))
        if isinstance(event, PeerUp):
            return Effects(after_persist=tuple(late))
        return Effects()

    shell = Shell(tmp_path, script)

    async def story() -> None:
        await shell.driver.start()
        call = asyncio.create_task(shell.driver.submit([b"x"], Wait.FINAL))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert len(shell.replica.of_kind(ClientGone)) == 1
        shell.driver.on_peer_up(A)
        assert shell.driver.halted is None

    play(story(), shell.loop)


def test_submissions_at_the_bound_wait_and_one_more_is_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path, silent)

    async def story() -> None:
        await shell.driver.start()
        calls = [
            asyncio.create_task(shell.driver.submit([b"x"], Wait.FINAL))
            for _ in range(SUBMISSIONS_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Refused) as refused:
            await shell.driver.submit([b"x"], Wait.FINAL)
        assert refused.value.reason is RejectReason.OVERLOADED
        await shell.driver.stop()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, OperationalError) for outcome in outcomes)
        assert shell.disk.stopped

    play(story(), shell.loop)


def test_garbage_that_the_core_finds_is_blamed_on_its_peer(tmp_path: Path) -> None:
    found = Effects(trace=(TraceEvent("peer-garbage", {"peer": 2, "reason": "MALFORMED"}),))
    shell = Shell(tmp_path, frames({b"g": found}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(B, b"g")
        assert shell.network.blamed == [B]

    play(story(), shell.loop)


def test_what_a_block_decided_is_counted(tmp_path: Path) -> None:
    facts = {"height": 9, "settled": 3, "rejected": {"INSUFFICIENT_FUNDS": 2}}
    shell = Shell(tmp_path, frames({b"b": Effects(trace=(TraceEvent("block-final", facts),))}))

    async def story() -> None:
        await shell.driver.start()
        shell.driver.on_frame(A, b"b")

    play(story(), shell.loop)
    text = shell.telemetry.exposition().decode()
    assert "tallystick_settled_total 3.0" in text
    assert 'tallystick_rejected_total{reason="INSUFFICIENT_FUNDS"} 2.0' in text
