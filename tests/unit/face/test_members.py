"""Real nodes, TLS and disks: a member comes back under its spare id while payments go on, and nothing is lost."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tallystick import Settled, verify_receipt
from tallystick.node.cli.spare import Prepared, prepare_spare
from tallystick.node.config import load_config
from tallystick.testing import RunningNetwork, free_base_port
from tallystick.wallet.blocking import BlockingWallet
from tallystick.wallet.cli import members

OLD, SPARE = 1, 501
"""Of bank-b."""
PATIENCE_S = 20.0


def network_with_spare(folder: Path) -> tuple[RunningNetwork, Prepared]:
    """Four members that know the spare's TLS key, and the spare's folder."""
    network = RunningNetwork(folder)
    port = free_base_port(2)
    old = load_config(folder / "nodes" / "bank-b" / "node.toml")
    made = prepare_spare(old, SPARE, folder / "nodes" / "bank-b-spare", port, port + 1)
    for name in ("bank-a", "bank-c", "bank-d", "bank-b"):
        with (folder / "nodes" / name / "node.toml").open("a") as file:
            file.write("\n" + made.peer)
    return network, made


def epochs(network: RunningNetwork, *names: str) -> set[int]:
    return {network._nodes[name].driver.status().epoch for name in names}


def wait_until(fulfilled: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not fulfilled():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def wait_for_epoch(network: RunningNetwork, epoch: int, *names: str) -> None:
    wait_until(lambda: epochs(network, *names) == {epoch}, f"{names} are not in epoch {epoch}")


def pay(wallet: BlockingWallet, network: RunningNetwork, count: int) -> int:
    epochs_shown = 0
    for _ in range(count):
        outcome = wallet.pay(network.account("bank-c"), "1.00", "USD")
        assert isinstance(outcome, Settled)
        assert outcome.receipt is not None
        assert verify_receipt(outcome.receipt, network.file.genesis).ok
        epochs_shown = len(outcome.receipt.block.epochs)
    return epochs_shown


def activate(network: RunningNetwork, made: Prepared) -> None:
    """As the bank's operator does it, at the command line."""
    words = ["activate-spare", "--member", str(OLD), "--spare", str(SPARE), "--json"]
    words += ["--vote-key", made.vote_key.hex(), "--tls-key-hash", made.tls_key_hash.hex()]
    words += ["--network", str(network.folder / "network.json"), "--as", "bank-b"]
    done = CliRunner().invoke(members.app, words)
    assert done.exit_code == 0, done.output


@pytest.mark.timeout(120)
def test_a_bank_with_a_lost_disk_comes_back_under_its_spare_id(tmp_path: Path) -> None:
    network, made = network_with_spare(tmp_path / "network")
    network.start()
    try:
        with network.blocking_wallet("central-bank") as mint:
            assert isinstance(mint.issue(network.account("bank-a"), "100.00", "USD"), Settled)
        network.stop_node("bank-b")  # its disk is gone for good
        with network.blocking_wallet("bank-a") as bank:
            assert pay(bank, network, 3) == 0
            activate(network, made)
            voters = ("bank-a", "bank-c", "bank-d", "bank-b-spare")
            wait_for_epoch(network, 1, *voters)
            assert pay(bank, network, 3) == 1
            # The spare's vote is needed now: a network of four goes on with three, and it is one of them.
            network.stop_node("bank-d")
            assert pay(bank, network, 3) == 1
            network.start_node("bank-d")
            wait_for_epoch(network, 1, "bank-d")
        spare = network._nodes["bank-b-spare"]
        assert spare.driver.status().node == SPARE
        # Whoever finds the old disk finds no peer: its identity is put out.
        dialled = [network._nodes[name].links for name in ("bank-c", "bank-d")]
        refused = max(links.counters.refused for links in dialled)
        network.start_node("bank-b")
        wait_until(
            lambda: all(links.counters.refused > refused + 1 for links in dialled),
            "bank-b did not dial, or was not refused",
        )
        assert network._nodes["bank-b"].links.peers_up == ()
        assert epochs(network, "bank-b") == {0}
        with network.blocking_wallet("bank-c") as reader:
            assert reader.balance().amounts["USD"] == 9
    finally:
        network.close()
