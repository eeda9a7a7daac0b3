"""A proof about the state shows what is there or that nothing is; every hostile shape of it is refused.

Where the hostile prover would need a root that no honest map has, the test makes that root: the verifier must
refuse the shape itself, not only the hash.
"""

from random import Random

import pytest
from msgspec.structs import replace

from tallystick.network.proofs.state_map import StateMap, verify_state
from tallystick.network.proofs.state_proof import (
    BUCKET_KEYS_MAX,
    EMPTY_ROOT,
    STATE_PROOF,
    StateProof,
    Step,
    bucket_hash,
    inner_hash,
    nibble_of,
)
from tallystick.network.wire.faults import Refused

RANDOM = Random(7)
PAIRS = {RANDOM.randbytes(32): RANDOM.randbytes(32) for _ in range(700)}
NAME, LEAF = next(iter(PAIRS.items()))
ABSENT = NAME[:31] + bytes([NAME[31] ^ 1])


def state_of(pairs: dict[bytes, bytes]) -> StateMap:
    state = StateMap()
    state.load(sorted(pairs.items()))
    return state


STATE = state_of(PAIRS)


def root_led_to(key_hash: bytes, proof: StateProof) -> bytes:
    """The root that a proof leads to, whatever its shape: the hostile prover's own arithmetic."""
    hash_ = bucket_hash(proof.bucket)
    for depth in range(len(proof.steps) - 1, -1, -1):
        step, at = proof.steps[depth], 32 * nibble_of(key_hash, depth)
        children = step.siblings[:at] + hash_ + step.siblings[at:]
        hash_ = inner_hash(step.count.to_bytes(8, "big") + children)
    return hash_


def entries(*keys: bytes) -> bytes:
    return b"".join(key + bytes(32) for key in keys)


def test_every_key_is_proven_and_every_neighbour_of_it_is_absent() -> None:
    for name, leaf in PAIRS.items():
        proof = STATE.prove(name)
        assert root_led_to(name, proof) == STATE.root
        assert verify_state(STATE.root, name, leaf, proof)
        assert not verify_state(STATE.root, name, None, proof)
        assert not verify_state(STATE.root, name, bytes(32), proof)
        near = name[:31] + bytes([name[31] ^ 1])
        assert verify_state(STATE.root, near, None, STATE.prove(near))
        assert not verify_state(STATE.root, near, leaf, STATE.prove(near))


def test_in_the_empty_map_everything_is_absent() -> None:
    proof = StateMap().prove(NAME)
    assert proof == StateProof(b"", ())
    assert verify_state(EMPTY_ROOT, NAME, None, proof)
    assert not verify_state(EMPTY_ROOT, NAME, LEAF, proof)
    assert not verify_state(STATE.root, NAME, None, proof)


def test_a_proof_is_for_its_own_root_and_its_own_path() -> None:
    proof = STATE.prove(NAME)
    other = state_of({**PAIRS, NAME: bytes(32)})
    assert not verify_state(other.root, NAME, LEAF, proof)
    far = bytes([NAME[0] ^ 0x10]) + NAME[1:]
    assert not verify_state(STATE.root, far, None, proof)
    assert not verify_state(STATE.root, NAME, None, STATE.prove(far))


def test_absence_is_not_shown_by_hiding_the_entry_or_pointing_at_an_ancestor() -> None:
    proof = STATE.prove(NAME)
    at = proof.bucket.index(NAME)
    hidden = replace(proof, bucket=proof.bucket[:at] + proof.bucket[at + 64 :])
    assert not verify_state(STATE.root, NAME, None, hidden)
    shorter = replace(proof, steps=proof.steps[:-1])
    assert not verify_state(STATE.root, NAME, None, shorter)
    assert not verify_state(STATE.root, NAME, None, StateProof(b"", proof.steps))


def refused_for_its_shape(key_hash: bytes, leaf: bytes | None, proof: StateProof) -> bool:
    return not verify_state(root_led_to(key_hash, proof), key_hash, leaf, proof)


def test_a_bucket_out_of_order_or_with_a_key_twice_is_refused() -> None:
    low, high = b"\x01" * 32, b"\x02" * 32
    assert not refused_for_its_shape(low, bytes(32), StateProof(entries(low, high), ()))
    assert refused_for_its_shape(low, bytes(32), StateProof(entries(high, low), ()))
    assert refused_for_its_shape(low, bytes(32), StateProof(entries(low, low, high), ()))


def test_a_bucket_of_thirty_two_is_taken_and_of_thirty_three_refused() -> None:
    keys = [bytes([number]) * 32 for number in range(BUCKET_KEYS_MAX + 1)]
    full = StateProof(entries(*keys[:BUCKET_KEYS_MAX]), ())
    assert not refused_for_its_shape(keys[0], bytes(32), full)
    assert refused_for_its_shape(keys[0], bytes(32), StateProof(entries(*keys), ()))


def test_a_bucket_that_is_no_whole_number_of_entries_is_refused() -> None:
    assert refused_for_its_shape(NAME, None, StateProof(bytes(63), ()))
    assert refused_for_its_shape(NAME, None, StateProof(bytes(65), ()))


def step(count: int) -> Step:
    return Step(count, EMPTY_ROOT * 15)


def test_sixteen_children_stand_only_above_thirty_two_keys() -> None:
    low = StateProof(entries(b"\x01" * 32), (step(BUCKET_KEYS_MAX),))
    assert refused_for_its_shape(b"\x01" * 32, bytes(32), low)
    enough = StateProof(entries(b"\x01" * 32), (step(BUCKET_KEYS_MAX + 1),))
    assert not refused_for_its_shape(b"\x01" * 32, bytes(32), enough)


def test_an_inner_node_counts_at_least_what_its_child_counts() -> None:
    bucket = entries(b"\x01" * 32)
    assert not refused_for_its_shape(
        b"\x01" * 32, bytes(32), StateProof(bucket, (step(50), step(50)))
    )
    assert refused_for_its_shape(b"\x01" * 32, bytes(32), StateProof(bucket, (step(50), step(51))))


def test_a_false_count_is_found_by_the_root() -> None:
    proof = STATE.prove(NAME)
    first = replace(proof.steps[0], count=proof.steps[0].count + 1)
    assert not verify_state(STATE.root, NAME, LEAF, replace(proof, steps=(first, *proof.steps[1:])))


@pytest.mark.parametrize("depth", [1, 2, 3, 64])
def test_every_key_of_a_bucket_shares_the_path(depth: int) -> None:
    mine = b"\x11" * 32
    spoiled = bytearray(mine)
    spoiled[(depth - 1) // 2] ^= 0x01 if depth % 2 == 0 else 0x10
    steps = tuple(step(40) for _ in range(depth))
    assert not refused_for_its_shape(mine, bytes(32), StateProof(entries(mine), steps))
    stranger = StateProof(entries(*sorted([mine, bytes(spoiled)])), steps)
    assert refused_for_its_shape(mine, bytes(32), stranger)


def test_no_path_is_longer_than_a_key() -> None:
    steps = tuple(step(40) for _ in range(65))
    assert not verify_state(bytes(32), NAME, None, StateProof(b"", steps))


def test_keys_and_siblings_of_another_length_are_refused_and_do_not_crash() -> None:
    proof = STATE.prove(NAME)
    for odd in (b"", NAME[:31], NAME + b"\0"):
        assert not verify_state(STATE.root, odd, None, proof)
    for siblings in (b"", bytes(479), bytes(481)):
        broken = replace(proof, steps=(Step(700, siblings), *proof.steps[1:]))
        assert not verify_state(STATE.root, NAME, LEAF, broken)


def test_the_encoding_takes_the_longest_proof_and_nothing_longer() -> None:
    longest = StateProof(bytes(64 * BUCKET_KEYS_MAX), tuple(step(2**63 - 1) for _ in range(64)))
    assert STATE_PROOF.decode(STATE_PROOF.encode(longest)) == longest
    for proof in (
        replace(longest, bucket=bytes(64 * BUCKET_KEYS_MAX + 1)),
        replace(longest, steps=(*longest.steps, step(40))),
        replace(longest, steps=(Step(40, bytes(479)),)),
        replace(longest, steps=(Step(2**63, bytes(480)),)),
    ):
        with pytest.raises(Refused):
            STATE_PROOF.decode(STATE_PROOF.encode(proof))
