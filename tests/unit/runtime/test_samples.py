"""The signature check is timed inside the node: a sample on every full slice, so that the bench divides by this run's price."""

import msgspec

from tallystick.network.wire.ids import BodyId, TxDigest
from tallystick.node.core.events import CheckedBody, Verdict
from tallystick.node.runtime.verifiers import SLICE, InlineVerifiers, thread_verifiers
from tests.unit.wire.examples import sign_spend, spend_key, transfer

DIGEST = TxDigest(b"\x07" * 32)
SIGNED = msgspec.structs.replace(transfer(), witnesses=(sign_spend(spend_key(1), DIGEST),))


class Trusting:
    """Calls every body good."""

    def check(self, raw: bytes, /) -> Verdict:
        return CheckedBody(raw, SIGNED, BodyId(raw), DIGEST)


async def test_one_signature_is_timed_for_every_full_slice_however_small_the_requests() -> None:
    for verifiers in (InlineVerifiers(Trusting()), thread_verifiers(Trusting(), 1)):
        for _ in range(SLICE - 1):
            await verifiers.check([b"x"])
        assert verifiers.counters.sampled_total == 0
        await verifiers.check([b"x"])
        assert verifiers.counters.sampled_total == 1
        await verifiers.check([b"x"] * (2 * SLICE))
        assert verifiers.counters.sampled_total == 3
        assert 0 < verifiers.counters.sampled_cpu_seconds < 0.1
        await verifiers.close()
