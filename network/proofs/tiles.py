"""The history of links as static files that any web server serves, and proofs from them (C2SP tlog-tiles).

Level 0 tiles are 256 leaf hashes, a tile above holds the roots of 256 full tiles below; entry bundles hold the links themselves.
A full tile never changes, so it may be cached for ever; the rightmost ones are partial and named by their width. Decided here: names,
contents, and what of a stranger's files is believed: nothing but what leads to a checkpoint's root. Not here: folders, HTTP.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tallystick.network.proofs.merkle import (
    Log,
    Proving,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tallystick.network.proofs.notes import LogHead
from tallystick.network.wire.faults import Refused, invariant
from tallystick.network.wire.reasons import RejectReason

WIDTH: Final = 256
"""Hashes of a full tile."""

LINK_BYTES: Final = 32
ENTRY_BYTES: Final = 2 + LINK_BYTES
"""A link behind its length."""

Fetch = Callable[[str], bytes]
"""Path under the log's prefix → content. May raise `Refused` or `OperationalError`."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One file of hashes; `level` None: a bundle of entries."""

    level: int | None
    index: int
    width: int

    @property
    def full(self) -> bool:
        return self.width == WIDTH

    @property
    def path(self) -> str:
        """Its name under the log's prefix."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.full else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.index)}{partial}"

    def content(self, log: Log, links: Sequence[bytes]) -> bytes:
        """Its bytes, from a log of at least its leaves. `links`: all of the log's."""
        start = self.index * WIDTH
        if self.level is not None:
            return log.nodes(8 * self.level, start, self.width)
        bundle = links[start : start + self.width]
        invariant(len(bundle) == self.width, "links are missing for a bundle", index=self.index)
        return b"".join(len(link).to_bytes(2, "big") + link for link in bundle)


def index_path(index: int) -> str:
    """1234067 → x001/x234/067."""
    parts = [f"{index % 1000:03}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03}")
    return "/".join(reversed(parts))


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """The files of a log of `size` leaves, but for the full ones that a log of `since` leaves has already."""
    level, count, had = 0, size, since
    while count:
        full, rest = divmod(count, WIDTH)
        levels: tuple[int | None, ...] = (0, None) if level == 0 else (level,)
        for each in levels:
            for index in range(had // WIDTH, full):
                yield Tile(each, index, WIDTH)
            if rest:
                yield Tile(each, full, rest)
        level, count, had = level + 1, full, had // WIDTH


class TileLog(Proving):
    """A log that is read from tiles. It proves what they say; whether that is true, a checkpoint's root decides."""

    __slots__ = ("_fetch", "_tiles")

    def __init__(self, fetch: Fetch, size: int) -> None:
        self.size = size
        self._fetch = fetch
        self._tiles: dict[Tile, bytes] = {}

    def _node(self, depth: int, position: int) -> bytes:
        level, inside = divmod(depth, 8)
        first = position << inside
        tile = self._tile_at(level, first // WIDTH)
        at, count = first % WIDTH, 1 << inside
        hashes = self._content(tile)
        return root_of([hashes[32 * each : 32 * each + 32] for each in range(at, at + count)])

    def link(self, height: int) -> bytes:
        """What the bundles say stands at this height."""
        invariant(0 <= height < self.size, "the log is not that long", height=height)
        index, at = divmod(height, WIDTH)
        tile = Tile(None, index, min(WIDTH, self.size - index * WIDTH))
        bundle = self._content(tile)
        entry = bundle[at * ENTRY_BYTES : (at + 1) * ENTRY_BYTES]
        if entry[:2] != LINK_BYTES.to_bytes(2, "big"):
            raise Refused(RejectReason.BAD_PROOF, f"{tile.path} holds an entry that is no link")
        return entry[2:]

    def _tile_at(self, level: int, index: int) -> Tile:
        count = self.size >> 8 * level
        return Tile(level, index, min(WIDTH, count - index * WIDTH))

    def _content(self, tile: Tile) -> bytes:
        known = self._tiles.get(tile)
        if known is None:
            known = self._fetch(tile.path)
            if len(known) != tile.width * (ENTRY_BYTES if tile.level is None else 32):
                raise Refused(
                    RejectReason.BAD_PROOF, f"{tile.path} has another length than a tile's"
                )
            self._tiles[tile] = known
        return known


def prove_link(fetch: Fetch, head: LogHead, height: int) -> bytes:
    """The link at `height` as the log under `head` holds it, or `Refused(BAD_PROOF)`."""
    if not 0 <= height < head.size:
        raise Refused(RejectReason.BAD_PROOF, f"the log ends at height {head.size - 1}")
    log = TileLog(fetch, head.size)
    link, path = log.link(height), log.path(height, head.size)
    if not verify_inclusion(leaf_hash(link), height, head.size, path, head.root):
        raise Refused(
            RejectReason.BAD_PROOF, f"the tiles do not lead from height {height} to the root"
        )
    return link


def prove_growth(fetch: Fetch, older: LogHead, newer: LogHead) -> None:
    """`Refused(BAD_PROOF)` unless the tiles prove that the newer log begins with the older."""
    if older.origin != newer.origin:
        raise Refused(RejectReason.BAD_PROOF, "the checkpoints are of two logs")
    if not 1 <= older.size <= newer.size:
        raise Refused(RejectReason.BAD_PROOF, "the older log is longer, or empty")
    proof = TileLog(fetch, newer.size).consistency(older.size, newer.size)
    if not verify_consistency(older.size, newer.size, older.root, newer.root, proof):
        raise Refused(RejectReason.BAD_PROOF, "the newer log does not begin with the older one")
