"""Tiles: the specification's own numbers, every proof from files alone, and nothing believed that does not lead to the root."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.network.proofs.merkle import Log, leaf_hash, verify_consistency
from tallystick.network.proofs.notes import LogHead
from tallystick.network.proofs.tiles import (
    ENTRY_BYTES,
    Tile,
    TileLog,
    index_path,
    prove_growth,
    prove_link,
    tiles_of,
)
from tallystick.network.wire.faults import Refused

SIZE_MAX = 70_000
LINKS = [height.to_bytes(32, "big") for height in range(SIZE_MAX)]
FULL = Log(map(leaf_hash, LINKS))
SIZES = st.one_of(st.integers(1, 1_100), st.integers(65_000, SIZE_MAX))


def files_of(size: int) -> dict[str, bytes]:
    return {tile.path: tile.content(FULL, LINKS) for tile in tiles_of(size)}


def head_of(size: int) -> LogHead:
    return LogHead("log", size, FULL.root(size))


def test_the_specifications_example_of_70_000_leaves() -> None:
    tiles = list(tiles_of(70_000))
    by_level = {level: [t for t in tiles if t.level == level] for level in (0, 1, 2, None)}
    assert [len(by_level[level]) for level in (0, 1, 2, None)] == [274, 2, 1, 274]
    assert by_level[0][-1] == Tile(0, 273, 112)
    assert by_level[1] == [Tile(1, 0, 256), Tile(1, 1, 17)]
    assert by_level[2] == [Tile(2, 0, 1)]
    assert by_level[0][-1].path == "tile/0/273.p/112"
    assert [tile.path for tile in tiles_of(256)] == [
        "tile/0/000",
        "tile/entries/000",
        "tile/1/000.p/1",
    ]
    assert list(tiles_of(0)) == []


def test_paths_are_the_specifications() -> None:
    assert index_path(1_234_067) == "x001/x234/067"
    assert [index_path(each) for each in (0, 999, 1_000)] == ["000", "999", "x001/000"]


def test_an_entry_hashes_to_its_leaf() -> None:
    bundle = Tile(None, 1, 256).content(FULL, LINKS)
    hashes = Tile(0, 1, 256).content(FULL, LINKS)
    assert (len(bundle), len(hashes)) == (256 * ENTRY_BYTES, 8_192)
    for place in (0, 255):
        entry = bundle[place * ENTRY_BYTES :][:ENTRY_BYTES]
        assert entry[:2] == b"\x00\x20"
        assert leaf_hash(entry[2:]) == hashes[32 * place : 32 * place + 32]


@settings(max_examples=30, deadline=None)
@given(SIZES, st.data())
def test_roots_paths_and_growth_come_from_files_alone(size: int, data: st.DataObject) -> None:
    files = files_of(size)
    log = TileLog(files.__getitem__, size)
    height = data.draw(st.integers(0, size - 1))
    older = data.draw(st.integers(1, size))
    assert log.root() == FULL.root(size)
    assert log.path(height, size) == FULL.path(height, size)
    proof = log.consistency(older, size)
    assert proof == FULL.consistency(older, size)
    assert verify_consistency(older, size, FULL.root(older), FULL.root(size), proof)
    assert prove_link(files.__getitem__, head_of(size), height) == LINKS[height]
    prove_growth(files.__getitem__, head_of(older), head_of(size))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(0, 700))
def test_what_is_new_is_all_that_is_added(size: int, before: int) -> None:
    """The files of an earlier export and what the next one writes are all that the new size needs."""
    before = min(before, size)
    had = {tile for tile in tiles_of(before) if tile.full}
    assert set(tiles_of(size)) <= had | set(tiles_of(size, before))
    for tile in had & set(tiles_of(size)):
        assert tile.content(FULL, LINKS) == tile.content(Log(map(leaf_hash, LINKS[:before])), LINKS)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 600), st.data())
def test_whatever_byte_is_changed_no_other_link_is_ever_proven(
    size: int, data: st.DataObject
) -> None:
    files = files_of(size)
    height = data.draw(st.integers(0, size - 1))
    asked: set[str] = set()

    def fetch(path: str) -> bytes:
        asked.add(path)
        return files[path]

    prove_link(fetch, head_of(size), height)
    path = data.draw(st.sampled_from(sorted(asked)))
    at = data.draw(st.integers(0, len(files[path]) - 1))
    content = bytearray(files[path])
    content[at] ^= data.draw(st.integers(1, 255))
    files[path] = bytes(content)
    try:
        assert prove_link(files.__getitem__, head_of(size), height) == LINKS[height]
    except Refused:
        return


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""]
)
def test_a_cut_or_lengthened_file_is_refused(change: object) -> None:
    files = files_of(300)
    for path in ("tile/0/000", "tile/0/001.p/44", "tile/entries/001.p/44"):
        spoilt = files | {path: change(files[path])}  # type: ignore[operator]
        height = 1 if path == "tile/0/000" else 299
        fetch = spoilt.__getitem__
        with pytest.raises(Refused, match="another length"):
            prove_link(fetch, head_of(300), height)


def test_a_rewritten_history_is_not_a_longer_one() -> None:
    links = [*LINKS[:100], b"\xff" * 32, *LINKS[101:300]]
    forged = Log(map(leaf_hash, links))
    files = {tile.path: tile.content(forged, links) for tile in tiles_of(300)}
    newer = LogHead("log", 300, forged.root())
    prove_growth(files.__getitem__, LogHead("log", 100, FULL.root(100)), newer)
    with pytest.raises(Refused, match="does not begin with"):
        prove_growth(files.__getitem__, head_of(101), newer)
    with pytest.raises(Refused, match="two logs"):
        prove_growth(files.__getitem__, LogHead("other", 100, FULL.root(100)), newer)
    with pytest.raises(Refused, match="older log is longer"):
        prove_growth(files.__getitem__, head_of(301), newer)
    with pytest.raises(Refused, match="ends at height 299"):
        prove_link(files.__getitem__, newer, 300)
