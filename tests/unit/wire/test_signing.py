"""A signature for one purpose and place is worth nothing at another: the whole cross product."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tallystick.network.wire import signing
from tallystick.network.wire.faults import InvariantError
from tallystick.network.wire.ids import Epoch, Height, Link, View
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.signing import Phase
from tests.unit.wire.examples import vote_key

CHAINS = (1, 2**52 - 1)
LANES = (0, 1)
EPOCHS = (Epoch(0), Epoch(1))
VIEWS = (View(0), View(1))
HEIGHTS = (Height(1), Height(2))
LINKS = (Link(b"\x01" * 32), Link(b"\x02" * 32))

MESSAGES: dict[str, tuple[Callable[..., bytes], tuple[tuple[object, ...], ...]]] = {
    "vote": (
        signing.vote_message,
        (CHAINS, LANES, EPOCHS, VIEWS, HEIGHTS, tuple(Phase), LINKS, LINKS),
    ),
    "proposal": (signing.proposal_message, (CHAINS, LANES, EPOCHS, VIEWS, HEIGHTS, LINKS, LINKS)),
    "view-change": (
        signing.view_change_message,
        (CHAINS, LANES, EPOCHS, VIEWS, (0, 1, 2), VIEWS, HEIGHTS, LINKS),
    ),
    "new-view": (signing.new_view_message, (CHAINS, LANES, EPOCHS, VIEWS, LINKS)),
    "held": (signing.held_message, (CHAINS, LANES, LINKS)),
    "disagree": (signing.disagree_message, (CHAINS, LANES, EPOCHS, VIEWS, HEIGHTS, LINKS, LINKS)),
}
LENGTHS = {
    "vote": 115,
    "proposal": 118,
    "view-change": 98,
    "new-view": 78,
    "held": 58,
    "disagree": 118,
}


def every_message() -> Iterator[bytes]:
    for make, values in MESSAGES.values():
        for chosen in itertools.product(*values):
            yield make(*chosen)


def test_every_difference_of_purpose_or_place_is_another_message() -> None:
    messages = list(every_message())
    assert len(messages) == 256 + 128 + 192 * 2 + 32 + 8 + 128
    assert len(set(messages)) == len(messages)


def test_no_message_is_the_beginning_of_another() -> None:
    """Fixed lengths behind a tag that ends in zero: nothing can be cut or grown into something else."""
    tags = {message[: message.index(b"\x00") + 1] for message in every_message()}
    assert len(tags) == len(MESSAGES)
    for one, other in itertools.permutations(tags, 2):
        assert not one.startswith(other)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_has_its_published_length(name: str) -> None:
    make, values = MESSAGES[name]
    assert {len(make(*chosen)) for chosen in itertools.product(*values)} == {LENGTHS[name]}


def test_a_signature_is_good_for_its_own_message_and_for_no_other() -> None:
    """One place each, and everything that differs from it in one point, checked with real signatures."""
    key = vote_key(1)
    public = key.public_key().public_bytes_raw()
    places = []
    for make, values in MESSAGES.values():
        first = [choices[0] for choices in values]
        places.append(make(*first))
        for position, choices in enumerate(values):
            for other in choices[1:]:
                places.append(make(*first[:position], other, *first[position + 1 :]))
    assert len(places) == 45
    signatures = [key.sign(message) for message in places]
    for (at, message), (of, signature) in itertools.product(
        enumerate(places), enumerate(signatures)
    ):
        assert verify_vote(public, message, signature) is (at == of)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_hash_of_another_length_is_never_signed(size: int) -> None:
    for make, values in MESSAGES.values():
        first = [choices[0] for choices in values]
        with pytest.raises(InvariantError):
            make(*first[:-1], bytes(size))
