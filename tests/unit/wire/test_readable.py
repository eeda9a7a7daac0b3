"""The readable form of any struct, absent parts included."""

from typing import Annotated

import pytest
from msgspec import Meta, Struct

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.readable import from_json, to_json

Short = Annotated[bytes, Meta(max_length=2)]


class Leaf(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    data: Short


class Tree(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    leaves: Annotated[tuple[Leaf, ...], Meta(max_length=2)]
    best: Leaf | None = None


@pytest.mark.parametrize(
    "tree", [Tree(()), Tree((Leaf(b""), Leaf(b"\x01\xff"))), Tree((), Leaf(b"\x00"))]
)
def test_every_value_comes_back(tree: Tree) -> None:
    assert from_json(to_json(tree), Tree, 1_000) == tree


@pytest.mark.parametrize(
    "text",
    [
        b'{"leaves":[]}',
        b'{"leaves":[],"best":{}}',
        b'{"leaves":[{"data":"000000"}],"best":null}',
        b'{"leaves":[{"data":"0"}],"best":null}',
        b'{"leaves":[{"data":"00\\n"}],"best":null}',
        b'{"leaves":[{"data":""},{"data":""},{"data":""}],"best":null}',
        b'{"leaves":null,"best":null}',
    ],
)
def test_what_does_not_fit_is_refused(text: bytes) -> None:
    with pytest.raises(Refused):
        from_json(text, Tree, 1_000)
