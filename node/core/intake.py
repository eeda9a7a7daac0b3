"""How transactions come in: from clients, from the members they were handed to, and from whoever had one that we missed.

Decided here: refusals before ordering by the certified state (foreign or unknown account, wrong keys, deadlines, overload),
repeats answered without ordering, durable batches, forwarding, acknowledgements. Everything here is about this node alone;
the ledger decides again, at execution, for everybody. Not here: bytes and signatures (`admission`), order (consensus).
"""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

import msgspec

from tallystick.contracts import ordering_fault
from tallystick.contracts.authority import meets
from tallystick.network.wire import bounds
from tallystick.network.wire.frames import Channel
from tallystick.network.wire.ids import AccountId, BodyId, NodeId, ParticipantId
from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.signing import batch_digest
from tallystick.network.wire.transactions.codec import body_id as id_of
from tallystick.node.core import schema
from tallystick.node.core.effects import Answer
from tallystick.node.core.events import BadBody, CheckedBody, Submit, Verdict
from tallystick.node.core.forwarding import FLUSH_BODIES, Batch, Forwarding
from tallystick.node.core.holding import Holding, accepted
from tallystick.node.core.layers import Layer
from tallystick.node.core.ledger import Ledger
from tallystick.node.core.mempool import STRANGER, Mempool, Waiting
from tallystick.node.core.messages import (
    BODY_MESSAGE,
    AskBodies,
    Forward,
    GiveBodies,
    Held,
)
from tallystick.node.core.origins import FromClient, FromDisk, FromMember, Origin
from tallystick.node.core.outcomes import Outcomes
from tallystick.node.core.ports import VerifyVote, VoteSigner
from tallystick.node.core.step import Step

_encode = msgspec.msgpack.Encoder().encode
_BODIES = msgspec.msgpack.Decoder(list[bytes])


@dataclass(slots=True)
class Intake:
    ledger: Ledger
    pool: Mempool
    signer: VoteSigner
    verify: VerifyVote
    forwarding: Forwarding = field(default_factory=Forwarding)
    outcomes: Outcomes = field(default_factory=Outcomes)
    came: list[BodyId] = field(default_factory=list)
    """What this step brought in: `judging` may have waited for it."""
    _checks: dict[int, Origin] = field(default_factory=dict)
    _next_check: int = 0
    _checking: int = 0
    """Clients' transactions whose check is under way."""
    _checking_of: dict[ParticipantId, int] = field(default_factory=dict)
    """The same of one bank's own clients."""
    _on_their_way: set[BodyId] = field(default_factory=set)
    """Members' transactions whose check is under way."""
    _forwarded_by: dict[NodeId, int] = field(default_factory=dict)
    """Of these, what each member forwarded: its bound counts them, or a flood would wait unbounded for its check."""

    @property
    def _holding(self) -> Holding:
        return Holding(self.ledger, self.signer, self.verify)

    @property
    def room(self) -> int:
        """How many more of its clients' transactions this node takes now."""
        return max(0, self.pool.room_of(self.signer.node) - self._checking)

    # -- clients -------------------------------------------------------------------------------------------------------

    def on_submit(self, submit: Submit, now_ms: int, step: Step) -> None:
        """Overload is told before a signature is checked; what waits already is only waited for."""
        ids = tuple([id_of(raw) for raw in submit.bodies])
        self.outcomes.begin(submit.token, submit.wait, ids)
        room = self.room
        if submit.participant is not None:
            mine = self._checking_of.get(submit.participant, 0)
            bank_room = max(0, self.pool.room_of_bank(submit.participant) - mine)
        else:
            bank_room = room
        fresh: list[int] = []
        for index, (raw, body_id) in enumerate(zip(submit.bodies, ids, strict=True)):
            if len(raw) > bounds.TRANSACTION_BYTES_MAX:
                self._refuse(submit.token, index, body_id, RejectReason.OVERSIZED)
            elif self._waits_for(body_id, submit.participant):
                self.outcomes.wait_for(body_id, submit.token, index)
                self._tell_so_far(body_id, submit.token, index, now_ms)
            elif len(fresh) >= room:
                self._refuse(submit.token, index, body_id, RejectReason.OVERLOADED)
            elif len(fresh) >= bank_room:
                self._refuse(submit.token, index, body_id, RejectReason.QUOTA_SPENT)
            else:
                fresh.append(index)
        if fresh:
            origin = FromClient(submit.token, tuple(fresh), submit.participant)
            self._count_checks(submit.participant, len(fresh))
            step.check(self._begin_check(origin), tuple([submit.bodies[at] for at in fresh]))

    def _count_checks(self, participant: ParticipantId | None, count: int) -> None:
        self._checking += count
        if participant is not None:
            self._checking_of[participant] = self._checking_of.get(participant, 0) + count

    def _begin_check(self, origin: Origin) -> int:
        self._next_check += 1
        self._checks[self._next_check] = origin
        return self._next_check

    def foreign_check(self) -> int:
        """A token for a check whose answer does not come here."""
        self._next_check += 1
        return self._next_check

    def _refuse(
        self, token: int, index: int, body_id: BodyId, reason: RejectReason, detail: str = ""
    ) -> None:
        self.outcomes.answer(token, index, Answer("refused", body_id, reason, detail))

    def _tell_so_far(self, body_id: BodyId, token: int, index: int, now_ms: int) -> None:
        """A repeat of what waits already: it is received once it has a row, for answers leave after all rows so far; it is
        accepted if f+1 hold our batch. What came from another member, or back from the disk, is in no batch of ours:
        whoever waits for acceptance has it handed on in one."""
        waiting = self.pool.get(body_id)
        if waiting is None or not waiting.batch:
            return
        batch = self.forwarding.out.get(waiting.batch)
        if batch is not None and self._holding.enough(waiting.batch, batch):
            self.outcomes.answer(token, index, accepted(body_id, waiting.batch, batch))
            return
        self.outcomes.answer(token, index, Answer("received", body_id))
        if not self.outcomes.waits_for_acceptance(token):
            return
        if any(body_id == each for each, _ in self.forwarding.outgoing):
            self.forwarding.wanted = True
        elif batch is None or not batch.asked:
            self.forwarding.add(body_id, waiting.body.raw, now_ms, wanted=True)

    def on_gone(self, token: int) -> None:
        """A client waits no longer: its last answer says how far each of its transactions has come."""
        for body_id in self.outcomes.body_ids_of(token):
            waiting = self.pool.get(body_id)
            if waiting is not None and waiting.batch in self.forwarding.out:
                self._tell_acceptance(waiting.batch, self.forwarding.out[waiting.batch])
        self.outcomes.gone(token)

    # -- checked bodies ------------------------------------------------------------------------------------------------

    def on_checked(
        self, token: int, verdicts: tuple[Verdict, ...], now_ms: int, step: Step
    ) -> None:
        """The verifier has looked at the bytes; now the certified state is asked."""
        origin = self._checks.pop(token)
        if isinstance(origin, FromClient):
            self._count_checks(origin.participant, -len(verdicts))
            for index, verdict in zip(origin.indexes, verdicts, strict=True):
                self._from_client(origin, index, verdict, now_ms)
            # With no other check under way nothing will join this batch soon.
            self.flush(now_ms, step, force=not self._checking)
        elif isinstance(origin, FromMember):
            self._from_member(origin, verdicts, now_ms, step)
        else:
            self._from_disk(origin, verdicts, step)

    def _from_client(self, origin: FromClient, index: int, verdict: Verdict, now_ms: int) -> None:
        token = origin.token
        if isinstance(verdict, BadBody):
            return self._refuse(token, index, verdict.body_id, verdict.reason, verdict.detail)
        body_id = verdict.body_id
        if self._is_foreign(verdict.transaction.account, origin.participant):
            # Before anything else: what became of another bank's payment is not this client's to hear.
            return self._refuse(token, index, body_id, RejectReason.FOREIGN_ACCOUNT)
        known = self._known_outcome(verdict)
        if known is not None:
            return self.outcomes.answer(token, index, known)
        reason, bank = self._refusal(verdict, now_ms)
        if reason is None and origin.participant is None and not self.pool.room_of_bank(bank):
            reason = RejectReason.QUOTA_SPENT
        if reason is not None:
            self.ledger.unwatch((verdict.key,))
            return self._refuse(token, index, body_id, reason)
        self.outcomes.wait_for(body_id, token, index)
        if body_id not in self.pool:
            self._wait(verdict, bank, self.signer.node, b"")
            wanted = self.outcomes.waits_for_acceptance(token)
            self.forwarding.add(body_id, verdict.raw, now_ms, wanted)
        else:
            self._tell_so_far(body_id, token, index, now_ms)
        return None

    def _waits_for(self, body_id: BodyId, participant: ParticipantId | None) -> bool:
        """It waits already, and is this client's to wait for."""
        waiting = self.pool.get(body_id)
        return waiting is not None and not self._is_foreign(
            AccountId(waiting.body.transaction.account), participant
        )

    def _is_foreign(self, account: AccountId, participant: ParticipantId | None) -> bool:
        """Whether the account is another bank's than that of the client (None: bound to none)."""
        found = None if participant is None else self.ledger.account(account)
        return found is not None and found.participant != participant

    def _known_outcome(self, body: CheckedBody) -> Answer | None:
        """A transaction that was ordered before is answered with its first receipt, and never ordered again."""
        if self.ledger.watch(body.key) == body.digest:
            place = self.ledger.place_of(body.key)
            if place is not None:
                return Answer("final", body.body_id, height=place[1], index=place[2])
        if self.ledger.was_refused(body.body_id):
            refused = self.ledger.place_of_refused(body.body_id)
            if refused is not None:
                return Answer("final", body.body_id, height=refused[0], index=refused[1])
        return None

    def _refusal(self, body: CheckedBody, now_ms: int) -> tuple[RejectReason | None, int]:
        """Why the certified state says no already, and the paying bank."""
        ledger, transaction = self.ledger, body.transaction
        validity_ms = ledger.genesis.parameters.max_validity_ms
        time_ms = max(ledger.time_ms, now_ms)
        late = ordering_fault(transaction.valid_until_ms, time_ms, validity_ms)
        if late is not None:
            return late, STRANGER
        account = ledger.account(transaction.account)
        if account is None:
            return RejectReason.UNKNOWN_ACCOUNT, STRANGER
        if not meets(account, transaction.witnesses):
            return RejectReason.WRONG_KEYS, STRANGER
        return None, account.participant

    def _wait(self, body: CheckedBody, bank: int, entry: NodeId, batch: bytes) -> None:
        ledger = self.ledger
        validity_ms = ledger.genesis.parameters.max_validity_ms
        early = body.transaction.valid_until_ms > ledger.time_ms + validity_ms
        if self.pool.add(Waiting(body, bank, entry, batch), early):
            self.came.append(body.body_id)

    # -- forwarding ----------------------------------------------------------------------------------------------------

    def flush(self, now_ms: int, step: Step, force: bool = False) -> None:
        """Full batches, and one that has waited long enough (or is to be proposed now), become durable here and go to
        every member."""
        forwarding = self.forwarding
        while forwarding.due(now_ms) or (force and forwarding.outgoing):
            leaving, wanted = forwarding.next_batch()
            sent = [each for each in leaving if each[0] in self.pool]
            if not sent:
                continue  # final already, by another way
            ids = tuple([body_id for body_id, _ in sent])
            raws = tuple([raw for _, raw in sent])
            digest = batch_digest(ids)
            step.pairs[schema.BATCH + digest] = _encode(raws)
            forwarding.keep(digest, len(ids))
            forwarding.out[digest] = Batch(ids, wanted)
            for body_id in ids:
                self._move(body_id, digest, step)
            step.hearsay(Channel.BODIES, BODY_MESSAGE.encode(Forward(raws, wanted)))
            step.durable.received.append(ids)

    def _move(self, body_id: BodyId, digest: bytes, step: Step) -> None:
        """From now on the transaction rests on this row; the one that it rested on before may have served its time."""
        before = self.pool.assign(body_id, digest)
        if before and self.forwarding.release(before):
            step.pairs[schema.BATCH + before] = None

    def on_received(self, ids: tuple[BodyId, ...], step: Step) -> None:
        """Our own batch is durable here."""
        digest = batch_digest(ids)
        batch = self.forwarding.out.get(digest)
        for body_id in ids:
            self.outcomes.tell(Answer("received", body_id))
        if batch is not None:
            batch.durable = True
            if self.outcomes.accept_waiters:
                self._tell_acceptance(digest, batch)

    def _tell_acceptance(self, digest: bytes, batch: Batch) -> None:
        if self._holding.enough(digest, batch):
            for body_id in batch.ids:
                if self.outcomes.awaited(body_id):
                    self.outcomes.tell(accepted(body_id, digest, batch))

    # -- members -------------------------------------------------------------------------------------------------------

    def on_frame(
        self, sender: NodeId, payload: bytes, wanted: Container[BodyId], step: Step
    ) -> None:
        """A message of another member about bodies. Raises `Refused` for bytes that are none.

        `wanted`: what we asked for. An answer is outside the sender's bound, so nothing else is taken from it.
        """
        match BODY_MESSAGE.decode(payload):
            case Forward(bodies, sign):
                self._on_forward(sender, bodies, sign, step)
            case GiveBodies(bodies):
                asked = tuple([raw for raw in bodies if id_of(raw) in wanted])
                self._take_in(sender, asked, (), step, sign=False)
            case AskBodies(ids):
                have = [self.pool.get(body_id) for body_id in ids]
                given = tuple([waiting.body.raw for waiting in have if waiting is not None])
                if given:
                    answer = BODY_MESSAGE.encode(GiveBodies(given))
                    step.hearsay(Channel.BODIES, answer, sender)
            case Held(digest, signature):
                batch = self.forwarding.out.get(digest)
                if batch is not None and sender not in batch.holders:
                    batch.claims[sender] = signature
                    if self.outcomes.accept_waiters:
                        self._tell_acceptance(digest, batch)

    def _on_forward(
        self, sender: NodeId, bodies: tuple[bytes, ...], sign: bool, step: Step
    ) -> None:
        ids = tuple([id_of(raw) for raw in bodies])
        if len(bodies) > self.pool.room_of(sender) - self._forwarded_by.get(sender, 0):
            return step.note("peer-over-its-bound", sender=sender)
        return self._take_in(sender, bodies, ids, step, sign)

    def _take_in(
        self,
        sender: NodeId,
        bodies: tuple[bytes, ...],
        forwarded: tuple[BodyId, ...],
        step: Step,
        sign: bool,
    ) -> None:
        """Check what neither waits here nor is being checked."""
        ids = forwarded or tuple([id_of(raw) for raw in bodies])
        news = {
            body_id: raw
            for body_id, raw in zip(ids, bodies, strict=True)
            if not self.pool.knows(body_id) and body_id not in self._on_their_way
        }
        if news:
            origin = FromMember(sender, forwarded, tuple(news), sign)
            self._on_their_way.update(news)
            if forwarded:
                self._forwarded_by[sender] = self._forwarded_by.get(sender, 0) + len(news)
            step.check(self._begin_check(origin), tuple(news.values()))
        elif sign and all(self.pool.knows(body_id) for body_id in forwarded):
            self._sign_held(sender, forwarded, step)

    def is_on_its_way(self, body_id: BodyId) -> bool:
        """It has come and is being checked."""
        return body_id in self._on_their_way

    def _from_member(
        self, origin: FromMember, verdicts: tuple[Verdict, ...], now_ms: int, step: Step
    ) -> None:
        self._on_their_way.difference_update(origin.checked)
        if origin.forwarded:
            self._forwarded_by[origin.sender] -= len(origin.checked)
        good = [verdict for verdict in verdicts if isinstance(verdict, CheckedBody)]
        until_ms = self._latest_ms(now_ms)
        timely = [body for body in good if body.transaction.valid_until_ms <= until_ms]
        fresh = self._news(timely)
        if fresh:
            digest = batch_digest([body.body_id for body in fresh])
            rows = step.pairs if origin.sign else step.later
            rows[schema.BATCH + digest] = _encode([body.raw for body in fresh])
            self._wait_for_all(fresh, origin.sender, digest)
        if len(good) != len(verdicts):
            step.note("bad-bodies", sender=origin.sender, bad=len(verdicts) - len(good))
            # An honest member checks what it passes on, and each such check costs us as much as a good one.
            return step.note("peer-garbage", peer=origin.sender, reason="bad-bodies")
        if len(timely) != len(good):
            return step.note("too-far-bodies", sender=origin.sender, bad=len(good) - len(timely))
        seen = {body.body_id for body in timely}
        if origin.sign and all(
            body_id in seen or self.pool.knows(body_id) for body_id in origin.forwarded
        ):
            self._sign_held(origin.sender, origin.forwarded, step)
        return None

    def _latest_ms(self, now_ms: int) -> int:
        """No honest member lets a later deadline in, however its clock differs from ours: it would wait for ever."""
        parameters = self.ledger.genesis.parameters
        return max(self.ledger.time_ms, now_ms) + parameters.max_validity_ms + parameters.late_ms

    def _sign_held(self, sender: NodeId, ids: tuple[BodyId, ...], step: Step) -> None:
        """All of the batch is in our pool or on our ledger, so durable once this step and the earlier ones are."""
        self.flush(0, step, force=True)
        digest = batch_digest(ids)
        held = Held(digest, self._holding.signature(digest))
        step.promise(Channel.BODIES, BODY_MESSAGE.encode(held), sender)

    def _wait_for_all(self, bodies: list[CheckedBody], entry: NodeId, digest: bytes) -> None:
        self.forwarding.keep(digest, len(bodies))
        for body in bodies:
            account = self.ledger.account(body.transaction.account)
            mine = account is not None and meets(account, body.transaction.witnesses)
            self._wait(body, account.participant if account and mine else STRANGER, entry, digest)

    def _news(self, bodies: list[CheckedBody]) -> list[CheckedBody]:
        """What neither waits nor was ordered before, nor is past its deadline."""
        pool, time_ms, watch = self.pool, self.ledger.time_ms, self.ledger.watch
        refused = self.ledger.refused({body.body_id for body in bodies})
        return [
            body
            for body in bodies
            if body.body_id not in pool
            and body.body_id not in refused
            and body.transaction.valid_until_ms >= time_ms
            and watch(body.key) != body.digest
        ]

    # -- final ---------------------------------------------------------------------------------------------------------

    def on_final(self, layer: Layer, step: Step) -> None:
        """A block is final: its transactions wait no more, and whoever waits for them hears where the receipt is."""
        height, taken, outcomes = layer.header.height, layer.changes.taken, self.outcomes
        self._leave_pool([body.body_id for body in layer.bodies], step)
        for index, body in enumerate(layer.bodies):
            if outcomes.awaited(body.body_id):
                outcomes.tell(Answer("final", body.body_id, height=height, index=index))
            if self.pool.waits(body.key) and taken.get(body.key) == body.digest:
                # The digest is consumed: other bodies of it are repeats, answered with the same receipt.
                rivals = self.pool.rivals(body)
                self._leave_pool(rivals, step)
                for rival in rivals:
                    outcomes.tell(Answer("final", rival, height=height, index=index))
        for waiting in self._leave_pool(self.pool.expired(layer.header.time_ms), step):
            outcomes.tell(Answer("refused", waiting.body.body_id, RejectReason.PAST_DEADLINE))
        self.pool.ripen(layer.header.time_ms + self.ledger.genesis.parameters.max_validity_ms)

    def _leave_pool(self, body_ids: Sequence[BodyId], step: Step) -> list[Waiting]:
        """These wait no more: no absence is remembered and no durable batch kept for them."""
        removed = self.pool.remove(body_ids)
        self.ledger.unwatch([waiting.body.key for waiting in removed])
        for batch, count in Counter([waiting.batch for waiting in removed]).items():
            if batch and self.forwarding.release(batch, count):
                step.pairs[schema.BATCH + batch] = None
        return removed

    # -- holding on ----------------------------------------------------------------------------------------------------

    def restart(self, step: Step) -> None:
        """Every durable batch is checked and waited for again."""
        for key, value in list(self.ledger.store.scan(schema.BATCH)):
            origin = FromDisk(key[len(schema.BATCH) :])
            step.check(self._begin_check(origin), tuple(_BODIES.decode(value)))

    def _from_disk(self, origin: FromDisk, verdicts: tuple[Verdict, ...], step: Step) -> None:
        fresh = self._news([verdict for verdict in verdicts if isinstance(verdict, CheckedBody)])
        if fresh:
            self._wait_for_all(fresh, self.signer.node, origin.batch)
        elif origin.batch not in self.forwarding.left:
            # A member may have sent the same batch on while this one was checked: then its row is that batch's, too.
            step.pairs[schema.BATCH + origin.batch] = None

    def send_on(self, to: NodeId, arrived_before: int, count: int, step: Step) -> int:
        """The oldest once more, until ordered or past their deadline; the number of arrival up to which that was all."""
        raws, up_to = self.pool.oldest(arrived_before, count)
        for at in range(0, len(raws), 4 * FLUSH_BODIES):
            forward = Forward(tuple(raws[at : at + 4 * FLUSH_BODIES]), sign=False)
            step.hearsay(Channel.BODIES, BODY_MESSAGE.encode(forward), to)
        return up_to
