"""Merkle trees of any size: what is proven is true, and one changed bit is never proven."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.network.proofs.merkle import (
    Log,
    Tree,
    leaf_hash,
    root_of_path,
    verify_consistency,
    verify_inclusion,
)

SIZES = st.integers(1, 2_000)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(8, "big")) for number in range(size)]


def flipped(hashes: tuple[bytes, ...], bit: int) -> tuple[bytes, ...]:
    at, rest = divmod(bit % (256 * len(hashes)), 256)
    changed = bytearray(hashes[at])
    changed[rest // 8] ^= 1 << (rest % 8)
    return (*hashes[:at], bytes(changed), *hashes[at + 1 :])


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0), st.integers(0))
def test_inclusion(size: int, index: int, bit: int) -> None:
    index %= size
    tree = Tree(leaves(size))
    leaf, path = leaf_hash(index.to_bytes(8, "big")), tree.path(index)
    assert verify_inclusion(leaf, index, size, path, tree.root)
    assert root_of_path(leaf, index, path) == tree.root
    if path:
        false = flipped(path, bit)
        assert not verify_inclusion(leaf, index, size, false, tree.root)
        assert root_of_path(leaf, index, false) != tree.root


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0), st.integers(0))
def test_consistency(size2: int, size1: int, bit: int) -> None:
    size1 = size1 % size2 + 1
    log = Log(leaves(size2))
    proof, root1, root2 = log.consistency(size1, size2), log.root(size1), log.root()
    assert root1 == Tree(leaves(size1)).root
    assert verify_consistency(size1, size2, root1, root2, proof)
    if proof:
        assert not verify_consistency(size1, size2, root1, root2, flipped(proof, bit))


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=40),
    st.integers(-(2**70), 2**70),
    st.integers(-(2**70), 2**70),
    st.lists(st.binary(max_size=40), max_size=70),
    st.binary(max_size=40),
)
def test_hostile_input_is_refused_and_never_raises(
    leaf: bytes, index: int, size: int, path: list[bytes], root: bytes
) -> None:
    assert verify_inclusion(leaf, index, size, path, root) is (
        len(leaf) == 32 and (index, size, path, root) == (0, 1, [], leaf)
    )
    assert root_of_path(leaf, index, path) != b""
    assert not verify_consistency(index, size, leaf, root, path) or index == size
