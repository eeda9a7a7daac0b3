"""Which node is asked first, what an answer may cost, and files that say where nodes are."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tallystick.network.wire.genesis import genesis_to_json
from tallystick.wallet import endpoints as endpoints_module
from tallystick.wallet.endpoints import Endpoints, Patience, Silent
from tallystick.wallet.errors import BadFile
from tallystick.wallet.network_file import EndpointEntry, NetworkFile, load_genesis
from tallystick.wallet.tls import Credentials
from tests.unit.wallet.fake_node import FakeNode, Ledger, tls_files
from tests.unit.wallet.networks import small_network


def entries(count: int) -> list[EndpointEntry]:
    return [
        EndpointEntry(f"n{index}", f"https://127.0.0.1:{index + 1}", "00" * 32)
        for index in range(count)
    ]


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def names(endpoints: Endpoints) -> list[str]:
    return [endpoint.name for endpoint in endpoints.ordered()]


def test_a_node_that_failed_is_asked_last_until_it_has_rested_longer_each_time() -> None:
    clock = Clock()
    nodes = Endpoints(entries(3), Credentials(), Patience(rest_s=1.0, rest_s_max=3.0), clock)
    first = nodes.all[0]
    for rest_s in (1.0, 2.0, 3.0, 3.0):
        nodes.failed(first, "silent")
        assert names(nodes) == ["n1", "n2", "n0"]
        clock.now_s += rest_s - 0.01
        assert names(nodes)[-1] == "n0"
        clock.now_s += 0.02
        assert names(nodes)[0] == "n0"
    nodes.well(first)
    nodes.failed(first, "silent")
    clock.now_s += 1.01
    assert names(nodes)[0] == "n0", "a proper answer ends the doubling"


def test_if_all_rest_the_one_that_rested_longest_is_first() -> None:
    nodes = Endpoints(entries(2), Credentials(), Patience(rest_s=1.0), Clock())
    nodes.failed(nodes.all[0], "x")
    nodes.failed(nodes.all[0], "x")
    nodes.failed(nodes.all[1], "x")
    assert names(nodes) == ["n1", "n0"]


def test_wallets_may_begin_at_different_nodes() -> None:
    nodes = Endpoints(entries(3), Credentials())
    nodes.prefer(4)
    assert names(nodes) == ["n1", "n2", "n0"]


def test_secrets_are_not_shown() -> None:
    assert "t0ken" not in repr(Credentials("t0ken"))


@pytest.mark.parametrize(("size", "whole"), [(10_000, True), (10_001, False)])
async def test_an_answer_has_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, whole: bool
) -> None:
    monkeypatch.setattr(endpoints_module, "ANSWER_BYTES_MAX", 10_000)

    def large(node: FakeNode, raws: list[bytes]) -> Any:
        return web.Response(body=b"x" * size)

    node = FakeNode("large", Ledger(small_network()), large, 0)
    nodes = Endpoints([await node.start(tmp_path)], Credentials())
    call = nodes.call(nodes.all[0], "POST", "/v1/transactions", body=b'{"transactions":[]}')
    try:
        if whole:
            assert len((await call).body) == size
        else:
            with pytest.raises(Silent, match="larger than") as caught:
                await call
            assert caught.value.sent
    finally:
        await nodes.close()
        await node.stop()


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    def elsewhere(node: FakeNode, raws: list[bytes]) -> Any:
        return web.Response(status=307, headers={"Location": "https://example.invalid/"})

    node = FakeNode("elsewhere", Ledger(small_network()), elsewhere, 0)
    nodes = Endpoints([await node.start(tmp_path)], Credentials("t0ken"))
    answer = await nodes.call(nodes.all[0], "POST", "/v1/transactions", body=b'{"transactions":[]}')
    assert answer.status == 307
    await nodes.close()
    await node.stop()


def network_folder(folder: Path, **changes: Any) -> Path:
    (folder / "genesis.json").write_bytes(genesis_to_json(small_network().genesis))
    document = {
        "name": "small",
        "genesis": "genesis.json",
        "endpoints": [
            {"name": "n0", "url": "https://127.0.0.1:1", "tls_key_hash": "ab" * 32, "note": "mine"}
        ],
        "observers": [],
    }
    (folder / "network.json").write_text(json.dumps(document | changes), "utf-8")
    return folder


def test_a_network_file_is_found_by_its_folder_too(tmp_path: Path) -> None:
    folder = network_folder(tmp_path)
    assert NetworkFile.load(folder) == NetworkFile.load(folder / "network.json")
    assert NetworkFile.load(folder).endpoints[0].pin == bytes([0xAB]) * 32


@pytest.mark.parametrize(
    "changes",
    [{"endpoints": []}, {"endpoints": [{"name": "n", "url": "http://x", "tls_key_hash": "ab" * 32}]},
     {"endpoints": [{"name": "n", "url": "https://x", "tls_key_hash": "ab"}]}, {"name": ""}, {"genesis": "absent.json"},
     {"endpoints": [{"name": "n", "url": "https://x", "tls_key_hash": "ab" * 32}] * 2}],
)  # fmt: skip
def test_bad_network_files_are_refused_with_a_sentence(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(BadFile) as caught:
        NetworkFile.load(network_folder(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 10_000, b"\xff"])
def test_bad_genesis_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "g.json").write_bytes(content)
    with pytest.raises(BadFile):
        load_genesis(tmp_path / "g.json")


def test_a_client_certificate_that_cannot_be_read_says_which(tmp_path: Path) -> None:
    from tallystick.wallet.tls import pinned_context

    certificate, key, _ = tls_files(tmp_path, "bank")
    pinned_context(bytes(32), Credentials(None, certificate, key))
    with pytest.raises(BadFile, match=r"absent\.crt"):
        pinned_context(bytes(32), Credentials(None, tmp_path / "absent.crt", key))
