"""The published vectors of absences: a window with neighbours on both sides, its edges, an empty one, and what is refused.

The window is of the example transfer's deadline; its entries are made up, but for a stranger's copy of the transfer itself,
which hides nothing. Nothing is executed: the state holds the mark, the window's record, and fillers that split the map.
"""

from bisect import bisect_left
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from msgspec.structs import replace

from format_examples import (
    EPOCH,
    HEIGHT,
    LANE,
    Network,
    commit_certificate,
    example_payments,
)
from tallystick.network.proofs.absence import (
    ABSENCE,
    Absence,
    AbsenceProof,
    Neighbour,
    check_absence,
    sought,
)
from tallystick.network.proofs.document import absence_to_bytes
from tallystick.network.proofs.merkle import Log, Tree, leaf_hash, leaf_hashes
from tallystick.network.proofs.receipts import BlockProof
from tallystick.network.proofs.state_map import StateMap
from tallystick.network.proofs.state_proof import EMPTY_ROOT
from tallystick.network.proofs.state_proof import leaf_hash as state_leaf
from tallystick.network.proofs.verify import Verifier
from tallystick.network.proofs.windows import (
    BYTES_ONLY,
    CLOSED_WINDOW,
    TOOK_ID,
    WINDOWS_KEY,
    WINDOWS_MARK,
    ClosedWindow,
    WindowsMark,
    window_key,
    window_start,
)
from tallystick.network.wire.blocks import Header, Result, genesis_link, link_of
from tallystick.network.wire.faults import invariant, present
from tallystick.network.wire.transactions import Transaction
from tallystick.network.wire.transactions.codec import body_id, encode

FILLERS = 60
"""Records beside those that are shown."""


class Shown:
    """A certified state in which one window is closed, holding `entries`."""

    def __init__(
        self,
        network: Network,
        entries: Sequence[bytes],
        start_ms: int,
        oldest_ms: int,
        fillers: int = FILLERS,
    ) -> None:
        self.network = network
        self.entries = sorted(entries)
        self.tree = Tree(leaf_hashes(self.entries))
        self.window = ClosedWindow(self.tree.size, self.tree.root) if entries else None
        self.start_ms = start_ms
        self.mark = WindowsMark(1, oldest_ms, oldest_ms, oldest_ms, 0, b"")
        records = {WINDOWS_KEY: WINDOWS_MARK.encode(self.mark)}
        if self.window is not None:
            records[window_key(start_ms)] = CLOSED_WINDOW.encode(self.window)
        records |= {bytes([number]): b"" for number in range(fillers)}
        self.state = StateMap()
        self.state.load(
            sorted((sha256(key).digest(), state_leaf(key, value)) for key, value in records.items())
        )
        self.block = certified(network, self.state.root, oldest_ms)

    def neighbour(self, index: int) -> Neighbour | None:
        """The entry at `index`, None beyond the edges."""
        if not 0 <= index < len(self.entries):
            return None
        return Neighbour(index, self.entries[index], self.tree.path(index))

    def absence(self, transaction: Transaction) -> Absence:
        """What a node would show of this transaction."""
        digest = self.network.digester.digest(transaction)
        place = sought(transaction.account, transaction.id, digest)
        at = bisect_left(self.entries, place)
        key_hashes = (sha256(WINDOWS_KEY).digest(), sha256(window_key(self.start_ms)).digest())
        mark_proof, window_proof = (self.state.prove(each) for each in key_hashes)
        before, after = self.neighbour(at - 1), self.neighbour(at)
        proof = AbsenceProof(
            self.mark, mark_proof, self.window, window_proof, before, after, self.block
        )
        return Absence(1, encode(replace(transaction, witnesses=())), digest, proof)


def certified(network: Network, state_root: bytes, time_ms: int) -> BlockProof:
    """An empty block at height 1 with this state after it."""
    parent = genesis_link(network.hash, EMPTY_ROOT)
    history, empty = Log([leaf_hash(parent)]).root(), Tree([]).root
    header = Header(1, network.chain, LANE, EPOCH, HEIGHT, parent, history, time_ms, 0, empty)
    result = Result(state_root, empty)
    certificate = commit_certificate(network, header, link_of(header, result))
    return BlockProof(header, result, certificate)


def lost_transfer(network: Network) -> Transaction:
    """The example transfer, signed; in the absences it stands without its signatures."""
    return example_payments(network)[2]


def example_entries(network: Network) -> list[bytes]:
    """Two below the transfer's place, one of them a stranger's copy of it, and three above."""
    lost = lost_transfer(network)
    digest = network.digester.digest(lost)
    copy = body_id(encode(network.signed(lost, 0x44)))
    own = lost.account + lost.id + digest + BYTES_ONLY + copy
    others = [
        bytes([byte]) * 20 + bytes([byte]) * 32 + bytes([byte]) * 32 + TOOK_ID + bytes([byte]) * 32
        for byte in (0x00, 0xFD, 0xFE, 0xFF)
    ]
    return [own, *others]


def shown_of(network: Network, entries: Sequence[bytes], fillers: int = FILLERS) -> Shown:
    """The window of the transfer's deadline with these entries, and a mark just behind it."""
    window_ms = network.genesis.parameters.window_ms
    start_ms = window_start(lost_transfer(network).valid_until_ms, window_ms)
    return Shown(network, entries, start_ms, start_ms + window_ms, fillers)


def example_absences(network: Network) -> dict[str, Absence]:
    """One for each way in which a place can be empty."""
    lost, entries = lost_transfer(network), sorted(example_entries(network))
    windows = {
        "between": entries,
        "first": entries[2:],
        "last": entries[:2],
        "alone": entries[:1],
        "empty": [],
    }
    return {name: shown_of(network, held).absence(lost) for name, held in windows.items()}


def false_absences(network: Network) -> dict[str, tuple[str, Absence]]:
    """Absences that prove nothing, each with the step at which a verifier stops."""
    lost, entries = lost_transfer(network), sorted(example_entries(network))
    shown, true = shown_of(network, entries), example_absences(network)
    between, empty = true["between"], true["empty"]
    below, above = (
        present(each, "no neighbour") for each in (between.proof.before, between.proof.after)
    )
    window = present(between.proof.window, "no window")
    own = entries[1][:84] + TOOK_ID + body_id(encode(lost))
    held = shown_of(network, [*entries, own])
    ordered, at = held.absence(lost), sorted([*entries, own]).index(own)
    later_ms = shown.start_ms + network.genesis.parameters.window_ms
    other = replace(lost, valid_until_ms=later_ms)

    def with_proof(absence: Absence, **changes: Any) -> Absence:
        return replace(absence, proof=replace(absence.proof, **changes))

    return {
        "a gap between the neighbours": (
            "absent", with_proof(ordered, before=held.neighbour(at - 1), after=held.neighbour(at + 1))
        ),
        "the entry itself as a neighbour": ("absent", ordered),
        "neighbours swapped": (
            "absent",
            with_proof(between, before=between.proof.after, after=between.proof.before),
        ),
        "the upper neighbour left out": ("absent", with_proof(between, after=None)),
        "the lower neighbour left out": ("absent", with_proof(between, before=None)),
        "no neighbours of a window that has entries": (
            "absent", with_proof(between, before=None, after=None)
        ),
        "neighbours of a window that has none": (
            "absent", with_proof(empty, before=between.proof.before)
        ),
        "an index that is not the neighbour's": (
            "absent",
            with_proof(
                between,
                before=replace(below, index=0),
                after=replace(above, index=1),
            ),
        ),
        "a record that is said not to be there": (
            "window", with_proof(between, window=None, before=None, after=None)
        ),
        "another window's record": (
            "window", with_proof(between, window=ClosedWindow(1, window.root))
        ),
        "a window that is not closed yet": ("closed", shown.absence(other)),
        "another mark": (
            "closed", with_proof(between, mark=replace(between.proof.mark, oldest_ms=2 * later_ms))
        ),
        "the deadline of another transaction": (
            "identity", replace(between, transaction=encode(replace(other, witnesses=())))
        ),
        "a transaction with its signatures": ("transaction", replace(between, transaction=encode(lost))),
        "a version that is not known": ("transaction", replace(between, version=2)),
    }  # fmt: skip


def absence_vectors(network: Network) -> dict[str, Any]:
    """Encoded, and one as a file."""
    verifier = Verifier(network.genesis)
    true, false = example_absences(network), false_absences(network)
    for name, absence in true.items():
        invariant(check_absence(verifier, absence).ok, "an example does not verify", name=name)
    entries = sorted(example_entries(network))
    return {
        "entries": entries,
        "place": sought(entries[1][:20], entries[1][20:52], entries[1][52:84]),
        "window_key": window_key(shown_of(network, entries).start_ms),
        "window": CLOSED_WINDOW.encode(ClosedWindow(len(entries), Tree(leaf_hashes(entries)).root)),
        "mark": WINDOWS_MARK.encode(true["between"].proof.mark),
        "verified": {name: ABSENCE.encode(absence) for name, absence in true.items()},
        "refused": {
            name: {"step": step, "absence": ABSENCE.encode(absence)}
            for name, (step, absence) in false.items()
        },
        "file": absence_to_bytes(true["between"]).decode(),
    }
