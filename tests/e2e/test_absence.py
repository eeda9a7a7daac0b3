"""Four processes, one payment that never reached them: proven lost at a terminal, and proven again offline."""

import asyncio
import subprocess
import time
from pathlib import Path

import pytest

from tallystick.wallet.core import build
from tallystick.wallet.core.outcomes import Rejected, Settled
from tests.e2e.test_smoke import verify, wallet_of

from local_network import LocalNetwork, tallystick


@pytest.mark.campaign
@pytest.mark.timeout(180)
async def test_a_payment_that_was_lost_on_the_way_is_proven_never_to_settle(
    network: LocalNetwork, tmp_path: Path
) -> None:
    """Another payment of the same account, in the same window, was ordered: it stands beside the empty place."""
    async with wallet_of(network, "bank-a") as bank, wallet_of(network, "bank-b") as other:
        lost, ordered = (
            bank.sign(
                build.transfer(
                    bank.terms,
                    account=bank.account,
                    creditor=other.account,
                    amount="1.00",
                    asset="USD",
                    id=build.parse_id(name),
                    now_ms=time.time_ns() // 1_000_000,
                    valid_for_ms=2_000,
                    settle_by_ms=0,
                    payload_root=bytes(32),
                )
            )
            for name in ("LOST-1", "SENT-1")
        )
        assert isinstance(await bank.send(ordered), Settled | Rejected)
        ours, out, journal = lost.reference, tmp_path / "absent.json", tmp_path / "journal"
        journal.write_text(f'{{"raw":"{lost.raw.hex()}"}}\n')
        command = tallystick(
            "receipt", "absent", ours.account.hex(), ours.id.hex(), ours.digest.hex(),
            "--transaction", str(journal), "--out", str(out), "--timeout", "100",
            "--network", str(network.folder), "--as", "bank-a",
        )  # fmt: skip
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = ordered.reference
        ended = await bank.resolve(found.account, found.id, transaction=ordered, timeout_s=5)
        assert isinstance(ended, Settled | Rejected)
    document = out.read_bytes()
    good = await asyncio.to_thread(verify, network, document, tmp_path / "again.json")
    assert (good.returncode, "never ordered" in good.stdout) == (0, True), good.stdout
    spoilt = document.replace(ours.digest.hex().encode(), found.digest.hex().encode())
    bad = await asyncio.to_thread(verify, network, spoilt, tmp_path / "spoilt.json")
    assert bad.returncode == 1
