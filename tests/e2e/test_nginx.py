"""A real nginx serves exported tiles with the configuration that operators are given, and a stranger audits them over it."""

import http.client
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tallystick.testing import free_base_port
from tests.security.real_node import RealNetwork
from tests.unit.cli.test_checkpoints import network
from tests.unit.cli.test_tiles import audit, export

ROOT = Path(__file__).resolve().parent.parent.parent
__all__ = ["network"]  # the fixture: a real node that makes checkpoints
pytestmark = pytest.mark.campaign


@contextmanager
def nginx(folder: Path, below: Path) -> Iterator[str]:
    """Ours alone: its files below `below`, its port free, ended by its own process."""
    try:
        subprocess.run([ROOT / "scripts" / "install_nginx"], check=True, timeout=240)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no nginx: {error}")
    below.mkdir()
    port = free_base_port(1)
    server = (ROOT / "docs" / "tiles.nginx.conf").read_text()
    server = server.replace("127.0.0.1:8645", f"127.0.0.1:{port}")
    server = server.replace("/srv/tallystick/tiles", str(folder))
    (below / "server.conf").write_text(server)
    temporary = "".join(
        f"{name}_temp_path {below / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (below / "nginx.conf").write_text(
        f"daemon off; pid {below / 'pid'}; error_log {below / 'error.log'};\nuser root;\nevents {{}}\n"
        f"http {{ access_log off; {temporary} include {below / 'server.conf'}; }}\n"
    )
    process = subprocess.Popen(["nginx", "-e", below / "error.log", "-c", below / "nginx.conf"])
    try:
        until = time.monotonic() + 20
        while not answers(port):
            assert process.poll() is None, (below / "error.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/checkpoint")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def fetched(address: str, path: str) -> tuple[int, str, str]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return (
        answer.status,
        answer.getheader("Content-Type", ""),
        answer.getheader("Cache-Control", ""),
    )


def test_tiles_are_audited_over_a_real_web_server_that_caches_them_for_ever(
    network: RealNetwork, tmp_path: Path
) -> None:
    folder, older = tmp_path / "tiles", tmp_path / "older.note"
    assert export(network, folder)[0] == 0
    older.write_bytes((folder / "checkpoint").read_bytes())
    with nginx(folder, tmp_path / "nginx") as address:
        code, said = audit(network, address, "--height", 2, "--since", older)
        assert (code, "VERIFIED" in said) == (0, True), said
        partial = next((folder / "tile" / "0" / "000.p").iterdir()).name
        status, kind, caching = fetched(address, f"/tile/0/000.p/{partial}")
        assert (status, kind) == (200, "application/octet-stream")
        assert "immutable" in caching
        status, kind, caching = fetched(address, "/checkpoint")
        assert (status, kind, caching) == (200, "text/plain; charset=utf-8", "no-cache")
        assert fetched(address, "/tile/9/000")[0] == fetched(address, "/etc/passwd")[0] == 404
        tile = folder / "tile" / "0" / "000.p" / partial
        tile.write_bytes(tile.read_bytes()[::-1])
        assert audit(network, address, "--height", 2)[0] == 1
