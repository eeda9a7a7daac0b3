"""The history of a real node as static files: exported twice, served by a web server, audited by one who trusts none of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tallystick.network.proofs.notes import (
    COSIGNATURE_V1,
    Note,
    NoteKey,
    cosignature_line,
    cosignature_message,
    parse_note,
)
from tests.security.real_node import RealNetwork
from tests.unit.cli.test_checkpoints import config_of, network, newest, run

__all__ = ["network"]  # the fixture: one node for this module, too

WITNESS = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
WITNESS_KEY = NoteKey("w.example/7", WITNESS.public_key().public_bytes_raw(), COSIGNATURE_V1)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The standard library's static server: any server of files will do, and this one is always there. nginx is in tests/e2e."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def export(running: RealNetwork, folder: Path, *more: object) -> tuple[int, str]:
    token = running.folder / "tokens" / "regulator.jwt"
    return run("ledger", "export", "--config", config_of(running), "--token", token, "--tiles", folder, *more)  # fmt: skip


def audit(running: RealNetwork, where: object, *more: object) -> tuple[int, str]:
    return run("checkpoint", "audit", where, "--genesis", running.folder / "genesis.json", *more)


def wait_for(running: RealNetwork, height: int) -> None:
    import time

    deadline = time.monotonic() + 30
    while newest(running) < height:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_exports_are_one_history_that_a_stranger_audits(network: RealNetwork, tmp_path: Path) -> None:  # fmt: skip
    folder, older = tmp_path / "tiles", tmp_path / "older.note"
    code, said = export(network, folder)
    assert code == 0, said
    older.write_bytes((folder / "checkpoint").read_bytes())
    size = parse_note(older.read_bytes()).head.size
    wait_for(network, size + 5)
    assert export(network, folder)[0] == 0
    assert parse_note((folder / "checkpoint").read_bytes()).head.size > size
    with served(folder) as address:
        code, said = audit(network, address, "--height", 3, "--since", older)
        assert (code, "VERIFIED" in said) == (0, True), said
    assert audit(network, folder)[0] == 0
    code, said = run("checkpoint", "verify", folder / "checkpoint", "-g", network.folder / "genesis.json")  # fmt: skip
    assert code == 0, said


def test_a_changed_tile_is_refused_by_the_auditor_and_by_the_next_export(
    network: RealNetwork, tmp_path: Path
) -> None:
    folder = tmp_path / "tiles"
    assert export(network, folder)[0] == 0
    (partial_tile,) = (folder / "tile" / "0" / "000.p").iterdir()
    good = partial_tile.read_bytes()
    partial_tile.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert audit(network, folder, "--height", 1)[0] == 1
    (bundle,) = (folder / "tile" / "entries" / "000.p").iterdir()
    content = bundle.read_bytes()
    bundle.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, said = export(network, folder)
    assert code == 1
    assert "damaged" in said
    partial_tile.unlink()
    assert audit(network, folder, "--height", 1)[0] == 1


def test_a_witness_cosigns_and_its_line_is_kept_and_verified(network: RealNetwork, tmp_path: Path) -> None:  # fmt: skip
    folder, cosigned = tmp_path / "tiles", tmp_path / "cosigned.note"
    assert export(network, folder)[0] == 0
    note = parse_note((folder / "checkpoint").read_bytes())
    line = cosignature_line(WITNESS_KEY, 1_700_000_000, WITNESS.sign(cosignature_message(note.head, 1_700_000_000)))  # fmt: skip
    cosigned.write_text(Note(note.head, (*note.lines, line)).text())
    assert export(network, folder, "--cosigned", cosigned)[0] == 0
    verify = ("checkpoint", "verify", folder / "checkpoint", "-g", network.folder / "genesis.json")
    code, said = run(*verify, "--witness", WITNESS_KEY.vkey())
    assert code == 0, said
    assert "w.example/7 cosigned it at 1700000000 s" in said
    stranger = NoteKey("w.example/8", WITNESS_KEY.key, COSIGNATURE_V1)
    code, said = run(*verify, "--witness", stranger.vkey())
    assert code == 1
    assert "has not cosigned" in said
    forged = cosignature_line(WITNESS_KEY, 1_700_000_001, line.signature[8:])
    (folder / "checkpoint").write_text(Note(note.head, (*note.lines, forged)).text())
    assert run(*verify, "--witness", WITNESS_KEY.vkey())[0] == 1
    other = Note(note.head.__class__(note.head.origin, note.head.size + 1, note.head.root), (line,))
    cosigned.write_text(other.text())
    assert export(network, folder, "--cosigned", cosigned)[0] == 1


@pytest.mark.parametrize("where", ["http://127.0.0.1:1", "/nowhere"])
def test_silence_and_an_empty_folder_prove_nothing(network: RealNetwork, where: str) -> None:
    assert audit(network, where)[0] == 1
