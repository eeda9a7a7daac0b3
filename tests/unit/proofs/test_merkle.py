"""Small trees exhaustively: every size, every leaf, every false index, against the RFC's recursive definition."""

from hashlib import sha256

import pytest

from tallystick.network.proofs.merkle import (
    EMPTY_ROOT,
    SIZE_MAX,
    Log,
    Tree,
    leaf_hash,
    node_hash,
    root_of,
    root_of_path,
    verify_consistency,
    verify_inclusion,
)
from tallystick.network.wire.faults import InvariantError

LEAVES = [leaf_hash(bytes([number])) for number in range(70)]
SMALL = 33


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = defined_root(leaves[:split]), defined_root(leaves[split:])
    return sha256(b"\x01" + left + right).digest()


def test_leaves_and_nodes_hash_as_the_rfc_says() -> None:
    assert leaf_hash(b"") == sha256(b"\x00").digest()
    assert node_hash(LEAVES[0], LEAVES[1]) == sha256(b"\x01" + LEAVES[0] + LEAVES[1]).digest()
    assert sha256(b"").digest() == EMPTY_ROOT


def test_every_root_of_tree_and_log_is_the_defined_one() -> None:
    log = Log()
    for size in range(len(LEAVES) + 1):
        root = defined_root(LEAVES[:size])
        assert Tree(LEAVES[:size]).root == root_of(LEAVES[:size]) == log.root() == root
        assert Tree(LEAVES[:size]).size == log.size == size
        for shorter in range(0, size + 1, 5):
            assert log.root(shorter) == defined_root(LEAVES[:shorter])
        if size < len(LEAVES):
            log.append(LEAVES[size])
    assert log.leaf(3) == LEAVES[3]


def test_every_leaf_is_proven_at_its_own_index_and_at_no_other() -> None:
    log = Log(LEAVES)
    for size in range(1, SMALL):
        tree = Tree(LEAVES[:size])
        for index in range(size):
            path = tree.path(index)
            assert path == log.path(index, size)
            for claimed in range(-1, size + 2):
                verdict = verify_inclusion(LEAVES[index], claimed, size, path, tree.root)
                assert verdict is (claimed == index)


def test_paths_asked_for_together_are_those_asked_for_one_by_one() -> None:
    for size in range(1, SMALL):
        tree = Tree(LEAVES[:size])
        for asked in (range(size), range(size - 1, -1, -1), range(0, size, 3), ()):
            assert tree.paths(asked) == [tree.path(index) for index in asked]


def test_a_path_is_refused_when_any_part_of_it_is_false() -> None:
    for size in range(2, SMALL):
        tree = Tree(LEAVES[:size])
        for index in range(size):
            path, root = tree.path(index), tree.root
            false_paths = [
                path[:-1],
                (*path, root),
                (LEAVES[-1], *path),
                path[1:],
                (*path[:-1], path[-1][:-1]),
                (*path[:-1], path[-1] + b"\0"),
                *((*path[:at], LEAVES[-1], *path[at + 1 :]) for at in range(len(path))),
            ]
            for false in false_paths:
                assert not verify_inclusion(LEAVES[index], index, size, false, root)
                assert root_of_path(LEAVES[index], index, false) != root
            assert not verify_inclusion(LEAVES[-1], index, size, path, root)
            assert not verify_inclusion(LEAVES[index], index, size, path, LEAVES[-1])


def test_a_root_found_without_the_size_is_the_root_found_with_any_size_that_fits() -> None:
    for size in range(1, 14):
        tree = Tree(LEAVES[:size])
        for index in range(size):
            path = tree.path(index)
            for claimed in range(size + 4):
                found = root_of_path(LEAVES[index], claimed, path) == tree.root
                fits = any(
                    verify_inclusion(LEAVES[index], claimed, other, path, tree.root)
                    for other in range(claimed + 1, 40)
                )
                assert found is fits
            assert root_of_path(LEAVES[index], index, path) == tree.root


def test_a_size_is_not_proven_by_a_path_which_is_why_no_block_proof_names_one() -> None:
    tree = Tree(LEAVES[:3])
    path = tree.path(1)
    assert verify_inclusion(LEAVES[1], 1, 3, path, tree.root)
    assert verify_inclusion(LEAVES[1], 1, 4, path, tree.root)


def test_every_prefix_is_proven_consistent_and_nothing_else_is() -> None:
    log = Log(LEAVES)
    for size2 in range(1, SMALL):
        for size1 in range(1, size2 + 1):
            proof = log.consistency(size1, size2)
            root1, root2 = log.root(size1), log.root(size2)
            assert verify_consistency(size1, size2, root1, root2, proof)
            assert not verify_consistency(size1, size2, LEAVES[-1], root2, proof)
            assert not verify_consistency(size1, size2, root1, LEAVES[-1], proof)
            assert not verify_consistency(size1, size2, root1, root2, (*proof, root1))
            assert not proof or not verify_consistency(size1, size2, root1, root2, proof[:-1])
            assert not proof or not verify_consistency(size1, size2, root1, root2, proof[1:])
            for at in range(len(proof)):
                false = (*proof[:at], LEAVES[-1], *proof[at + 1 :])
                assert not verify_consistency(size1, size2, root1, root2, false)


def test_consistency_from_nothing_backwards_or_beyond_the_bound_is_refused() -> None:
    log = Log(LEAVES)
    assert not verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, ())
    assert not verify_consistency(0, 5, EMPTY_ROOT, log.root(5), ())
    assert not verify_consistency(5, 4, log.root(5), log.root(4), ())
    assert not verify_consistency(SIZE_MAX + 1, SIZE_MAX + 1, EMPTY_ROOT, EMPTY_ROOT, ())
    assert verify_consistency(SIZE_MAX, SIZE_MAX, EMPTY_ROOT, EMPTY_ROOT, ())


def test_sizes_and_indices_up_to_the_bound_are_taken_and_above_it_refused() -> None:
    leaf = LEAVES[0]
    path = (leaf,) * (SIZE_MAX - 1).bit_count()  # the last leaf has left siblings only
    root = root_of_path(leaf, SIZE_MAX - 1, path)
    assert root is not None
    assert verify_inclusion(leaf, SIZE_MAX - 1, SIZE_MAX, path, root)
    assert not verify_inclusion(leaf, SIZE_MAX, SIZE_MAX + 1, path, root)
    assert root_of_path(leaf, SIZE_MAX + 1, path) is None
    assert root_of_path(leaf, -1, path) is None


def test_hashes_of_another_length_are_refused_and_do_not_crash() -> None:
    root = node_hash(LEAVES[0], LEAVES[1])
    for odd in (b"", LEAVES[1][:31], LEAVES[1] + b"\0"):
        assert not verify_inclusion(odd, 0, 1, (), odd)
        assert not verify_inclusion(LEAVES[0], 0, 2, (odd,), root)
        assert root_of_path(odd, 0, (LEAVES[1],)) is None
        assert not verify_consistency(1, 2, LEAVES[0], root, (odd,))
        with pytest.raises(InvariantError):
            Log().append(odd)
        with pytest.raises(InvariantError):
            Tree([LEAVES[0], odd])
        with pytest.raises(InvariantError):
            root_of([odd])


def test_a_log_that_is_cut_is_the_log_that_never_grew() -> None:
    for kept in range(SMALL):
        log = Log(LEAVES)
        log.truncate(kept)
        assert log.root() == defined_root(LEAVES[:kept])
        for leaf in LEAVES[kept:SMALL]:
            log.append(leaf)
        assert log.root() == defined_root(LEAVES[:SMALL])
        assert log.path(0, SMALL) == Tree(LEAVES[:SMALL]).path(0)


def test_the_root_with_pending_leaves_is_the_root_after_appending_them() -> None:
    for size in range(SMALL):
        log = Log(LEAVES[:size])
        for more in range(10):
            assert log.root_with(LEAVES[size : size + more]) == defined_root(LEAVES[: size + more])
        assert log.size == size


def test_asking_beyond_the_end_is_our_own_fault() -> None:
    log, tree = Log(LEAVES[:5]), Tree(LEAVES[:5])
    for ask in (
        lambda: tree.path(5),
        lambda: tree.paths((0, 5)),
        lambda: tree.paths((-1,)),
        lambda: log.path(5, 5),
        lambda: log.path(0, 6),
        lambda: log.root(6),
        lambda: log.leaf(5),
        lambda: log.consistency(0, 5),
        lambda: log.consistency(3, 6),
        lambda: log.truncate(6),
    ):
        with pytest.raises(InvariantError):
            ask()
