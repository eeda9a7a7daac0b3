"""Envelopes: what is packed is unpacked, every bound at and over it, hostile bytes are refused whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.network.wire import bounds, frames
from tallystick.network.wire.faults import InvariantError, Refused
from tallystick.network.wire.frames import (
    Channel,
    pack,
    pack_many,
    payload_bytes_max,
    unpack,
    unpack_many,
)
from tallystick.network.wire.reasons import RejectReason


@given(st.sampled_from(Channel), st.binary(max_size=200))
def test_a_frame_comes_back(channel: Channel, payload: bytes) -> None:
    assert unpack(pack(channel, payload)) == (channel, payload)


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=20))
def test_a_message_comes_back(parts: list[bytes]) -> None:
    assert unpack_many(pack_many(parts)) == tuple(parts)


@given(st.binary(max_size=300))
def test_any_bytes_are_the_message_they_unpack_to_or_refused(data: bytes) -> None:
    try:
        parts = unpack_many(data)
    except Refused:
        return
    assert pack_many(parts) == data


@given(st.binary(max_size=20))
def test_any_bytes_are_the_frame_they_unpack_to_or_refused(data: bytes) -> None:
    try:
        channel, payload = unpack(data)
    except Refused:
        return
    assert pack(channel, payload) == data


@pytest.mark.parametrize("frame", [b"", b"\x05", b"\xff payload"])
def test_no_channel_or_an_unknown_one_is_refused(frame: bytes) -> None:
    with pytest.raises(Refused) as caught:
        unpack(frame)
    assert caught.value.reason is RejectReason.MALFORMED


@pytest.mark.parametrize("channel", Channel)
def test_a_payload_holds_its_channels_bound_and_no_byte_more(channel: Channel) -> None:
    largest = bytes(payload_bytes_max(channel))
    frame = pack(channel, largest)
    assert unpack(frame)[1] == largest
    with pytest.raises(InvariantError):
        pack(channel, largest + b"\x00")
    with pytest.raises(Refused) as caught:
        unpack(frame + b"\x00")
    assert caught.value.reason is RejectReason.OVERSIZED


def test_the_largest_frame_fits_into_a_message_alone() -> None:
    frame = pack(Channel.CATCH_UP, bytes(payload_bytes_max(Channel.CATCH_UP)))
    message = pack_many([frame])
    assert len(message) == bounds.FRAME_BYTES_MAX
    assert unpack_many(message) == (frame,)
    assert frames.fits(0, 0, frame)
    assert not frames.fits(1, 5, frame)
    with pytest.raises(InvariantError):
        pack_many([frame, b"\x00"])
    with pytest.raises(Refused) as caught:
        unpack_many(message + b"\x00")
    assert caught.value.reason is RejectReason.OVERSIZED


def test_a_message_has_its_number_of_frames_and_none_more() -> None:
    most = [b"\x00"] * bounds.FRAMES_PER_MESSAGE_MAX
    message = pack_many(most)
    assert len(unpack_many(message)) == len(most)
    assert not frames.fits(len(most), len(message), b"\x00")
    with pytest.raises(InvariantError):
        pack_many([*most, b"\x00"])
    with pytest.raises(Refused) as caught:
        unpack_many(message + b"\x00\x00\x00\x01\x00")
    assert caught.value.reason is RejectReason.OVERSIZED


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", bytes(4), bytes(3) + b"\x02x", b"\xff\xff\xff\xffx", bytes(3) + b"\x01xy"],
)
def test_cut_off_empty_and_trailing_frames_are_refused(data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        unpack_many(data)
    assert caught.value.reason is RejectReason.MALFORMED


def test_a_sender_with_nothing_to_say_sends_nothing() -> None:
    with pytest.raises(InvariantError):
        pack_many([])
