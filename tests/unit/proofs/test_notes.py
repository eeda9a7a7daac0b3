"""Signed notes and cosignatures: the published example, what a strict reader refuses, and whose line counts."""

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tallystick.network.proofs.merkle import SIZE_MAX
from tallystick.network.proofs.notes import (
    COSIGNATURE_V1,
    ED25519,
    LogHead,
    Note,
    NoteKey,
    NoteLine,
    cosignature_line,
    cosignature_message,
    cosigned_at_s,
    ed25519_line,
    parse_note,
    parse_vkey,
    verify_lines,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.keys import verify_vote

HEAD = LogHead("example.com/log", 20_852_163, bytes(range(32)))
LOG = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
WITNESS = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
LOG_KEY = NoteKey("example.com/log", LOG.public_key().public_bytes_raw())
WITNESS_KEY = NoteKey("w.example/1", WITNESS.public_key().public_bytes_raw(), COSIGNATURE_V1)
TIME_S = 1_679_315_147


def note() -> Note:
    own = ed25519_line(LOG_KEY, LOG.sign(HEAD.text().encode()))
    seen = cosignature_line(WITNESS_KEY, TIME_S, WITNESS.sign(cosignature_message(HEAD, TIME_S)))
    return Note(HEAD, (own, seen))


TEXT = note().text().encode()


def test_the_example_of_gos_note_package_has_our_key_id_and_signature() -> None:
    """golang.org/x/mod/sumdb/note, documentation of `Open`."""
    key = parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        b"If you think cryptography is the answer to your problem,\n"
        b"then you don't know what your problem is.\n"
    )
    raw = b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    assert (key.type, key.id) == (ED25519, raw[:4])
    assert verify_vote(key.key, text, raw[4:])
    assert key.vkey() == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_a_note_comes_back_from_its_text_and_names_its_signers() -> None:
    read = parse_note(TEXT)
    assert read == note()
    assert verify_lines(read, [LOG_KEY, WITNESS_KEY]) == [LOG_KEY, WITNESS_KEY]
    assert cosigned_at_s(read, WITNESS_KEY) == TIME_S
    assert cosigned_at_s(read, LOG_KEY) is None


def test_a_cosignature_is_over_its_own_first_lines() -> None:
    assert cosignature_message(HEAD, TIME_S).startswith(b"cosignature/v1\ntime 1679315147\n")
    assert cosignature_message(HEAD, TIME_S).endswith(HEAD.text().encode())
    later = cosignature_line(WITNESS_KEY, TIME_S + 1, note().lines[1].signature[8:])
    with pytest.raises(Refused, match="not genuine"):
        verify_lines(Note(HEAD, (later,)), [WITNESS_KEY])
    as_plain = NoteKey(WITNESS_KEY.name, WITNESS_KEY.key, ED25519)
    assert as_plain.id != WITNESS_KEY.id
    assert verify_lines(note(), [as_plain]) == []


def test_a_time_beyond_63_bits_and_a_line_of_another_length_are_refused() -> None:
    time_s = SIZE_MAX + 1
    far = cosignature_line(WITNESS_KEY, time_s, WITNESS.sign(cosignature_message(HEAD, time_s)))
    short = NoteLine(WITNESS_KEY.name, WITNESS_KEY.id, bytes(71))
    for line in (far, short):
        with pytest.raises(Refused, match="not genuine"):
            verify_lines(Note(HEAD, (line,)), [WITNESS_KEY])


def test_strangers_lines_are_passed_over_even_with_a_known_name_or_id() -> None:
    named = NoteLine(LOG_KEY.name, b"\0\0\0\0", bytes(64))
    numbered = NoteLine("somebody.else", LOG_KEY.id, bytes(64))
    mixed = Note(HEAD, (named, numbered, *note().lines))
    assert verify_lines(mixed, [LOG_KEY]) == [LOG_KEY]


@given(st.integers(0, len(TEXT) - 1), st.integers(1, 255))
def test_a_note_with_any_byte_changed_is_not_that_note(position: int, change: int) -> None:
    other = TEXT[:position] + bytes([TEXT[position] ^ change]) + TEXT[position + 1 :]
    try:
        signed = verify_lines(parse_note(other), [LOG_KEY, WITNESS_KEY])
    except Refused:
        return
    assert len(signed) < 2  # a changed name or id makes a stranger's line of it


@pytest.mark.parametrize("cut", range(0, len(TEXT), 3))
def test_a_cut_note_is_refused_or_lacks_a_signer(cut: int) -> None:
    try:
        signed = verify_lines(parse_note(TEXT[:cut]), [LOG_KEY, WITNESS_KEY])
    except Refused:
        return
    assert signed == [LOG_KEY]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        HEAD.text(),
        HEAD.text() + "\n",
        HEAD.text().replace("20852163", "020852163") + "\n— a AAAAAAA=\n",
        HEAD.text().replace("20852163", "-1") + "\n— a AAAAAAA=\n",
        HEAD.text().replace("20852163", str(2**63)) + "\n— a AAAAAAA=\n",
        HEAD.text().replace("example.com/log", "") + "\n— a AAAAAAA=\n",
        HEAD.text() + "an extension\n\n— a AAAAAAA=\n",
        HEAD.text() + "\n— a AAAAAAB=\n",  # other trailing bits
        HEAD.text() + "\n— a+b AAAAAAA=\n",
        HEAD.text() + "\n- a AAAAAAA=\n",
        HEAD.text() + "\n— a AAAA\n",
        HEAD.text() + "\n— a\u00a0b AAAAAAA=\n",
        HEAD.text() + "\n— a AAAAAAA=\r\n",
        HEAD.text() + "\n— a AAAAAAA=",
    ],
)
def test_what_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_note(text.encode())


def test_as_many_lines_as_the_bound_and_one_more() -> None:
    line = "— a AAAAAAA=\n"
    assert (
        len(parse_note((HEAD.text() + "\n" + line * bounds.NOTE_LINES_MAX).encode()).lines) == 256
    )
    with pytest.raises(Refused, match="too many"):
        parse_note((HEAD.text() + "\n" + line * (bounds.NOTE_LINES_MAX + 1)).encode())
    with pytest.raises(Refused):
        parse_note(b"x" * (bounds.NOTE_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "vkey", ["", "a", "a+b", "a+00000000+AQ==", "a b+c74f20a3+ARpc", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
)  # fmt: skip
def test_what_is_not_a_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(Refused):
        parse_vkey(vkey)
