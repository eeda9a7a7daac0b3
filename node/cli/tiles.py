"""`tallystick ledger export`: the history of a running node as a folder of static files, for a web server or a CDN (C2SP tlog-tiles).

Run it again and again, from a timer: it asks for what is new only, writes each full tile once and for ever, and puts the new
checkpoint in place last, so a reader never meets one whose tiles are missing. Decided here: nothing is written before a quorum's
checkpoint verifies against genesis and the links lead to its root. Not here: names and contents of the files (`network.proofs.tiles`).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from tallystick.network.proofs.checkpoints import (
    CheckpointDocument,
    document_from_bytes,
    verify_checkpoint,
)
from tallystick.network.proofs.merkle import Log, leaf_hash
from tallystick.network.proofs.notes import Note, parse_note
from tallystick.network.proofs.tiles import ENTRY_BYTES, LINK_BYTES, WIDTH, Tile, tiles_of
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import OperationalError, Refused
from tallystick.network.wire.genesis import Genesis
from tallystick.node.cli.ledger_client import NodeClient

CHECKPOINT = "checkpoint"
DOCUMENT = "checkpoint.json"


@dataclass(frozen=True, slots=True)
class Exported:
    """What the folder holds now."""

    size: int
    written: int
    """Files, without the checkpoint's two."""


def export_tiles(folder: Path, client: NodeClient, genesis: Genesis) -> Exported:
    """Bring the folder up to the node's newest checkpoint. `OperationalError` says what is wrong, and nothing was replaced."""
    path = "/v1/checkpoints/latest"
    encoded = client.read(path)
    document = _document(encoded, genesis)
    height = document.checkpoint.statement.height
    note = parse_note(client.read(f"/v1/checkpoints/{height}?form=note"))
    head = document.checkpoint.statement.head(genesis)
    if note.head != head:
        raise OperationalError("the node's note and its document say two things")
    links, before = _links_in(folder, genesis)
    if before > head.size:
        raise OperationalError(
            f"the folder holds {before} links and the node's newest checkpoint {head.size}: ask another node"
        )
    while len(links) < head.size:
        links += _links_from(client, len(links), head.size)
    log = Log(map(leaf_hash, links))
    if log.root() != head.root:
        raise OperationalError("the links do not lead to the checkpoint's root")
    folder.mkdir(parents=True, exist_ok=True)
    written = sum(_write_tile(folder, tile, tile.content(log, links)) for tile in tiles_of(head.size, before))  # fmt: skip
    _replace(folder / DOCUMENT, encoded)
    _replace(folder / CHECKPOINT, _with_lines_of(folder, note).text().encode())
    _sweep(folder, head.size)
    return Exported(head.size, written)


def add_cosignatures(folder: Path, cosigned: bytes) -> int:
    """Put a witness's note in the place of the folder's own: the same text, at least the same lines. Lines that are new now.

    Whoever reads it verifies the lines with the keys that he trusts; `OperationalError` if it is another checkpoint.
    """
    file = folder / CHECKPOINT
    try:
        own, theirs = parse_note(file.read_bytes()), parse_note(cosigned)
    except (OSError, Refused) as error:
        raise OperationalError(f"{file} or the cosigned note cannot be read: {error}") from None
    if own.head != theirs.head:
        raise OperationalError("the cosigned note is another checkpoint than the folder's")
    new = tuple(dict.fromkeys(line for line in theirs.lines if line not in own.lines))
    if len(own.lines) + len(new) > bounds.NOTE_LINES_MAX:
        raise OperationalError(f"a note has at most {bounds.NOTE_LINES_MAX} lines")
    _replace(file, Note(own.head, own.lines + new).text().encode())
    return len(new)


def _with_lines_of(folder: Path, note: Note) -> Note:
    """The note with whatever lines, of witnesses above all, the folder has for the same checkpoint already."""
    file = folder / CHECKPOINT
    known = parse_note(file.read_bytes()) if file.exists() else note
    if known.head != note.head:
        return note
    more = tuple(line for line in known.lines if line not in note.lines)
    return Note(note.head, note.lines + more)


def _document(encoded: bytes, genesis: Genesis) -> CheckpointDocument:
    try:
        document = document_from_bytes(encoded)
    except Refused as refused:
        raise OperationalError(f"the node's checkpoint cannot be read: {refused.detail}") from None
    verdict = verify_checkpoint(document, genesis)
    if verdict.failed is not None:
        raise OperationalError(f"the node's checkpoint does not verify: {verdict.failed.sentence}")
    return document


def _links_from(client: NodeClient, first: int, size: int) -> list[bytes]:
    """The next links, at least one."""
    data = client.read(f"/v1/history/links?from={first}")
    links = [data[at : at + LINK_BYTES] for at in range(0, len(data), LINK_BYTES)]
    if not links or len(links[-1]) != LINK_BYTES:
        raise OperationalError(f"the node gave no links from height {first} on")
    return links[: size - first]


def _links_in(folder: Path, genesis: Genesis) -> tuple[list[bytes], int]:
    """What an earlier export left, which must be whole."""
    file = folder / CHECKPOINT
    if not file.exists():
        return [], 0
    try:
        head = parse_note(file.read_bytes()).head
        known = _document((folder / DOCUMENT).read_bytes(), genesis).checkpoint.statement
        size = min(head.size, known.height + 1)
        links = [
            bundle[at + 2 : at + ENTRY_BYTES]
            for tile in tiles_of(size)
            if tile.level is None
            for bundle in [(folder / tile.path).read_bytes()]
            for at in range(0, len(bundle), ENTRY_BYTES)
        ]
    except (OSError, Refused) as error:
        raise OperationalError(f"{folder} is damaged ({error}): export into a new folder") from None
    root = Log(map(leaf_hash, links)).root()
    if len(links) != size or (size == head.size and root != head.root):
        raise OperationalError(f"{folder} is damaged (its tiles are not its checkpoint's): export into a new folder")  # fmt: skip
    return links, size


def _write_tile(folder: Path, tile: Tile, content: bytes) -> bool:
    """Whether it was written: a tile that is there is never changed, and must be the same."""
    path = folder / tile.path
    try:
        known = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content)
        return True
    if known != content:
        raise OperationalError(f"{path} differs from the certified history, and tiles never change")
    return False


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _sweep(folder: Path, size: int) -> None:
    """Partial tiles whose full ones are there now may go (the format allows it); the newest are kept for older checkpoints."""
    for tile in tiles_of(size):
        partial = folder / f"{tile.path}.p"
        if tile.full and tile.index >= size // WIDTH - 2 and partial.is_dir():
            for each in sorted(partial.iterdir()):
                each.unlink()
            partial.rmdir()
