"""Where the core keeps what, in the one database. A key is a one-letter table and a fixed-length name.

Values are canonical msgpack unless said otherwise; integers inside keys are big-endian, so that scans ascend.
"""

from collections.abc import Callable
from struct import Struct as Packing

FINAL = b"m/final"
"""Height (8 bytes) and link (32) of the last final block."""
ENGINE = b"m/engine"
GUARD = b"m/guard"
"""The database's copy of the guard's record; the one beside the key may never be ahead of it."""

WHOLE_FROM = b"m/whole-from"
"""Height (8 bytes) from which on blocks have their transactions here; no row: from 1 on (`outlines`)."""
JOINING = b"m/joining"
"""How far a ledger in the making has come (`node.upkeep.snapshots`); never in one that a node uses."""

CHECKPOINT_SAID = b"m/checkpoint-said"
"""Our newest share of a checkpoint: kept before it leaves, and nothing is said below it."""
CHECKPOINT_NEWEST = b"m/checkpoint-newest"
"""Height (8 bytes) of the newest checkpoint that we have."""

ACCOUNT = b"a"
"""+ account (20) → [height of last write, seed, value]."""
RECORD = b"r"
"""+ key of the state map → value."""
TAKEN = b"t"
"""+ account (20) + id (32) → digest (32), height (8), index (4)."""
REFUSED = b"x"
"""+ body id (32) → height (8), index (4), valid_until_ms (8)."""
CONSUMED = b"w"
"""+ start of a window in ms (8) + number of the row in it (8) → the entries that one block consumed there, joined."""
BLOCK = b"B"
"""+ height (8) → `ledger.BlockRecord`."""
LINK = b"H"
"""+ height (8) → link (32)."""
EPOCH = b"E"
"""+ epoch (8), from 1 on → height (8) of the block that opened it, which is the last of the epoch before, and who votes in it."""
PENDING = b"p"
"""+ link (32) → block bytes kept before a vote."""
EVIDENCE = b"e"
"""+ epoch (8), signer (2), kind (1), view (8), height (8) → `network.proofs.evidence.Evidence`."""
CHECKPOINT = b"c"
"""+ height (8) → `network.proofs.checkpoints.KeptCheckpoint`."""
BATCH = b"q"
"""+ batch digest (32) → list of raw transactions that are not ordered yet."""

_HEIGHT = Packing(">Q")
_ROW = Packing(">QQ")
_PLACE = Packing(">QI")


def at_height(table: bytes, height: int) -> bytes:
    return table + _HEIGHT.pack(height)


def height_in(key: bytes) -> int:
    return int.from_bytes(key[1:9], "big")


def consumed_row(start_ms: int, number: int) -> bytes:
    """Name of a window's row; they are numbered from 0, each found by itself: a sealed store hides their order."""
    return CONSUMED + _ROW.pack(start_ms, number)


place: Callable[[int, int], bytes] = _PLACE.pack
"""(height, index) → 12 bytes."""


def place_in(value: bytes, offset: int) -> tuple[int, int]:
    height, index = _PLACE.unpack_from(value, offset)
    return height, index
