"""Transactions that wait to be ordered: bounded, fair between banks, one per digest at a time.

Every member holds every waiting transaction, so any of them can lead. A block takes from the banks in turn, so one bank's
flood cannot starve another's payment. Not here: whether a transaction is good (`admission`), who waits for it (`outcomes`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec import Struct

from tallystick.contracts.machine import work_of
from tallystick.network.wire.ids import BodyId, NodeId
from tallystick.node.core.events import CheckedBody

OWN_WAITING_MAX = 1_500
"""Transactions that this node took from clients and that are not final, their checks included. Four nodes together hold about
a second of the network's best rate: more would only wait longer."""

BANK_WAITING_MAX = OWN_WAITING_MAX * 4 // 5
"""The same of one bank: the rest is left for the others, however much one of them sends."""

PEER_WAITING_MAX = 2 * OWN_WAITING_MAX
"""The same of one other member; an honest one stays below half of it."""

GONE_REMEMBERED = 65_536
"""Body ids of transactions that became final: copies of them are still on their way for some seconds."""

STRANGER = -1
"""The bank under which transactions of unknown accounts wait, and such as their account's keys did not sign."""


class Waiting(Struct, gc=False):
    body: CheckedBody
    bank: int
    entry: NodeId
    """The member whose client handed it in, as far as we know; its bound pays for it."""
    batch: bytes
    """Digest of the durable batch that holds it."""
    number: int = 0
    """It was the so-manieth to come in."""


@dataclass(slots=True)
class Mempool:
    """By body id, and per bank in order of arrival."""

    own: NodeId
    arrived: int = 0
    """All that ever came in: the leader measures the load by it."""
    _all: dict[BodyId, Waiting] = field(default_factory=dict)
    _banks: dict[int, dict[BodyId, CheckedBody]] = field(default_factory=dict)
    """What is in no proposal of ours."""
    _by_entry: dict[NodeId, int] = field(default_factory=dict)
    _own_by_bank: dict[int, int] = field(default_factory=dict)
    _by_key: dict[bytes, tuple[CheckedBody, ...]] = field(default_factory=dict)
    """account ‖ id → the waiting bodies that carry it. Even one digest may wait in several: signed twice, or signed by a
    stranger to get in its way."""
    _gone: dict[BodyId, None] = field(default_factory=dict)
    """The last ones that left."""
    _expiry: dict[int, dict[BodyId, None]] = field(default_factory=dict)
    """Second of valid_until → body ids that wait."""
    _early: dict[BodyId, None] = field(default_factory=dict)
    """Deadline too far ahead of the ledger's time to be ordered yet."""
    _swept_s: int = 0
    _ready: int = 0

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, body_id: object) -> bool:
        return body_id in self._all

    def knows(self, body_id: BodyId) -> bool:
        """Does it wait, or did it until a moment ago? Then nobody needs to check it again."""
        return body_id in self._all or body_id in self._gone

    def waits(self, key: bytes) -> bool:
        """Does a transaction with this account ‖ id wait?"""
        return key in self._by_key

    @property
    def ready(self) -> int:
        """Transactions that no proposal on the chosen path contains."""
        return self._ready

    @property
    def owed(self) -> int:
        """Transactions that a leader owes a place in a block now."""
        return len(self._all) - len(self._early)

    def get(self, body_id: BodyId) -> Waiting | None:
        return self._all.get(body_id)

    def checked(self, body_id: BodyId) -> CheckedBody | None:
        """The transaction, if it waits here."""
        waiting = self._all.get(body_id)
        return waiting.body if waiting is not None else None

    def room_of(self, entry: NodeId) -> int:
        """How many more transactions this member may have waiting."""
        bound = OWN_WAITING_MAX if entry == self.own else PEER_WAITING_MAX
        return max(0, bound - self._by_entry.get(entry, 0))

    def room_of_bank(self, bank: int) -> int:
        """How many more transactions this bank's clients may have waiting at this node."""
        return max(0, BANK_WAITING_MAX - self._own_by_bank.get(bank, 0))

    def add(self, waiting: Waiting, early: bool = False) -> bool:
        """False if it waits already. `early`: it may not be ordered before `ripen` says so."""
        body, body_id = waiting.body, waiting.body.body_id
        if body_id in self._all:
            return False
        self._all[body_id] = waiting
        queue = self._banks.get(waiting.bank)
        if queue is None:
            queue = self._banks[waiting.bank] = {}
        if early:
            self._early[body_id] = None
        else:
            queue[body_id] = body
            self._ready += 1
        self._by_entry[waiting.entry] = self._by_entry.get(waiting.entry, 0) + 1
        if waiting.entry == self.own:
            self._own_by_bank[waiting.bank] = self._own_by_bank.get(waiting.bank, 0) + 1
        self._by_key[body.key] = (*self._by_key.get(body.key, ()), body)
        second = body.transaction.valid_until_ms // 1000
        due = self._expiry.get(second)
        if due is None:
            due = self._expiry[second] = {}
        due[body_id] = None
        self.arrived += 1
        waiting.number = self.arrived
        return True

    def assign(self, body_id: BodyId, batch: bytes) -> bytes:
        """The transaction is now part of this durable batch; the one that it was part of before, empty for none."""
        waiting = self._all.get(body_id)
        if waiting is None:
            return b""
        before, waiting.batch = waiting.batch, batch
        return before

    def take(self, transactions_max: int, work_max: int) -> list[CheckedBody]:
        """The next block's transactions: the bank with the oldest first, something of each bank, of each its oldest first.
        Strangers' come last: one that bears a payment's digest must not keep its place. They stay known until `remove` or `put_back`."""
        taken: list[CheckedBody] = []
        digests: set[bytes] = set()
        work = 0
        heads = self.heads()
        oldest_first = sorted(heads, key=lambda bank: (bank == STRANGER, heads[bank][1]))
        queues = {bank: iter(self._banks[bank].values()) for bank in oldest_first}
        share = 1  # first one of each: no bank's heavy ones take the room of another's only one
        while queues and len(taken) < transactions_max:
            work_share = max(1, (work_max - work) // len(queues))
            for bank in list(queues):
                served, work_before = 0, work
                for served, body in enumerate(_upto(queues[bank], share), start=1):  # noqa: B007  # read below
                    cost = work_of(body.transaction)
                    if len(taken) == transactions_max or (taken and work + cost > work_max):
                        return self._claimed(taken)
                    if body.digest not in digests:
                        digests.add(body.digest)
                        taken.append(body)
                        work += cost
                    if work - work_before >= work_share:
                        break  # heavy transactions of one bank leave room for the others'
                else:
                    if served < share:
                        del queues[bank]
            share = max(1, (transactions_max - len(taken)) // max(1, len(queues)))
        return self._claimed(taken)

    def heads(self) -> dict[int, tuple[BodyId, int]]:
        """Bank → its oldest transaction that no proposal contains, and its number among all arrivals."""
        found = {bank: next(iter(queue)) for bank, queue in self._banks.items() if queue}
        return {bank: (body_id, self._all[body_id].number) for bank, body_id in found.items()}

    @property
    def oldest_number(self) -> int:
        """The number of the oldest of all; one that is still to come when nothing waits."""
        first = next(iter(self._all.values()), None)
        return self.arrived + 1 if first is None else first.number

    def oldest(self, arrived_before: int, count: int) -> tuple[list[bytes], int]:
        """Raw transactions that have waited longest, of the first `arrived_before` that ever came in; and up to which number
        this is all that waits and may be ordered. What may not yet comes last: it must not keep the rest from being sent on."""
        early = self._early
        due = (each for each in self._all.values() if each.body.body_id not in early)
        oldest = [each for each in islice(due, count) if each.number <= arrived_before]
        up_to = oldest[-1].number if oldest and len(oldest) == count else arrived_before
        room = count - len(oldest)
        late = [self._all[body_id] for body_id in islice(early, room)]
        oldest.extend([each for each in late if each.number <= arrived_before])
        return [each.body.raw for each in oldest], up_to

    def claim(self, ids: Iterable[BodyId]) -> None:
        """Another leader's proposal contains these."""
        for body_id in ids:
            waiting = self._all.get(body_id)
            if self._early:
                self._early.pop(body_id, None)
            if waiting is not None and self._banks[waiting.bank].pop(body_id, None) is not None:
                self._ready -= 1

    def ripen(self, until_ms: int) -> None:
        """Deadlines up to `until_ms` may be ordered from now on: as if they had come in only now, for nobody owed them before."""
        for body_id in [each for each in self._early if self._deadline_ms(each) <= until_ms]:
            del self._early[body_id]
            self.arrived += 1
            waiting = self._all[body_id] = self._all.pop(body_id)
            waiting.number = self.arrived
            self._banks[waiting.bank][body_id] = waiting.body
            self._ready += 1

    def put_back(self) -> None:
        """Proposals were dropped: whatever is not final waits again, in order of arrival."""
        for queue in self._banks.values():
            queue.clear()
        for body_id, waiting in self._all.items():
            if body_id not in self._early:
                self._banks[waiting.bank][body_id] = waiting.body
        self._ready = len(self._all) - len(self._early)

    def rivals(self, body: CheckedBody) -> tuple[BodyId, ...]:
        """Every waiting body of this one's digest, which covers account and id."""
        same = self._by_key.get(body.key, ())
        return tuple([each.body_id for each in same if each.digest == body.digest])

    def remove(self, body_ids: Sequence[BodyId]) -> list[Waiting]:
        """These are final, or can never be. Those of them that waited."""
        self._gone.update(dict.fromkeys(body_ids))
        surplus = len(self._gone) - GONE_REMEMBERED
        if surplus > 0:
            for old in list(islice(self._gone, surplus + GONE_REMEMBERED // 4)):
                del self._gone[old]
        take, removed = self._all.pop, []
        for body_id in body_ids:
            waiting = take(body_id, None)
            if waiting is not None:
                removed.append(waiting)
                self._forget(body_id, waiting)
        return removed

    def _forget(self, body_id: BodyId, waiting: Waiting) -> None:
        body, bank, entry = waiting.body, waiting.bank, waiting.entry
        self._by_entry[entry] -= 1
        if entry == self.own:
            self._own_by_bank[bank] -= 1
        bodies = self._by_key.pop(body.key)
        if len(bodies) > 1:
            self._by_key[body.key] = tuple([each for each in bodies if each.body_id != body_id])
        if self._early:
            self._early.pop(body_id, None)
        if self._banks[bank].pop(body_id, None) is not None:
            self._ready -= 1
        self._forget_deadline(body_id, body.transaction.valid_until_ms // 1000)

    def _forget_deadline(self, body_id: BodyId, second: int) -> None:
        """What is final need not wait for its deadline, which may be a day away."""
        due = self._expiry.get(second)
        if due is not None:
            due.pop(body_id, None)
            if not due:
                del self._expiry[second]

    def expired(self, time_ms: int) -> list[BodyId]:
        """Body ids whose deadline lies before block time: they can never be ordered any more.

        To the millisecond: whatever waited on after its deadline would be owed by every leader and proposed by none.
        """
        until_s = time_ms // 1000
        if until_s - self._swept_s > len(self._expiry):
            due = sorted(second for second in self._expiry if second <= until_s)
        else:
            due = [second for second in range(self._swept_s, until_s + 1) if second in self._expiry]
        gone: list[BodyId] = []
        for second in due:
            late = [each for each in self._expiry[second] if self._deadline_ms(each) < time_ms]
            gone.extend(late)
            for body_id in late:
                self._forget_deadline(body_id, second)
        self._swept_s = max(self._swept_s, until_s)
        return gone

    def _deadline_ms(self, body_id: BodyId) -> int:
        return self._all[body_id].body.transaction.valid_until_ms

    def _claimed(self, taken: list[CheckedBody]) -> list[CheckedBody]:
        self.claim([body.body_id for body in taken])
        return taken


def _upto(source: Iterator[CheckedBody], count: int) -> Iterator[CheckedBody]:
    for _ in range(count):
        body = next(source, None)
        if body is None:
            return
        yield body
