"""What clients were told stays true (I3, I8): received or accepted ends on the ledger or past its deadline; a receipt that was
handed out is in every later ledger, and every retry gets the same one.
"""

from dataclasses import dataclass, field

from tallystick.network.proofs.certificates import faults_of
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.network.wire.signing import batch_digest, held_message
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import BadBody, CheckedBody
from tests.sim.checkers import Violation, hold
from tests.sim.checkers.chain import Chain
from tests.sim.crypto import Bodies, VoteKeys


@dataclass(slots=True)
class Clients:
    chain_id: int
    members: int
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
            genuine and len(holders) > faults_of(self.members),
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

    batches: dict[bytes, tuple[BodyId, ...]] = field(default_factory=dict)
    """Batch digest → body ids, from every `Forward` on the wire."""
    held: dict[NodeId, dict[BodyId, None]] = field(default_factory=dict)

    def forwarded(self, ids: tuple[BodyId, ...]) -> None:
        self.batches[batch_digest(ids)] = ids

    def signed(self, node: NodeId, digest: bytes) -> None:
        ids = self.batches.get(digest)
        if ids is None:
            raise Violation("I3", f"member {node} holds a batch that nobody forwarded")
        self.held.setdefault(node, {}).update(dict.fromkeys(ids))
