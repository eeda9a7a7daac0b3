"""One chain, recomputed by a plain model that shares no code with the contracts (I2, I4, I6, I7, I8).

Agreement: one link per height over all honest nodes, and the same state root. Durability: what was durable once is there after
a restart. Conservation: money is what was issued, and every balance is what the settled payments make it. Exactly once: a
digest is consumed once by its owner, a body once at all, an (account, id) settles once.
"""

from dataclasses import dataclass, field
from typing import Protocol

from tallystick.network.proofs.receipts import OUTCOME, Outcome, Status
from tallystick.network.wire.reasons import BY_NUMBER
from tallystick.network.wire.transactions import Issue, Transaction, Transfer
from tallystick.network.wire.transactions.codec import body_id, decode
from tallystick.node.core.ledger import BlockRecord, Ledger
from tests.sim.checkers import Violation, hold
from tests.sim.checkers.epochs import Epochs

BODY_ONLY = frozenset({"UNKNOWN_ACCOUNT", "WRONG_KEYS", "ID_TAKEN"})


class OnOutcome(Protocol):
    def __call__(self, height: int, transaction: Transaction, outcome: Outcome, /) -> None: ...


@dataclass(slots=True)
class Model:
    """Balances as the outcomes make them, from genesis on."""

    balances: dict[tuple[bytes, str], int] = field(default_factory=dict)
    issued: dict[str, int] = field(default_factory=dict)
    settled_ids: dict[bytes, bytes] = field(default_factory=dict)
    """account ‖ id → digest that took it."""
    bodies: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Body id → (height, index)."""
    places: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Digest consumed by its owner → (height, index)."""

    def apply(self, transaction: Transaction, raw: bytes, outcome: Outcome) -> None:
        place, body = (outcome.height, outcome.index), body_id(raw)
        hold(
            outcome.body_id == body and outcome.id == transaction.id,
            "I8",
            f"the outcome at {place} is another's",
        )
        hold(body not in self.bodies, "I8", f"a body was ordered twice, at {place}")
        self.bodies[body] = place
        key = transaction.account + transaction.id
        reason = BY_NUMBER[outcome.reason].code if outcome.reason else ""
        if reason in BODY_ONLY:
            hold(outcome.status == Status.REJECTED, "I8", f"{reason} did not reject, at {place}")
            return
        hold(key not in self.settled_ids, "I8", f"an (account, id) was taken twice, at {place}")
        hold(outcome.digest not in self.places, "I8", f"a digest was consumed twice, at {place}")
        self.settled_ids[key] = outcome.digest
        self.places[outcome.digest] = place
        if outcome.status == Status.SETTLED:
            self._move(transaction)

    def _move(self, transaction: Transaction) -> None:
        balances = self.balances
        if not isinstance(transaction, Issue | Transfer):
            return
        code, amount = transaction.asset, transaction.amount_minor
        if isinstance(transaction, Issue):
            self.issued[code] = self.issued.get(code, 0) + amount
        else:
            left = balances.get((transaction.account, code), 0) - amount
            hold(left >= 0, "I7", "an unfunded payment settled")
            balances[transaction.account, code] = left
        balances[transaction.creditor, code] = (
            balances.get((transaction.creditor, code), 0) + amount
        )


@dataclass(slots=True)
class Chain:
    """The one history, as the first honest node to reach a height showed it."""

    epochs: Epochs
    """Who may sign a certificate."""
    links: dict[int, bytes] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    model: Model = field(default_factory=Model)
    on_outcome: OnOutcome | None = None
    seen: dict[str, int] = field(default_factory=dict)
    """Host → the height that it was checked at."""
    _touched: dict[int, set[tuple[bytes, str]]] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return max(self.links, default=0)

    def after_step(self, name: str, ledger: Ledger) -> bool:
        """A node may have moved on: compare every new block with the one history. True if it did."""
        before = self.seen.get(name, 0)
        if ledger.height == before:
            return False
        hold(ledger.height > before, "I4", f"{name} went back from height {before}")
        for height in range(before + 1, ledger.height + 1):
            record = ledger.block(height)
            if record is None:
                raise Violation("I3", f"{name} is at {ledger.height} without block {height}")
            self._compare(name, height, record, ledger)
        self.seen[name] = ledger.height
        self._balances_agree(name, ledger, before)
        return True

    def restarted(self, name: str, ledger: Ledger, durable: tuple[int, bytes]) -> None:
        """What was durable before the crash is there after it."""
        height, link = durable
        hold(
            ledger.height >= height, "I3", f"{name} lost final blocks: {ledger.height} of {height}"
        )
        if height and ledger.height == height:
            hold(ledger.link == link, "I3", f"{name} came back on another chain")
        self.seen[name] = ledger.height
        if ledger.height:
            hold(
                self.links.get(ledger.height) == ledger.link,
                "I2",
                f"{name} came back with a block at {ledger.height} that nobody knows",
            )

    def _compare(self, name: str, height: int, record: BlockRecord, ledger: Ledger) -> None:
        parent = record.header.parent_link
        above = ledger.height == height
        link = ledger.link if above else _link_above(ledger, height)
        known = self.links.get(height)
        if known is not None:
            hold(known == link, "I2", f"{name} has another block at height {height}")
        else:
            hold(height == self.height + 1, "I2", f"{name} skipped to height {height}")
            if height > 1:
                hold(
                    parent == self.links[height - 1], "I2", f"block {height} of {name} hangs loose"
                )
            self._quorum(name, height, record)
            self.links[height] = link
            self.times[height] = record.header.time_ms
            hold(
                record.header.time_ms >= self.times.get(height - 1, 0), "I2", "block time went back"
            )
            self._play(height, record)
            self.roots[height] = record.result.state_root
        if above:
            hold(
                ledger.state.root == self.roots[height],
                "I6",
                f"{name} has another state root at {height}",
            )

    def _quorum(self, name: str, height: int, record: BlockRecord) -> None:
        certificate = record.certificate
        commits = certificate.commits and certificate.height >= height
        hold(commits, "I2", f"{name} has no commit certificate for {height}")
        self.epochs.certified(name, height, record)

    def _play(self, height: int, record: BlockRecord) -> None:
        hold(len(record.bodies) == len(record.outcomes), "I8", f"outcomes are missing at {height}")
        touched: set[tuple[bytes, str]] = set()
        played: list[tuple[Transaction, Outcome]] = []
        for raw, leaf in zip(record.bodies, record.outcomes, strict=True):
            transaction, outcome = decode(raw), OUTCOME.decode(leaf)
            self.model.apply(transaction, raw, outcome)
            played.append((transaction, outcome))
            if isinstance(transaction, Transfer | Issue):
                touched.add((transaction.account, transaction.asset))
                touched.add((transaction.creditor, transaction.asset))
            if self.on_outcome is not None:
                self.on_outcome(height, transaction, outcome)
        self.epochs.played(height, record, played)
        self._touched[height] = touched
        held: dict[str, int] = {}
        for (_, code), amount in self.model.balances.items():
            held[code] = held.get(code, 0) + amount
        issued = {code: amount for code, amount in self.model.issued.items() if amount}
        hold(
            {code: amount for code, amount in held.items() if amount} == issued,
            "I7",
            f"money is not what was issued at height {height}: {held} of {issued}",
        )

    def _balances_agree(self, name: str, ledger: Ledger, before: int) -> None:
        """The node's own records, where its ledger stands at the model's height."""
        if ledger.height != self.height:
            return
        for height in range(before + 1, ledger.height + 1):
            for account, code in self._touched[height]:
                content = ledger.account(account)
                balance = 0 if content is None else content.balances.get(code, 0)
                hold(
                    balance == self.model.balances.get((account, code), 0),
                    "I7",
                    f"{name} shows another balance than the payments make at {height}",
                )


def _link_above(ledger: Ledger, height: int) -> bytes:
    child = ledger.block(height + 1)
    if child is None:
        raise Violation("I3", f"no block {height + 1} below height {ledger.height}")
    return child.header.parent_link
