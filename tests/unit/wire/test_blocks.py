"""Header, result, link and domain tags: every field counts, and no digest is good for another purpose."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.network.wire.blocks import (
    HEADER,
    RESULT,
    Header,
    Result,
    block_hash,
    genesis_link,
    link_of,
)
from tallystick.network.wire.digest import Tag
from tallystick.network.wire.faults import Refused

HEADER_1 = Header(1, 77, 0, 0, 1, b"\x01" * 32, b"\x02" * 32, 1_700_000_000_000, 3, b"\x03" * 32)
RESULT_1 = Result(b"\x04" * 32, b"\x05" * 32)


def grown(value: int | bytes) -> int | bytes:
    return value + 1 if isinstance(value, int) else bytes(32)


def test_every_field_of_header_and_result_changes_the_link() -> None:
    links = {link_of(HEADER_1, RESULT_1)}
    for name in HEADER_1.__struct_fields__:
        changed = replace(HEADER_1, **{name: grown(getattr(HEADER_1, name))})
        assert block_hash(changed) != block_hash(HEADER_1)
        links.add(link_of(changed, RESULT_1))
    for name in ("state_root", "receipts_root"):
        links.add(link_of(HEADER_1, replace(RESULT_1, **{name: bytes(32)})))
    links.add(link_of(HEADER_1, replace(RESULT_1, next_epoch=b"\x06" * 32)))
    assert len(links) == 1 + len(HEADER_1.__struct_fields__) + 3


def test_the_result_does_not_change_the_block_hash() -> None:
    assert block_hash(HEADER_1) == block_hash(replace(HEADER_1))


def test_height_zero_has_a_link_of_its_own_kind() -> None:
    assert len({genesis_link(a * 32, b * 32) for a in (b"a", b"b") for b in (b"a", b"b")}) == 4


@given(st.binary(max_size=120))
def test_no_bytes_crash_a_header_or_a_result(data: bytes) -> None:
    for codec in (HEADER, RESULT):
        with pytest.raises(Refused):
            codec.decode(data)


def test_headers_and_results_at_their_largest_fit_their_bound() -> None:
    largest = Header(
        2**16 - 1, 2**52 - 1, 2**16 - 1, 2**63 - 1, 2**63 - 1, b"\xff" * 32, b"\xff" * 32, 2**63 - 1,
        2**16 - 1, b"\xff" * 32,
    )  # fmt: skip
    assert HEADER.decode(HEADER.encode(largest)) == largest
    assert len(HEADER.encode(largest)) < HEADER.bytes_max
    for name in ("version", "chain", "lane", "epoch", "height", "time_ms", "proposer"):
        over = replace(largest, **{name: getattr(largest, name) + 1})
        with pytest.raises(Refused):
            HEADER.decode(HEADER.encode(over))


@pytest.mark.parametrize("name", [b"", b"tallystick", b"other/name", b"tallystick/" + b"x" * 50])
def test_what_is_no_domain_tag_is_not_made_one(name: bytes) -> None:
    with pytest.raises(ValueError, match="not a domain tag"):
        Tag(name)


def test_a_tag_is_its_length_its_name_and_the_data() -> None:
    assert Tag(b"tallystick/x").hash(b"data") == sha256(b"\x0ctallystick/xdata").digest()
    assert Tag(b"tallystick/x").hash(b"ydata") != Tag(b"tallystick/xy").hash(b"data")
