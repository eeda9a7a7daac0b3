"""Merkle trees of RFC 6962 section 2.1, checked by the algorithms of RFC 9162 section 2.1.3 and 2.1.4.

`Tree` is built once over a block's leaves; `Log` grows by one leaf at a time (the history of links).
Decided here: hashing, paths, and what a verifier refuses. A consistency proof from size 0 is always refused.
Not here: what the leaves mean. All functions take leaf *hashes*: `leaf_hash(data)` makes them.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from tallystick.network.wire.faults import invariant

EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of a tree without leaves."""

SIZE_MAX: Final = 2**63 - 1
"""Leaves of one tree: sizes and indices are u63 everywhere on the wire."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data)."""
    return sha256(b"\x00" + data).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each: a tenth of a microsecond less than calling it."""
    return [sha256(b"\x00" + data).digest() for data in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), both 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A finished tree with every level kept, 64 bytes a leaf. Building costs one hash a leaf."""

    __slots__ = ("_levels", "root", "size")

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        """`leaf_hashes`: 32 bytes each, in order."""
        level = b"".join(leaf_hashes)
        self.size = len(leaf_hashes)
        invariant(len(level) == 32 * self.size, "a leaf hash is not 32 bytes", leaves=self.size)
        self._levels = [level]
        while len(level) > 32:
            level = _level_above(level)
            self._levels.append(level)
        self.root = level or EMPTY_ROOT

    def path(self, index: int) -> tuple[bytes, ...]:
        """Siblings from the leaf upwards. `index` must be below `size`."""
        invariant(0 <= index < self.size, "no such leaf", index=index, size=self.size)
        return _siblings(self._levels[:-1], index)

    def paths(self, indexes: Sequence[int]) -> list[tuple[bytes, ...]]:
        """`path` of each. Eight neighbours share all but three siblings: what they share is cut out once."""
        invariant(
            not indexes or (min(indexes) >= 0 and max(indexes) < self.size),
            "no such leaf",
            size=self.size,
        )
        below, above = self._levels[:-1][:3], self._levels[:-1][3:]
        shared: dict[int, tuple[bytes, ...]] = {}
        paths = []
        for index in indexes:
            upper = shared.get(index >> 3)
            if upper is None:
                upper = shared[index >> 3] = _siblings(above, index >> 3)
            paths.append(_siblings(below, index) + upper)
        return paths


def _siblings(levels: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """What stands beside the way up from node `index` of the lowest of these levels."""
    siblings = []
    for level in levels:
        at = 32 * (index ^ 1)
        if at < len(level):  # the last node of an odd level rises without a sibling
            siblings.append(level[at : at + 32])
        index >>= 1
    return tuple(siblings)


def _level_above(level: bytes) -> bytes:
    even = len(level) & ~63
    above = [sha256(b"\x01" + level[at : at + 64]).digest() for at in range(0, even, 64)]
    return b"".join(above) + level[even:]


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """The root alone, 32 bytes."""
    level = b"".join(leaf_hashes)
    invariant(len(level) == 32 * len(leaf_hashes), "a leaf hash is not 32 bytes")
    while len(level) > 32:
        level = _level_above(level)
    return level or EMPTY_ROOT


class Proving:
    """Roots and proofs from complete subtrees, wherever those are: in memory (`Log`) or in tiles (`tiles.TileLog`)."""

    __slots__ = ("size",)
    size: int

    def _node(self, depth: int, position: int) -> bytes:
        """Root over leaves position·2^depth … (position+1)·2^depth - 1, all below `size`."""
        raise NotImplementedError

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` leaves, by default over all."""
        size = self.size if size is None else size
        invariant(0 <= size <= self.size, "the log is not that long", size=size, have=self.size)
        return self._range(0, size)

    def path(self, index: int, size: int) -> tuple[bytes, ...]:
        """Inclusion path, leaf upwards, of leaf `index` in the tree of the first `size` leaves."""
        invariant(0 <= index < size <= self.size, "no such leaf", index=index, size=size)
        path = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency(self, size1: int, size2: int) -> tuple[bytes, ...]:
        """PROOF(size1, D[size2]) of RFC 6962 section 2.1.2; 1 ≤ size1 ≤ size2 ≤ `size`."""
        invariant(1 <= size1 <= size2 <= self.size, "no such proof", size1=size1, size2=size2)
        proof = []
        start, end, whole = 0, size2, True
        while size1 != end:
            middle = start + _split(end - start)
            if size1 <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, whole = middle, False
        if not whole:
            proof.append(self._range(start, end))
        return tuple(reversed(proof))

    def _range(self, start: int, end: int) -> bytes:
        """Root over leaves start … end-1; `start` is a multiple of a power of two ≥ the width."""
        root = b""
        for at, depth in reversed(_spans(start, end)):
            peak = self._node(depth, at >> depth)
            root = node_hash(peak, root) if root else peak
        return root or EMPTY_ROOT


class Log(Proving):
    """An append-only tree. Of every level only complete subtrees are stored, 64 bytes a leaf in all.

    Appending costs one hash on average; roots, paths and consistency proofs of any size up to the
    present one cost O(log n) hashes.
    """

    __slots__ = ("_levels", "_root")

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self._levels = [bytearray()]
        self._root: bytes | None = EMPTY_ROOT
        self.size = 0
        for leaf in leaf_hashes:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """Add a leaf hash (32 bytes)."""
        invariant(len(leaf) == 32, "a leaf hash is not 32 bytes", got=len(leaf))
        self._levels[0] += leaf
        self.size += 1
        self._root = None
        depth, count = 0, self.size
        while count & 1 == 0:
            depth, count = depth + 1, count >> 1
            if depth == len(self._levels):
                self._levels.append(bytearray())
            self._levels[depth] += sha256(b"\x01" + self._levels[depth - 1][-64:]).digest()

    def truncate(self, size: int) -> None:
        """Forget every leaf from `size` on: blocks that were dropped before they were certified."""
        invariant(0 <= size <= self.size, "cannot cut there", size=size, have=self.size)
        for depth, level in enumerate(self._levels):
            del level[32 * (size >> depth) :]
        self.size = size
        self._root = None

    def leaf(self, index: int) -> bytes:
        """The leaf hash at `index`."""
        invariant(0 <= index < self.size, "no such leaf", index=index, size=self.size)
        return self._node(0, index)

    def nodes(self, depth: int, start: int, count: int) -> bytes:
        """`count` complete subtrees of 2^depth leaves from the one at `start` on, joined: a tile's content."""
        invariant(
            start + count <= self.size >> depth, "no such subtrees", depth=depth, end=start + count
        )
        return bytes(self._levels[depth][32 * start : 32 * (start + count)])

    def root(self, size: int | None = None) -> bytes:
        """Root over the first `size` leaves, by default over all."""
        if size is None or size == self.size:
            if self._root is None:
                self._root = self._range(0, self.size)
            return self._root
        return super().root(size)

    def root_with(self, pending: Sequence[bytes]) -> bytes:
        """Root over all leaves and then `pending`, without appending: the pipeline's next blocks."""
        longer = _Peaks(self._node(depth, at >> depth) for at, depth in _spans(0, self.size))
        longer.size = self.size
        for leaf in pending:
            longer.append(leaf)
        return longer.root()

    def _node(self, depth: int, position: int) -> bytes:
        return bytes(self._levels[depth][32 * position : 32 * position + 32])


class Peaks:
    """A tree that grows by runs of leaves and keeps its complete subtrees alone, 32 bytes for each bit of its size."""

    __slots__ = ("_at", "size")

    def __init__(self, size: int = 0, joined: bytes = b"") -> None:
        """`joined`: what `joined()` gave at this size."""
        invariant(len(joined) == 32 * size.bit_count(), "peaks of another size", size=size)
        depths = [depth for depth in range(size.bit_length()) if size >> depth & 1]
        self._at = {
            depth: joined[32 * at : 32 * at + 32] for at, depth in enumerate(reversed(depths))
        }
        """Depth → root of the one complete subtree of 2^depth leaves that stands beside no other."""
        self.size = size

    def joined(self) -> bytes:
        """The subtrees' roots, largest first."""
        return b"".join([self._at[depth] for depth in sorted(self._at, reverse=True)])

    def extend(self, leaf_hashes: Sequence[bytes]) -> None:
        """Add leaf hashes (32 bytes each), level by level: one hash a leaf."""
        level, depth = b"".join(leaf_hashes), 0
        invariant(len(level) == 32 * len(leaf_hashes), "a leaf hash is not 32 bytes")
        while level:
            level = self._at.pop(depth, b"") + level
            if len(level) & 32:
                self._at[depth], level = level[-32:], level[:-32]
            level, depth = _level_above(level), depth + 1
        self.size += len(leaf_hashes)

    def root(self) -> bytes:
        root = b""
        for depth in sorted(self._at):
            root = node_hash(self._at[depth], root) if root else self._at[depth]
        return root or EMPTY_ROOT


class _Peaks:
    """The complete subtrees of a log, largest first, and nothing below them."""

    __slots__ = ("_peaks", "size")

    def __init__(self, peaks: Iterable[bytes]) -> None:
        self._peaks = list(peaks)
        self.size = 0

    def append(self, leaf: bytes) -> None:
        count = self.size = self.size + 1
        while count & 1 == 0:
            leaf, count = node_hash(self._peaks.pop(), leaf), count >> 1
        self._peaks.append(leaf)

    def root(self) -> bytes:
        root = b""
        for peak in reversed(self._peaks):
            root = node_hash(peak, root) if root else peak
        return root or EMPTY_ROOT


def _split(width: int) -> int:
    """The largest power of two below `width` (≥ 2)."""
    return 1 << ((width - 1).bit_length() - 1)


def _spans(start: int, end: int) -> list[tuple[int, int]]:
    """(first leaf, depth) of the complete subtrees that make up start … end-1, largest first."""
    spans = []
    while start < end:
        depth = (end - start).bit_length() - 1
        spans.append((start, depth))
        start += 1 << depth
    return spans


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether `leaf` (a leaf hash) stands at `index` under `root` (RFC 9162 section 2.1.3.2)."""
    if not (0 <= index < size <= SIZE_MAX and _are_hashes(leaf, root, *path)):
        return False
    node, last, hash_ = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            hash_ = node_hash(sibling, hash_)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and hash_ == root


def root_of_path(leaf: bytes, index: int, path: Sequence[bytes]) -> bytes | None:
    """The root that `path` leads to from `leaf` (a leaf hash) at `index`; None if no tree has such a path.

    The size of the tree is not asked for: in every size in which leaf `index` has a path of this length,
    siblings stand on the same sides. So an unsigned size could be false without being found out, and a
    block's proof carries none. `verify_inclusion` is for sizes that are signed.
    """
    if not (0 <= index <= SIZE_MAX and _are_hashes(leaf, *path)):
        return None
    node, hash_ = index, leaf
    for left in range(len(path), 0, -1):
        sibling = path[-left]
        if not node & 1 and node.bit_count() < left:
            hash_ = node_hash(hash_, sibling)
        elif node:
            # On the right edge only left siblings remain: an even node there rises without one.
            node >>= (node & -node).bit_length() - 1
            hash_ = node_hash(sibling, hash_)
        else:
            return None
        node >>= 1
    return hash_ if node == 0 else None


def verify_consistency(
    size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of `root1` is a prefix of the tree of `root2` (RFC 9162 section 2.1.4.2)."""
    if not 1 <= size1 <= size2 <= SIZE_MAX:
        return False
    if size1 == size2:
        return root1 == root2 and not proof  # nothing is hashed, so any two equal roots will do
    if not _are_hashes(root1, root2, *proof):
        return False
    hashes = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not hashes:
        return False
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == root1 and second == root2


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == 32 for value in values)
