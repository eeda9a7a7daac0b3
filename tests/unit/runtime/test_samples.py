"""The signature check is timed inside the node: a few now and then, so that the bench divides by this run's price."""

import msgspec

from tallystick.network.wire.ids import BodyId, TxDigest
from tallystick.node.core.events import CheckedBody, Verdict
from tallystick.node.runtime.verifiers import (
    SAMPLE_EVERY,
    SAMPLED,
    SLICE,
    InlineVerifiers,
    thread_verifiers,
)
from tests.unit.wire.examples import sign_spend, spend_key, transfer

DIGEST = TxDigest(b"\x07" * 32)
SIGNED = msgspec.structs.replace(transfer(), witnesses=(sign_spend(spend_key(1), DIGEST),))


class Trusting:
    """Calls every body good."""

    def check(self, raw: bytes, /) -> Verdict:
        return CheckedBody(raw, SIGNED, BodyId(raw), DIGEST, SIGNED.account + SIGNED.id)


async def test_a_few_signatures_are_timed_now_and_then_however_small_the_requests() -> None:
    for verifiers in (InlineVerifiers(Trusting()), thread_verifiers(Trusting(), 1)):
        await verifiers.check([b"x"] * (SAMPLE_EVERY - SLICE))
        assert verifiers.counters.sampled_total == 0
        for _ in range(SLICE // SAMPLED):
            await verifiers.check([b"x"] * SAMPLED)
        assert verifiers.counters.sampled_total == SAMPLED
        await verifiers.check([b"x"] * SAMPLE_EVERY)
        assert verifiers.counters.sampled_total == 2 * SAMPLED
        assert 0 < verifiers.counters.sampled_cpu_seconds < 0.1
        await verifiers.close()


async def test_a_small_request_is_sampled_with_what_it_has() -> None:
    verifiers = InlineVerifiers(Trusting())
    for _ in range(SAMPLE_EVERY):
        await verifiers.check([b"x"])
    assert verifiers.counters.sampled_total == 1
