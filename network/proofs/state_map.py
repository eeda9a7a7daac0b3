"""The state map: a canonical hexary Merkle map over 32-byte key hashes (architecture section 9).

The subtree at a nibble prefix is one bucket of (key hash, leaf hash), sorted, while it holds at most 32
keys, else an inner node over 16 children. So buckets split and merge, and the root depends on the
contents alone. Decided here: the shape, its hashing, layers of uncommitted blocks, proofs.
Not here: what keys and values mean (`contracts`), the check of a proof (`state_proof`).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from tallystick.network.proofs.state_proof import (
    BUCKET_KEYS_MAX,
    EMPTY_ROOT,
    StateProof,
    Step,
    blind_of,
    bucket_hash,
    inner_hash,
    leaf_hash,
    nibble_of,
    verify_state,
)
from tallystick.network.wire.faults import broken, invariant

__all__ = [
    "EMPTY_ROOT", "Layer", "StateMap", "StateProof", "blind_of", "leaf_hash", "verify_state",
]  # fmt: skip

# A node is named by one integer: a marker bit, then the nibbles of its prefix. The root is 1, the
# children of n are 16n … 16n+15. A bucket is bytes of 64 per entry; an inner node is its count in 8
# bytes and 16 hashes, 520 bytes, which is no multiple of 64: the length tells them apart. A node that
# is absent, or b"" in a layer, is an empty bucket or lies under another bucket.
_ROOT: Final = 1
_MARK: Final = 1 << 256
_ENTRY: Final = 64
_BUCKET_BYTES_MAX: Final = BUCKET_KEYS_MAX * _ENTRY
_INNER_BYTES: Final = 8 + 16 * 32
_EMPTY_INNER: Final = bytes(8) + EMPTY_ROOT * 16
_SEVERAL: Final = 8
"""Writes into one bucket from which sorting it once is cheaper than splicing each."""

Nodes: TypeAlias = dict[int, bytes]
_Get: TypeAlias = Callable[[int], bytes | None]


class Layer:
    """The map after one block that is not committed: what changed over `parent`. Drop it freely."""

    __slots__ = ("nodes", "parent", "root", "size")

    def __init__(self, parent: "Layer | None", root: bytes, size: int, nodes: Nodes) -> None:
        self.parent = parent
        self.root = root
        """32 bytes."""
        self.size = size
        """Keys in the map."""
        self.nodes = nodes


class StateMap:
    """The committed map, in memory: about 80 bytes a key."""

    __slots__ = ("_nodes", "_tip")

    def __init__(self) -> None:
        self._nodes: Nodes = {}
        self._tip = Layer(None, EMPTY_ROOT, 0, {})

    @property
    def root(self) -> bytes:
        return self._tip.root

    @property
    def size(self) -> int:
        return self._tip.size

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Replace all contents by (key hash, leaf hash) pairs, strictly ascending by key hash."""
        nodes: Nodes = {}
        fold = _Fold(nodes, nodes.get)
        size = 0
        for first, entries in _by_first_byte(pairs):
            hash_ = _build(entries, 0x100 | first, 2, nodes)
            size += len(entries) // _ENTRY
            fold.change(2, 0x100 | first, hash_, len(entries) // _ENTRY)
        root = fold.run()
        self._nodes = {node: value for node, value in nodes.items() if value}
        self._tip = Layer(None, root or EMPTY_ROOT, size, {})

    def layer(self, parent: Layer | None, writes: Mapping[bytes, bytes | None]) -> Layer:
        """The map after `writes` (key hash → leaf hash, None deletes) on `parent`.

        `parent` None means the committed map. Nothing but the new layer is changed.
        """
        below = self._tip if parent is None else parent
        get = _reader(self._chain(below))
        nodes: Nodes = {}
        fold = _Fold(nodes, get)
        size = below.size
        for node, (depth, bucket, items) in _grouped(writes, below.size, get).items():
            changed = _written(bucket, items)
            if changed == bucket:
                continue
            grown = (len(changed) - len(bucket)) // _ENTRY
            size += grown
            fold.change(depth, node, _build(changed, node, depth, nodes), grown)
        return Layer(below, fold.run() or below.root, size, nodes)

    def commit(self, layer: Layer) -> None:
        """Make `layer`, which must sit directly on the committed map, the committed map."""
        invariant(layer.parent is self._tip, "the layer does not sit on the committed map")
        committed = self._nodes
        for node, value in layer.nodes.items():
            if value:
                committed[node] = value
            else:
                committed.pop(node, None)
        # Layers above keep pointing at this one: it must hold neither nodes nor its own past.
        layer.nodes = {}
        layer.parent = None
        self._tip = layer

    def get(self, key_hash: bytes) -> bytes | None:
        """The committed leaf hash of a key, if it is there."""
        _, bucket = _find(_MARK | int.from_bytes(key_hash, "big"), 0, _reader([self._nodes]))
        at = _position(bucket, key_hash)
        return None if at < 0 else bucket[at + 32 : at + _ENTRY]

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """All committed (key hash, leaf hash), ascending: what `load` takes."""
        waiting = [_ROOT]
        while waiting:
            node = waiting.pop()
            value = self._nodes.get(node, b"")
            if len(value) == _INNER_BYTES:
                waiting.extend(range(16 * node + 15, 16 * node - 1, -1))
                continue
            for at in range(0, len(value), _ENTRY):
                yield value[at : at + 32], value[at + 32 : at + _ENTRY]

    def prove(self, key_hash: bytes) -> StateProof:
        """What the committed map says of a key: proves the leaf it holds, or that it holds none."""
        invariant(len(key_hash) == 32, "a key hash has 32 bytes", got=len(key_hash))
        steps: list[Step] = []
        node = _ROOT
        value = self._nodes.get(node, b"")
        while len(value) == _INNER_BYTES:
            nibble = nibble_of(key_hash, len(steps))
            at = 8 + 32 * nibble
            siblings = value[8:at] + value[at + 32 :]
            steps.append(Step(int.from_bytes(value[:8], "big"), siblings))
            node = 16 * node + nibble
            value = self._nodes.get(node, b"")
        return StateProof(value, tuple(steps))

    def _chain(self, layer: Layer) -> list[Nodes]:
        """The layers from `layer` down to the committed map, each above what it covers."""
        chain: list[Nodes] = []
        at: Layer | None = layer
        while at is not self._tip:
            if at is None:
                broken("the layer hangs on a map that was never committed")
            chain.append(at.nodes)
            at = at.parent
        chain.append(self._nodes)
        return chain


def _reader(chain: list[Nodes]) -> _Get:
    """What stands at a node, seen from the top of `chain`; None or b"" where nothing does."""
    if len(chain) == 1:
        return chain[0].get

    def get(node: int) -> bytes | None:
        for nodes in chain:
            value = nodes.get(node)
            if value is not None:
                return value
        return None

    return get


def _find(path: int, depth: int, get: _Get) -> tuple[int, bytes]:
    """(depth, bucket) where the key of `path` belongs; `depth` is a guess to begin at."""
    value = get(path >> (256 - 4 * depth))
    while value and len(value) == _INNER_BYTES:
        depth += 1
        value = get(path >> (256 - 4 * depth))
    while not value and depth:
        above = get(path >> (260 - 4 * depth))
        if above and len(above) == _INNER_BYTES:
            break  # an empty bucket, in its place
        depth, value = depth - 1, above
    return depth, value or b""


_Group: TypeAlias = tuple[int, bytes, list[tuple[bytes, bytes | None]]]


def _grouped(writes: Mapping[bytes, bytes | None], size: int, get: _Get) -> dict[int, _Group]:
    """Writes by the node of their bucket, with its depth and the bucket as it stands."""
    guess = _usual_depth(size)
    shift = 256 - 4 * guess
    groups: dict[int, _Group] = {}
    for item in writes.items():
        key_hash, leaf = item
        if len(key_hash) != 32 or (leaf is not None and len(leaf) != 32):
            broken("a hash is not 32 bytes", key_hash=key_hash, leaf=leaf)
        path = _MARK | int.from_bytes(key_hash, "big")
        depth, node = guess, path >> shift
        if node not in groups:
            bucket = get(node)
            if (
                not bucket or len(bucket) == _INNER_BYTES
            ):  # the guess was wrong, or nothing is there
                depth, bucket = _find(path, guess, get)
                node = path >> (256 - 4 * depth)
            if node not in groups:
                groups[node] = depth, bucket, [item]
                continue
        groups[node][2].append(item)
    return groups


def _usual_depth(size: int) -> int:
    """Where most buckets lie: a guess only, found wrong at the cost of a step."""
    depth = 0
    while size > BUCKET_KEYS_MAX:
        depth, size = depth + 1, size // 16
    return depth


def _position(bucket: bytes, key_hash: bytes) -> int:
    """Where the key's entry begins, -1 if it has none."""
    at = bucket.find(key_hash)
    while at > 0 and at % _ENTRY:  # found across entries or in a leaf hash: not a key
        at = bucket.find(key_hash, at + 1)
    return at


def _written(bucket: bytes, items: list[tuple[bytes, bytes | None]]) -> bytes:
    """The bucket after its writes, sorted, perhaps too large."""
    if len(items) >= _SEVERAL:
        entries: dict[bytes, bytes | None] = {
            bucket[at : at + 32]: bucket[at + 32 : at + _ENTRY]
            for at in range(0, len(bucket), _ENTRY)
        }
        entries.update(items)
        return b"".join([key + leaf for key, leaf in sorted(entries.items()) if leaf is not None])
    for key_hash, leaf in items:
        at = _position(bucket, key_hash)
        if at >= 0:
            kept = b"" if leaf is None else key_hash + leaf
            bucket = bucket[:at] + kept + bucket[at + _ENTRY :]
        elif leaf is not None:
            at = _ENTRY * _first_at_least(bucket, key_hash)
            bucket = bucket[:at] + key_hash + leaf + bucket[at:]
    return bucket


def _first_at_least(entries: bytes, bound: bytes) -> int:
    """Index of the first entry whose key is not below `bound`; a shorter bound is a prefix."""
    return bisect_left(
        range(len(entries) // _ENTRY),
        bound,
        key=lambda index: entries[_ENTRY * index : _ENTRY * index + 32],
    )


def _build(entries: bytes, node: int, depth: int, nodes: Nodes) -> bytes:
    """Store the subtree of sorted `entries` at `node`; its hash."""
    if len(entries) <= _BUCKET_BYTES_MAX:
        nodes[node] = entries
        return bucket_hash(entries)
    ends = [
        _ENTRY * _first_at_least(entries, _prefix_bytes(16 * node + nibble, depth + 1))
        for nibble in range(1, 16)
    ]
    starts = [0, *ends]
    children = [
        _build(entries[start:end], 16 * node + nibble, depth + 1, nodes)
        for nibble, (start, end) in enumerate(zip(starts, [*ends, len(entries)], strict=True))
    ]
    value = (len(entries) // _ENTRY).to_bytes(8, "big") + b"".join(children)
    nodes[node] = value
    return inner_hash(value)


def _prefix_bytes(node: int, depth: int) -> bytes:
    """The nibbles of a node as bytes; an odd last nibble is padded with 0."""
    nibbles = node - (1 << (4 * depth))
    return (nibbles << (4 * (depth % 2))).to_bytes((depth + 1) // 2, "big")


class _Fold:
    """Carries changed hashes and counts upwards; each touched inner node is hashed once."""

    __slots__ = ("_get", "_levels", "_nodes")

    def __init__(self, nodes: Nodes, get: _Get) -> None:
        self._nodes = nodes
        self._get = get
        self._levels: list[dict[int, list[tuple[int, bytes, int]]]] = []
        """By depth: changes below a parent, as (place of the child's hash, hash, keys more)."""

    def change(self, depth: int, node: int, hash_: bytes, grown: int) -> None:
        """The node at `depth` has this hash now and holds `grown` more keys."""
        levels = self._levels
        while depth >= len(levels):
            levels.append({})
        level, change = levels[depth], (8 + 32 * (node & 15), hash_, grown)
        siblings = level.get(node >> 4)
        if siblings is None:
            level[node >> 4] = [change]
        else:
            siblings.append(change)

    def run(self) -> bytes | None:
        """The new root's hash; None if nothing changed."""
        if not self._levels:
            return None
        for depth in range(len(self._levels) - 1, 0, -1):
            for node, children in self._levels[depth].items():
                self.change(depth - 1, node, *self._inner(node, children))
        ((_, root, _),) = self._levels[0][0]
        return root

    def _inner(self, node: int, children: list[tuple[int, bytes, int]]) -> tuple[bytes, int]:
        value = bytearray(self._get(node) or _EMPTY_INNER)
        grown = 0
        for at, hash_, more in children:
            value[at : at + 32] = hash_
            grown += more
        if grown:
            count = int.from_bytes(value[:8], "big") + grown
            if count <= BUCKET_KEYS_MAX:
                return self._merged(node), grown
            value[:8] = count.to_bytes(8, "big")
        stored = self._nodes[node] = bytes(value)
        return inner_hash(stored), grown

    def _merged(self, node: int) -> bytes:
        """Put the keys of 16 small buckets into one in their parent's place."""
        nodes, entries = self._nodes, []
        for child in range(16 * node, 16 * node + 16):
            value = nodes.get(child)
            if value is None:
                value = self._get(child)
            if value:
                entries.append(value)
                nodes[child] = b""
        bucket = nodes[node] = b"".join(entries)
        return bucket_hash(bucket)


def _by_first_byte(pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[int, bytes]]:
    """(first byte, packed entries) of ascending pairs, so that loading needs little room."""
    first, last = 0, b""
    parts: list[bytes] = []
    for key_hash, leaf in pairs:
        if not (len(key_hash) == len(leaf) == 32 and key_hash > last):
            broken("pairs to load are not ascending 32-byte hashes", after=last)
        if key_hash[0] != first:
            if parts:
                yield first, b"".join(parts)
            first, parts = key_hash[0], []
        parts.append(key_hash + leaf)
        last = key_hash
    if parts:
        yield first, b"".join(parts)
