"""What clients were told stays true (I3, I8): received or accepted ends on the ledger or past its deadline; a receipt that was
handed out is in every later ledger, and every retry gets the same one.
"""

from dataclasses import dataclass, field

import msgspec

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.signing import batch_digest, held_message
from tallystick.network.wire.transactions.codec import body_id
from tallystick.node.core import schema
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import BadBody, CheckedBody
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.messages import BODY_MESSAGE, Forward, Held
from tallystick.node.storage.memory import MemoryStore
from tests.sim.checkers import Violation, hold
from tests.sim.checkers.chain import Chain, Model
from tests.sim.crypto import Bodies, VoteKeys


@dataclass(slots=True)
class Clients:
    chain_id: int
    keys: VoteKeys
    bodies: Bodies
    chain: Chain
    admitted: dict[BodyId, str] = field(default_factory=dict)
    """Body id → the best that an honest node, or f+1 signatures, said of it."""
    raws: dict[BodyId, bytes] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    """How many of which answer: a run in which nothing settles proves little."""

    def told(self, answers: tuple[Answer, ...], honest: bool) -> None:
        for answer in answers:
            name = answer.reason.code if answer.reason is not None else answer.state
            self.answers[name] = self.answers.get(name, 0) + 1
            if answer.state == "accepted":
                self._accepted(answer)
            elif answer.state == "received" and honest:
                self.admitted.setdefault(answer.body_id, "received")
            elif answer.state == "final" and honest:
                self._final(answer)

    def _accepted(self, answer: Answer) -> None:
        """f+1 genuine signatures bind, whoever hands them on."""
        message = held_message(self.chain_id, 0, answer.batch)
        holders = {node for node, _ in answer.holders}
        genuine = all(
            self.keys.verify(self.keys.public[node], message, signature)
            for node, signature in answer.holders
        )
        hold(
            genuine and self.chain.epochs.bind(holders),
            "I3",
            "accepted without f+1 signatures",
        )
        hold(
            answer.body_id in answer.siblings and batch_digest(answer.siblings) == answer.batch,
            "I3",
            "accepted by signatures over another batch",
        )
        self.admitted[answer.body_id] = "accepted"

    def _final(self, answer: Answer) -> None:
        """The receipt's place is where the one history has this transaction."""
        model, place = self.chain.model, (answer.height, answer.index)
        own = model.bodies.get(answer.body_id)
        digest = self._digest(answer.body_id)
        consumed = model.places.get(digest) if digest is not None else None
        hold(
            place in (own, consumed),
            "I8",
            f"a client was sent to {place}, but its transaction is at {own or consumed}",
        )
        if own is None:
            hold(place == consumed, "I8", f"a retry was answered with {place}, not {consumed}")
        self.admitted[answer.body_id] = "final"

    def _digest(self, body: BodyId) -> bytes | None:
        verdict = self.bodies.by_id.get(body)
        return verdict.digest if isinstance(verdict, CheckedBody) else None

    def unresolved(self, time_ms: int) -> list[BodyId]:
        """Admitted, not on the ledger (as itself or as its digest), and not past its deadline at `time_ms`."""
        model = self.chain.model
        open_: list[BodyId] = []
        for body, state in self.admitted.items():
            verdict = self.bodies.check(self.raws[body])
            if isinstance(verdict, BadBody):
                raise Violation("I8", f"{state}, though it is {verdict.reason.code}")
            ordered = body in model.bodies or verdict.digest in model.places
            if not ordered and verdict.transaction.valid_until_ms >= time_ms:
                open_.append(body)
        return open_


@dataclass(slots=True)
class Holders:
    """What honest nodes signed that they hold on their disks."""

    bodies: Bodies
    model: Model
    batches: dict[bytes, tuple[BodyId, ...]] = field(default_factory=dict)
    """Batch digest → body ids, from every `Forward` on the wire."""
    held: dict[NodeId, dict[BodyId, None]] = field(default_factory=dict)

    def leaves(self, node: NodeId, frame: bytes, honest: bool) -> None:
        """A frame about bodies is put on the wire."""
        try:
            message = BODY_MESSAGE.decode(frame[1:])
        except Refused:
            return
        if isinstance(message, Forward):
            ids = tuple([body_id(raw) for raw in message.bodies])
            self.batches[batch_digest(ids)] = ids
        elif isinstance(message, Held) and honest:
            known = self.batches.get(message.batch)
            if known is None:
                raise Violation("I3", f"member {node} holds a batch that nobody forwarded")
            self.held.setdefault(node, {}).update(dict.fromkeys(known))

    def restarted(self, name: str, node: NodeId, store: MemoryStore, ledger: Ledger) -> None:
        """After a restart: every transaction that this node signed for is on its disk, final, or past its deadline."""
        held = self.held.get(node)
        if not held:
            return
        rows = store.scan(schema.BATCH)
        on_disk = {body_id(raw) for _, value in rows for raw in _RAWS.decode(value)}
        for body in held:
            if body not in on_disk:
                self._may_be_gone(name, body, ledger)

    def _may_be_gone(self, name: str, body: BodyId, ledger: Ledger) -> None:
        """Nothing may be missing, unless it is final at this node, or past its deadline."""
        verdict = self.bodies.verdict_of(body)
        if isinstance(verdict, BadBody):
            raise Violation("I3", f"{name} signed to hold what is {verdict.reason.code}")
        places = (self.model.bodies.get(body), self.model.places.get(verdict.digest))
        final = any(place is not None and place[0] <= ledger.height for place in places)
        until_ms = verdict.transaction.valid_until_ms
        hold(
            final or until_ms < ledger.time_ms,
            "I3",
            f"{name} lost a transaction that it signed to hold (deadline {until_ms}, time {ledger.time_ms})",
        )


_RAWS = msgspec.msgpack.Decoder(list[bytes])
