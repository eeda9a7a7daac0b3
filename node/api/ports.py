"""What the HTTP interface needs of the node: somebody who submits, and the certified ledger to read.

`node.compose` joins these to `node.runtime.driver` and `node.core`; tests join them to fakes. Attributes are read-only here,
whatever they are behind the port.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tallystick.consensus.waiting import Waiting
from tallystick.contracts.aml.windows import Window
from tallystick.network.proofs.absence import AbsenceProof
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.checkpoints import CheckpointDocument
from tallystick.network.proofs.evidence_file import EvidenceFile
from tallystick.network.proofs.notes import Note
from tallystick.network.proofs.receipts import BlockProof, Receipt
from tallystick.network.proofs.state_proof import StateProof
from tallystick.network.wire.blocks import Header, Result
from tallystick.network.wire.ids import AccountId, NodeId, ParticipantId
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import Wait


class AccountView(Protocol):
    """One account's record, which nobody changes through this port. Amounts in minor units."""

    @property
    def participant(self) -> int: ...
    @property
    def serial(self) -> int: ...
    @property
    def tier(self) -> int: ...
    @property
    def threshold(self) -> int: ...
    @property
    def keys(self) -> Sequence[bytes]: ...
    @property
    def balances(self) -> Mapping[str, int]: ...
    @property
    def sent(self) -> Mapping[str, Window]: ...


class LocationView(Protocol):
    """Where on the ledger a transaction stands."""

    @property
    def height(self) -> int: ...
    @property
    def index(self) -> int: ...
    @property
    def digest(self) -> bytes: ...


class BlockView(Protocol):
    """One certified block; `certificate` None when a later block certifies it."""

    @property
    def header(self) -> Header: ...
    @property
    def result(self) -> Result: ...
    @property
    def certificate(self) -> Certificate | None: ...
    @property
    def body_ids(self) -> Sequence[bytes]: ...


class Ledger(Protocol):
    """The certified ledger; never an overlay of blocks in flight."""

    @property
    def height(self) -> int: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def link(self) -> bytes: ...
    @property
    def state_root(self) -> bytes: ...
    def account(self, account: AccountId, /) -> AccountView | None: ...
    def account_proof(
        self, account: AccountId, /
    ) -> tuple[bytes, bytes | None, bytes, StateProof, BlockProof]:
        """(key, encoded record or None, blind, state proof, proof of the block whose state it is)."""
        ...

    def absence(
        self, account: bytes, payment_id: bytes, digest: bytes, valid_until_ms: int, /
    ) -> Callable[[], AbsenceProof]:
        """The proof that this digest was never ordered. `Refused(NOT_FOUND)` while its window is open; the slow call that is
        returned, `Refused(ALREADY_ORDERED)`."""
        ...

    def locate(self, account: bytes, payment_id: bytes, /) -> LocationView | None:
        """The authorised transaction that took (account, id)."""
        ...

    def locate_body(self, body_id: bytes, /) -> LocationView | None: ...
    def receipt(self, height: int, index: int, /) -> Receipt: ...
    def bundle(self, height: int, indexes: Sequence[int], /) -> bytes:
        """The encoded `Bundle` of these transactions' receipts."""
        ...

    def block(self, height: int, /) -> BlockView | None: ...
    def checkpoint(self, height: int | None, /) -> tuple[CheckpointDocument, Note]:
        """The one at this height, None for the newest. May raise `Refused(NOT_FOUND)`."""
        ...

    def consistency(self, first: int, second: int, /) -> tuple[bytes, bytes, Sequence[bytes]]:
        """(first root, second root, proof) of the histories up to two heights. May raise `Refused(NOT_FOUND)`."""
        ...

    def links(self, first: int, count: int, /) -> bytes:
        """At most `count` links from a height on, joined. May raise `Refused(NOT_FOUND)`."""
        ...

    def evidence(self) -> Sequence[EvidenceFile]:
        """Against members that signed two things which exclude each other, in an order that stays."""
        ...


class StatusView(Protocol):
    """How the node is. `halted` is the sentence that stopped it."""

    @property
    def node(self) -> int: ...
    @property
    def engine(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def view(self) -> int: ...
    @property
    def leader(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def link(self) -> bytes: ...
    @property
    def state_root(self) -> bytes: ...
    @property
    def block_time_ms(self) -> int: ...
    @property
    def pool_size(self) -> int: ...
    @property
    def peers_up(self) -> Sequence[NodeId]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def waiting_for(self) -> str: ...
    @property
    def waiting(self) -> Waiting: ...
    @property
    def peers_down(self) -> Sequence[tuple[NodeId, int]]:
        """Other members that are not connected, and since when."""
        ...

    @property
    def catch_up_to(self) -> int | None: ...
    @property
    def level(self) -> bool:
        """A block has become final since the process started."""
        ...

    @property
    def alarm(self) -> str | None: ...
    @property
    def halted(self) -> str | None: ...


class Node(Protocol):
    """A node that can be read: a member or an observer."""

    @property
    def reader(self) -> Ledger: ...
    def status(self) -> StatusView: ...


class Submitter(Protocol):
    """Somebody who takes transactions: the driver of a member."""

    @property
    def has_room(self) -> bool:
        """False while the node takes nothing new: whoever sends much need not be read."""
        ...

    async def submit(
        self,
        bodies: Sequence[bytes],
        wait: Wait,
        participant: ParticipantId | None,
        timeout_s: float,
    ) -> tuple[Answer, ...]:
        """One answer for each body, in order; on time-out the state reached so far. May raise `Refused`."""
        ...


class Leading(Protocol):
    """What only a member can say or do: that nothing final is missing here, and that another shall lead."""

    async def read_at_quorum(self) -> None:
        """Return once the certified ledger holds what was final anywhere by now. `Refused` with NOT_CONFIRMED."""
        ...

    async def hand_over(self, to: NodeId | None) -> bool:
        """True once another member leads. `Refused` with NOT_LEADER."""
        ...


class AuditView(Protocol):
    """What an observer found by executing every block itself."""

    @property
    def lag_ms(self) -> int:
        """Age of the newest block that was executed here, by this process's clock."""
        ...

    @property
    def blocks_executed(self) -> int: ...
    @property
    def divergence(self) -> str | None:
        """Why the members' certified result differs from ours; None while it never did."""
        ...
