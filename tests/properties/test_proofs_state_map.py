"""The state map against a plain recursive model: any contents, any history, one root; every proof of it holds."""

from hashlib import sha256
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.network.proofs.state_map import Layer, StateMap, verify_state

Contents = dict[bytes, bytes]


def tagged(name: bytes, data: bytes) -> bytes:
    return sha256(bytes([len(name)]) + name + data).digest()


def model_root(contents: Contents, prefix: str = "") -> bytes:
    """The format's definition, word for word."""
    if len(contents) <= 32:
        entries = b"".join(key + contents[key] for key in sorted(contents))
        return tagged(b"tallystick/bucket", entries)
    children = b""
    for nibble in "0123456789abcdef":
        below = {key: v for key, v in contents.items() if key.hex().startswith(prefix + nibble)}
        children += model_root(below, prefix + nibble)
    return tagged(b"tallystick/inner", len(contents).to_bytes(8, "big") + children)


def crowded(lead: int, number: int) -> bytes:
    """Keys that share `lead` bytes, so that a few dozen of them already split several times."""
    return (b"\xa5" * lead + sha256(bytes([number])).digest())[:32]


KEYS = st.builds(crowded, st.sampled_from([0, 0, 1, 3, 30]), st.integers(0, 120))
LEAVES = st.sampled_from([bytes([number]) * 32 for number in range(3)])


def drawn(seed: int, size: int, deleted_percent: int) -> dict[bytes, bytes | None]:
    """Large sets of writes, which hypothesis alone draws too seldom to split many buckets."""
    random = Random(seed)
    return {
        crowded(random.choice([0, 0, 1, 3, 30]), random.randrange(121)): None
        if random.randrange(100) < deleted_percent
        else random.randbytes(32)
        for _ in range(size)
    }


WRITES = st.one_of(
    st.dictionaries(KEYS, st.one_of(LEAVES, st.none()), max_size=40),
    st.builds(drawn, st.integers(0), st.integers(0, 400), st.sampled_from([0, 10, 50, 95, 100])),
)


def applied(contents: Contents, writes: dict[bytes, bytes | None]) -> Contents:
    after = dict(contents)
    for key, leaf in writes.items():
        if leaf is None:
            after.pop(key, None)
        else:
            after[key] = leaf
    return after


@settings(max_examples=60, deadline=None)
@given(st.lists(WRITES, min_size=1, max_size=6), st.integers(0, 3), KEYS)
def test_layers_commits_and_loads_agree_with_the_model(
    blocks: list[dict[bytes, bytes | None]], lag: int, asked: bytes
) -> None:
    """`lag`: how many uncommitted layers stay stacked before the lowest is committed."""
    state = StateMap()
    contents: Contents = {}
    committed: Contents = {}
    waiting: list[tuple[Layer, Contents]] = []
    for writes in blocks:
        contents = applied(contents, writes)
        layer = state.layer(waiting[-1][0] if waiting else None, writes)
        assert (layer.root, layer.size) == (model_root(contents), len(contents))
        waiting.append((layer, contents))
        if len(waiting) > lag:
            lowest, committed = waiting.pop(0)
            state.commit(lowest)
        assert dict(state.pairs()) == committed

    loaded = StateMap()
    loaded.load(sorted(committed.items()))
    assert loaded.root == state.root == model_root(committed)
    for key in [asked, *list(committed)[:5]]:
        leaf = committed.get(key)
        proof = state.prove(key)
        assert proof == loaded.prove(key)
        assert state.get(key) == leaf
        assert verify_state(state.root, key, leaf, proof)
        assert not verify_state(state.root, key, b"\xff" * 32, proof)
        assert leaf is None or not verify_state(state.root, key, None, proof)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(KEYS, LEAVES, min_size=20, max_size=150), st.randoms(use_true_random=False))
def test_the_root_does_not_know_the_order_of_insertion(contents: Contents, random: Random) -> None:
    order = list(contents)
    random.shuffle(order)
    state = StateMap()
    while order:
        some = [order.pop() for _ in range(min(len(order), random.randrange(1, 40)))]
        detour: dict[bytes, bytes | None] = {key: bytes(32) for key in some}
        state.commit(state.layer(None, detour))
        state.commit(state.layer(None, {key: contents[key] for key in some}))
    assert state.root == model_root(contents)
    state.commit(state.layer(None, dict.fromkeys(contents)))
    assert state.root == model_root({})
