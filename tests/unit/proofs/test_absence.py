"""A proof of non-settlement: every way in which a place can be empty, and nothing false that looks like one."""

import json
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from format_absences import (
    Shown,
    example_absences,
    example_entries,
    false_absences,
    lost_transfer,
    shown_of,
)
from format_examples import Network, example_genesis
from tallystick.network.proofs.absence import (
    ABSENCE,
    Absence,
    check_absence,
    sought,
    verify_absence,
)
from tallystick.network.proofs.document import (
    absence_from_bytes,
    absence_from_document,
    absence_to_bytes,
    is_absence,
    receipt_from_bytes,
)
from tallystick.network.proofs.verdict import EXIT_NOT_VERIFIED, EXIT_VERIFIED
from tallystick.network.proofs.verify import Verifier
from tallystick.network.proofs.windows import (
    BYTES_ONLY,
    CLOSED_WINDOW,
    ENTRY_BYTES,
    ID_TAKEN,
    NAME_BYTES,
    OPEN_WINDOW,
    TOOK_ID,
    OpenWindow,
    window_key,
    window_record,
    window_start,
)
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.genesis import GENESIS
from tallystick.network.wire.reasons import RejectReason

NETWORK = Network()
LOST = lost_transfer(NETWORK)
DIGEST = NETWORK.digester.digest(LOST)
TRUE, FALSE = example_absences(NETWORK), false_absences(NETWORK)


@pytest.mark.parametrize("name", TRUE)
def test_every_way_in_which_a_place_can_be_empty_verifies(name: str) -> None:
    verdict = verify_absence(TRUE[name], NETWORK.genesis)
    assert verdict.ok, verdict.failed
    assert (verdict.exit_code, verdict.assurance, verdict.status) == (EXIT_VERIFIED, "BFT", None)
    assert [check.name for check in verdict.checks] == [
        "form", "members", "header", "link", "certificate",
        "transaction", "identity", "closed", "window", "absent",
    ]  # fmt: skip


@pytest.mark.parametrize("name", FALSE)
def test_what_proves_nothing_stops_at_its_step(name: str) -> None:
    step, absence = FALSE[name]
    verdict = verify_absence(absence, NETWORK.genesis)
    assert not verdict.ok
    assert verdict.exit_code == EXIT_NOT_VERIFIED
    assert verdict.height is None
    assert verdict.failed is not None
    assert verdict.failed.name == step, verdict.failed


def test_a_gap_between_the_neighbours_is_seen() -> None:
    """The entry that stands in the gap may be the very one that is said to be absent."""
    _, absence = FALSE["a gap between the neighbours"]
    verdict = verify_absence(absence, NETWORK.genesis)
    assert verdict.failed is not None
    assert verdict.failed.sentence == "something may stand between the two neighbours"


def test_a_strangers_copies_neither_hide_the_absence_nor_feign_the_digest() -> None:
    name = LOST.account + LOST.id + DIGEST
    copies = [name + BYTES_ONLY + bytes([byte]) * 32 for byte in (0, 7, 255)]
    alone = shown_of(NETWORK, copies).absence(LOST)
    assert verify_absence(alone, NETWORK.genesis).ok
    for flag in (TOOK_ID, ID_TAKEN):
        for body in (bytes(32), b"\xff" * 32):
            held = shown_of(NETWORK, [*copies, name + flag + body]).absence(LOST)
            assert not verify_absence(held, NETWORK.genesis).ok


def test_another_network_takes_none_of_it() -> None:
    other = replace(example_genesis(), name="elsewhere")
    assert not verify_absence(TRUE["between"], other).ok


def test_an_open_window_is_never_read_as_a_closed_one() -> None:
    opened = OpenWindow(1, 2, bytes(32))
    assert window_record(OPEN_WINDOW.encode(opened)) == opened
    with pytest.raises(Refused):
        CLOSED_WINDOW.decode(OPEN_WINDOW.encode(opened))


# -- the file --


@pytest.mark.parametrize("name", TRUE)
def test_every_absence_comes_back_from_its_file(name: str) -> None:
    data = absence_to_bytes(TRUE[name])
    assert absence_from_bytes(data) == TRUE[name]
    assert is_absence(data)
    assert absence_from_document(json.loads(data)) == TRUE[name]


def test_an_absence_is_not_read_as_a_receipt() -> None:
    with pytest.raises(Refused) as refused:
        receipt_from_bytes(absence_to_bytes(TRUE["between"]))
    assert refused.value.reason is RejectReason.MALFORMED


def test_a_file_over_its_bound_is_refused_unread() -> None:
    with pytest.raises(Refused) as refused:
        absence_from_bytes(b" " * (bounds.RECEIPT_BYTES_MAX + 1))
    assert refused.value.reason is RejectReason.OVERSIZED


@pytest.mark.parametrize("held", [0, 2])
def test_a_change_of_any_one_byte_of_the_file_never_verifies(held: int) -> None:
    """Every position of a small one, by a bit and by another digit."""
    small = shown_of(NETWORK, example_entries(NETWORK)[:held], fillers=0).absence(LOST)
    assert verify_absence(small, NETWORK.genesis).ok
    data = absence_to_bytes(small)
    verifier, refused = Verifier(NETWORK.genesis), 0
    for at, byte in enumerate(data):
        for other in {byte ^ 1, ord("0")} - {byte}:
            changed = data[:at] + bytes([other]) + data[at + 1 :]
            try:
                absence = absence_from_bytes(changed)
            except Refused:
                refused += 1
                continue
            assert not check_absence(verifier, absence).ok, (at, chr(byte), chr(other))
            refused += 1
    assert refused >= len(data)


def test_a_file_cut_or_grown_by_one_byte_anywhere_is_refused() -> None:
    data = absence_to_bytes(TRUE["alone"])
    for at in range(0, len(data), 7):
        for changed in (data[:at] + data[at + 1 :], data[:at] + b"0" + data[at:], data[:at]):
            if changed == data:
                continue
            try:
                absence = absence_from_bytes(changed)
            except Refused:
                continue
            assert not verify_absence(absence, NETWORK.genesis).ok


def test_a_change_of_any_one_bit_of_the_encoding_never_verifies() -> None:
    verifier = Verifier(NETWORK.genesis)
    for name in ("alone", "empty"):
        data = ABSENCE.encode(TRUE[name])
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ (1 << (at % 8))]) + data[at + 1 :]
            try:
                absence = ABSENCE.decode(changed)
            except Refused:
                continue
            assert not check_absence(verifier, absence).ok, at


# -- against a plain model --

_ENTRY = st.builds(
    lambda account, id_, digest, flag: (
        bytes([account]) * 20
        + bytes([id_]) * 32
        + bytes([digest]) * 32
        + flag
        + bytes([digest]) * 32
    ),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from((BYTES_ONLY, TOOK_ID, ID_TAKEN)),
)


@settings(max_examples=60, deadline=None)
@given(st.sets(_ENTRY, max_size=40), st.booleans(), st.integers(0, 41), st.integers(0, 41))
def test_it_verifies_exactly_if_no_authorised_entry_is_the_digests_own(
    others: set[bytes], ordered: bool, low: int, high: int
) -> None:
    """Whatever two neighbours somebody picks: they never prove the absence of what is there."""
    own = LOST.account + LOST.id + DIGEST + TOOK_ID + bytes(32)
    shown = shown_of(NETWORK, [*others, *([own] if ordered else [])])
    honest = shown.absence(LOST)
    assert verify_absence(honest, NETWORK.genesis).ok is not ordered
    picked = replace(honest.proof, before=shown.neighbour(low - 1), after=shown.neighbour(high))
    place = bisect_left(shown.entries, sought(LOST.account, LOST.id, DIGEST))
    true = not ordered and (low, min(high, len(shown.entries))) == (place, place)
    verdict = verify_absence(replace(honest, proof=picked), NETWORK.genesis)
    if low <= len(shown.entries):  # else both are left out, as at the end of the window
        assert verdict.ok is true


def test_the_layout_of_an_entry_is_the_formats() -> None:
    entry = example_entries(NETWORK)[0]
    assert len(entry) == ENTRY_BYTES
    assert entry[:NAME_BYTES] == LOST.account + LOST.id + DIGEST
    assert window_key(60_000) == b"window/\0\0\0\0\0\0\xea\x60"
    assert [window_start(at, 60_000) for at in (0, 59_999, 60_000)] == [0, 0, 60_000]


def test_the_examples_are_of_this_network() -> None:
    assert isinstance(TRUE["between"], Absence)
    assert isinstance(shown_of(NETWORK, []), Shown)
    assert GENESIS.encode(NETWORK.genesis) == GENESIS.encode(example_genesis())
