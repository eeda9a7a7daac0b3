"""The map of every small shape: buckets split above 32 keys and merge at 32; layers stack, commit and are dropped."""

from itertools import pairwise
from random import Random

import pytest

from tallystick.network.proofs.state_map import (
    EMPTY_ROOT,
    Layer,
    StateMap,
    blind_of,
    leaf_hash,
    verify_state,
)
from tallystick.network.proofs.state_proof import (
    BUCKET_KEYS_MAX,
    bucket_hash,
    inner_hash,
)
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.faults import InvariantError


def key(number: int, prefix: bytes = b"") -> bytes:
    """A key hash; small numbers under one prefix share all their nibbles but the last few."""
    return prefix + number.to_bytes(32 - len(prefix), "big")


def loaded(pairs: dict[bytes, bytes]) -> StateMap:
    state = StateMap()
    state.load(sorted(pairs.items()))
    return state


def scattered(count: int, seed: int = 1) -> dict[bytes, bytes]:
    random = Random(seed)
    return {random.randbytes(32): random.randbytes(32) for _ in range(count)}


def test_the_hashes_are_tagged_as_the_format_says() -> None:
    assert bucket_hash(b"x" * 64) == Tag(b"tallystick/bucket").hash(b"x" * 64)
    assert inner_hash(b"x" * 520) == Tag(b"tallystick/inner").hash(b"x" * 520)
    assert bucket_hash(b"") == EMPTY_ROOT
    blind = Tag(b"tallystick/blind").hash(b"s" * 16 + (7).to_bytes(8, "big"))
    assert blind_of(b"s" * 16, 7) == blind
    whole = blind + b"\x00\x03" + b"key" + b"value"
    assert leaf_hash(b"key", b"value", blind) == Tag(b"tallystick/leaf").hash(whole)
    assert leaf_hash(b"key", b"value") != leaf_hash(b"keyv", b"alue")


def test_thirty_two_keys_are_a_bucket_and_one_more_splits_it() -> None:
    pairs = {key(number << 248): bytes([number]) * 32 for number in range(BUCKET_KEYS_MAX + 1)}
    full = dict(list(pairs.items())[:BUCKET_KEYS_MAX])
    packed = b"".join(name + leaf for name, leaf in sorted(full.items()))
    state = loaded(full)
    assert state.root == bucket_hash(packed)
    assert state.prove(key(0)).steps == ()

    last = key(BUCKET_KEYS_MAX << 248)
    state.commit(state.layer(None, {last: pairs[last]}))
    proof = state.prove(last)
    assert [step.count for step in proof.steps] == [33]
    assert proof.bucket == last + pairs[last]
    assert state.root == loaded(pairs).root

    state.commit(state.layer(None, {last: None}))
    assert state.root == bucket_hash(packed)


def test_keys_that_share_all_but_their_last_byte_split_as_deep_as_keys_go() -> None:
    pairs = {key(number): bytes([number]) * 32 for number in range(40)}
    state = StateMap()
    state.commit(state.layer(None, pairs))
    assert state.root == loaded(pairs).root
    proof = state.prove(key(3))
    assert len(proof.steps) == 63
    assert verify_state(state.root, key(3), bytes([3]) * 32, proof)
    assert verify_state(state.root, key(200), None, state.prove(key(200)))
    state.commit(state.layer(None, {key(number): None for number in range(8, 40)}))
    assert state.prove(key(3)).steps == ()
    assert state.size == 8
    assert state.root == loaded(dict(list(pairs.items())[:8])).root
    state.commit(state.layer(None, {key(number): None for number in range(8)}))
    assert (state.root, state.size) == (EMPTY_ROOT, 0)


def test_writing_what_is_there_or_deleting_what_is_not_changes_nothing() -> None:
    pairs = scattered(500)
    state = loaded(pairs)
    same = state.layer(None, {**dict(list(pairs.items())[:50]), key(9): None})
    assert (same.root, same.size, same.nodes) == (state.root, 500, {})
    assert state.layer(None, {}).root == state.root


def test_a_key_found_across_entries_is_not_a_key() -> None:
    odd = b"\x02" * 32
    inside = b"\x02" * 16 + b"\x03" * 16
    # The leaf of one entry and the start of the next spell the key that is asked for.
    pairs = {b"\x01" * 32: b"\x00" * 16 + odd[:16], inside: odd}
    state = loaded(pairs)
    assert odd in state.prove(odd).bucket
    assert state.get(odd) is None
    assert verify_state(state.root, odd, None, state.prove(odd))
    state.commit(state.layer(None, {odd: bytes(32)}))
    assert state.get(odd) == bytes(32)
    assert state.root == loaded({**pairs, odd: bytes(32)}).root


def test_layers_stack_and_commit_in_order() -> None:
    pairs = scattered(2_000)
    state = loaded(pairs)
    first = state.layer(None, scattered(100, 2))
    second = state.layer(first, dict.fromkeys(list(pairs)[:300]))
    third = state.layer(second, scattered(10, 3))
    assert second.parent is first
    expected = pairs | scattered(100, 2)
    roots = [loaded(expected).root]
    for gone in list(pairs)[:300]:
        del expected[gone]
    roots.append(loaded(expected).root)
    roots.append(loaded(expected | scattered(10, 3)).root)
    assert [first.root, second.root, third.root] == roots
    for layer in (first, second, third):
        state.commit(layer)
        assert state.root == layer.root
        assert layer.nodes == {}
    assert dict(state.pairs()) == expected | scattered(10, 3)


def test_a_dropped_layer_leaves_no_trace_and_a_rival_takes_its_place() -> None:
    pairs = scattered(1_000)
    state = loaded(pairs)
    state.layer(state.layer(None, scattered(400, 4)), dict.fromkeys(pairs))
    rival = state.layer(None, scattered(50, 5))
    assert state.root == loaded(pairs).root
    state.commit(rival)
    assert state.root == loaded(pairs | scattered(50, 5)).root


def test_a_layer_off_the_committed_path_is_refused_loudly() -> None:
    state = loaded(scattered(100))
    chosen, loser = state.layer(None, scattered(5, 2)), state.layer(None, scattered(5, 3))
    above = state.layer(chosen, scattered(5, 4))
    with pytest.raises(InvariantError, match="does not sit"):
        state.commit(above)
    state.commit(chosen)
    with pytest.raises(InvariantError, match="does not sit"):
        state.commit(loser)
    with pytest.raises(InvariantError, match="never committed"):
        state.layer(loser, {})
    with pytest.raises(InvariantError, match="does not sit"):
        state.commit(chosen)
    state.commit(above)


def test_committed_layers_do_not_keep_their_past_alive() -> None:
    state = StateMap()
    tip: Layer | None = None
    for height in range(50):
        tip = state.layer(tip, {key(height): bytes(32)})
        state.commit(tip)
        assert tip.parent is None


@pytest.mark.parametrize(
    "writes", [{b"\x01" * 31: bytes(32)}, {bytes(32): bytes(31)}, {b"\x01" * 33: None}]
)
def test_hashes_of_another_length_are_our_own_fault(writes: dict[bytes, bytes | None]) -> None:
    with pytest.raises(InvariantError):
        StateMap().layer(None, writes)


@pytest.mark.parametrize("order", [(2, 1), (1, 1)])
def test_loading_what_is_not_ascending_is_our_own_fault(order: tuple[int, int]) -> None:
    with pytest.raises(InvariantError, match="ascending"):
        StateMap().load((key(number), bytes(32)) for number in order)


def test_loading_replaces_everything() -> None:
    state = loaded(scattered(300))
    state.load([])
    assert (state.root, state.size, list(state.pairs())) == (EMPTY_ROOT, 0, [])


def test_pairs_come_back_ascending() -> None:
    pairs = scattered(3_000)
    names = [name for name, _ in loaded(pairs).pairs()]
    assert len(names) == 3_000
    assert all(left < right for left, right in pairwise(names))
