"""Clock, key files, verifiers, redaction, logs and the supervisor."""

import asyncio
import io
import json
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.reasons import RejectReason
from tallystick.node.core.events import BadBody, Verdict
from tallystick.node.runtime.clock import WallClock
from tallystick.node.runtime.redaction import BLOT, BYTES_SHOWN_MAX, ITEMS_MAX, plain
from tallystick.node.runtime.signers import FileVoteSigner, write_vote_key
from tallystick.node.runtime.supervisor import EXIT_HALTED, EXIT_OK, Part, Supervisor
from tallystick.node.runtime.telemetry import Telemetry, configure_logging
from tallystick.node.runtime.verifiers import (
    SLICE,
    WORKERS_MAX,
    InlineVerifiers,
    PoolVerifiers,
    Verifiers,
    process_verifiers,
    thread_verifiers,
)

# The clock ------------------------------------------------------------------------------------------


def test_the_clock_follows_the_wall_and_goes_on_slowly_when_the_wall_is_set_back() -> None:
    wall_ms, steady_ms = 1_000_000, 0
    clock = WallClock(lambda: wall_ms * 1_000_000, lambda: steady_ms * 1_000_000)
    assert clock() == 1_000_000
    wall_ms, steady_ms = 1_000_010, 10
    assert clock() == 1_000_010
    wall_ms, steady_ms = 999_000, 20  # set back by a second
    assert clock() == 1_000_015
    wall_ms, steady_ms = 999_100, 120
    assert clock() == 1_000_065
    wall_ms, steady_ms = 1_000_100, 1_120  # it has caught up
    assert clock() == 1_000_100


def test_the_clock_is_the_time_of_day_in_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= WallClock()() <= time.time_ns() // 1_000_000


# Key files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, b"correct horse"])
def test_a_vote_key_signs_what_its_public_half_verifies(
    tmp_path: Path, password: bytes | None
) -> None:
    path = tmp_path / "vote.key"
    public_key = write_vote_key(path, password)
    signer = FileVoteSigner(NodeId(3), path, password)
    assert (signer.node, signer.public_key) == (3, public_key)
    assert verify_vote(public_key, b"message", signer.sign(b"message"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_sealed_signer_never_signs_again(tmp_path: Path) -> None:
    write_vote_key(tmp_path / "vote.key")
    signer = FileVoteSigner(NodeId(1), tmp_path / "vote.key")
    signer.seal()
    with pytest.raises(InvariantError, match="halted node"):
        signer.sign(b"message")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_file_that_others_may_touch_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "vote.key"
    write_vote_key(path)
    path.chmod(mode)
    with pytest.raises(OperationalError, match="chmod 600"):
        FileVoteSigner(NodeId(1), path)


def test_a_key_file_that_is_none_says_what_is_wrong(tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted"
    write_vote_key(encrypted, b"right")
    with pytest.raises(OperationalError, match="Is the password right"):
        FileVoteSigner(NodeId(1), encrypted, b"wrong")
    with pytest.raises(OperationalError, match="cannot open the key file"):
        FileVoteSigner(NodeId(1), tmp_path / "missing")
    (tmp_path / "text").write_text("not a key")
    (tmp_path / "text").chmod(0o600)
    with pytest.raises(OperationalError, match="not a private key in PEM form"):
        FileVoteSigner(NodeId(1), tmp_path / "text")
    (tmp_path / "link").symlink_to(encrypted)
    with pytest.raises(OperationalError, match="cannot open the key file"):
        FileVoteSigner(NodeId(1), tmp_path / "link", b"right")
    with pytest.raises(OperationalError, match="never overwritten"):
        write_vote_key(encrypted)


# Verifiers ------------------------------------------------------------------------------------------


class Length:
    """A checker that calls every body bad, with its length as the detail."""

    def check(self, raw: bytes, /) -> Verdict:
        return BadBody(BodyId(raw), RejectReason.MALFORMED, str(len(raw)))


def _made(kind: str) -> Verifiers:
    match kind:
        case "inline":
            return InlineVerifiers(Length())
        case "threads":
            return thread_verifiers(Length(), 2)
        case _:
            return process_verifiers(Length, 1)


@pytest.mark.parametrize("kind", ["inline", "threads", "processes"])
async def test_verdicts_come_in_the_order_of_the_bodies_and_are_counted(kind: str) -> None:
    verifiers = _made(kind)
    bodies = [bytes(number % 200) for number in range(2 * SLICE + 3)]
    verdicts = await verifiers.check(bodies)
    assert [verdict.detail for verdict in verdicts] == [str(len(raw)) for raw in bodies]  # type: ignore[union-attr]
    assert verifiers.counters.checked_total == len(bodies)
    assert verifiers.counters.check_cpu_seconds > 0
    assert await verifiers.check([]) == ()
    await verifiers.close()


async def test_between_two_slices_others_have_their_turn() -> None:
    turns: list[str] = []

    class Noting:
        def check(self, raw: bytes, /) -> Verdict:
            turns.append("body")
            return BadBody(BodyId(raw), RejectReason.MALFORMED)

    checking = asyncio.create_task(InlineVerifiers(Noting()).check([b""] * (2 * SLICE)))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(turns.append, "vote")
    await checking
    assert turns.index("vote") == SLICE


async def test_a_verifier_process_that_dies_is_an_operational_error() -> None:
    verifiers = process_verifiers(_Suicidal, 1)
    with pytest.raises(OperationalError, match="verifier process died"):
        await verifiers.check([b"x"])
    await verifiers.close()


class _Suicidal:
    def check(self, raw: bytes, /) -> Verdict:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


@pytest.mark.parametrize(
    "make", [lambda n: thread_verifiers(Length(), n), lambda n: process_verifiers(Length, n)]
)
def test_workers_are_bounded(make: Callable[[int], PoolVerifiers]) -> None:
    for number in (0, WORKERS_MAX + 1):
        with pytest.raises(ValueError, match="verifier workers"):
            make(number)


# Redaction and logs ---------------------------------------------------------------------------------


def test_secrets_are_blotted_out_by_name_and_by_form() -> None:
    shown = plain(
        {
            "password": "x",
            "vote_key": b"k",
            "Authorization": "Bearer abc",
            "seed": b"s",
            "nested": [{"tls_key": "y", "height": 3}],
            "note": "-----BEGIN PRIVATE KEY-----",
            "header": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.sig",
            "token": 17,
            "tls_key_hash": b"\x01",
        }
    )
    assert shown == {
        "password": BLOT,
        "vote_key": BLOT,
        "Authorization": BLOT,
        "seed": BLOT,
        "nested": [{"tls_key": BLOT, "height": 3}],
        "note": BLOT,
        "header": BLOT,
        "token": 17,
        "tls_key_hash": "01",
    }


def test_what_is_shown_is_bounded() -> None:
    assert plain(bytes(BYTES_SHOWN_MAX)) == "00" * BYTES_SHOWN_MAX
    assert str(plain(bytes(BYTES_SHOWN_MAX + 1))).endswith(f"({BYTES_SHOWN_MAX + 1} bytes)")
    many = plain(list(range(ITEMS_MAX + 5)))
    assert isinstance(many, list)
    assert len(many) == ITEMS_MAX
    deep: list[object] = []
    deep.append(deep)
    assert "…" in json.dumps(plain(deep), ensure_ascii=False)
    assert plain(object()) == "<object>"


def test_a_log_line_is_json_with_its_node_and_without_its_secrets() -> None:
    stream = io.StringIO()
    try:
        configure_logging("bank-a", "info", stream)
        log = structlog.get_logger()
        log.info("link up", peer=3, password="hunter2")
        log.debug("unheard")
        logging.getLogger("aiohttp").error("broken %s", "pipe")
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        logging.getLogger().handlers.clear()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["node"], first["peer"], first["password"]) == (
        "link up",
        "bank-a",
        3,
        BLOT,
    )
    assert second["event"] == "broken pipe"


def test_a_watched_number_is_read_when_somebody_looks() -> None:
    telemetry = Telemetry()
    height = 3
    telemetry.watch("height_seen", "Height.", lambda: height)
    telemetry.watch("garbage", "By peer.", lambda: {"1": 2.0}, label="peer", kind="counter")
    height = 4
    text = telemetry.exposition().decode()
    assert "tallystick_height_seen 4.0" in text
    assert 'tallystick_garbage_total{peer="1"} 2.0' in text
    assert "process_cpu_seconds_total" in text


# The supervisor -------------------------------------------------------------------------------------


def _part(name: str, story: list[str], fails: str = "") -> Part:
    def act(verb: str) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            story.append(f"{verb} {name}")
            if fails == verb:
                raise OperationalError(f"{name} cannot {verb}")

        return run

    return Part(name, act("start"), act("stop"))


async def _never() -> str:
    await asyncio.Event().wait()
    return ""


async def test_parts_start_in_order_and_stop_in_reverse_on_sigterm() -> None:
    story: list[str] = []
    supervisor = Supervisor([_part("disk", story), _part("links", story)], _never)
    code = await supervisor.run(ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert code == EXIT_OK
    assert story == ["start disk", "start links", "stop links", "stop disk"]


async def test_a_halt_stops_the_parts_and_leaves_with_its_own_code() -> None:
    story: list[str] = []

    async def halted() -> str:
        return "our own rule was broken"

    assert await Supervisor([_part("disk", story)], halted).run() == EXIT_HALTED
    assert story == ["start disk", "stop disk"]


async def test_a_part_that_cannot_start_stops_those_before_it_and_is_named() -> None:
    story: list[str] = []
    parts = [_part("disk", story), _part("links", story, fails="start"), _part("api", story)]
    with pytest.raises(OperationalError, match="links cannot start"):
        await Supervisor(parts, _never).run()
    assert story == ["start disk", "start links", "stop disk"]


async def test_a_part_that_cannot_stop_does_not_keep_the_others_running() -> None:
    story: list[str] = []
    supervisor = Supervisor([_part("disk", story), _part("links", story, fails="stop")], _never)
    supervisor.ask_to_stop()
    assert await supervisor.run() == EXIT_OK
    assert story == ["start disk", "start links", "stop links", "stop disk"]
