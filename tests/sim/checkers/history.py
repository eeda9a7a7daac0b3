"""What clients lived through is strictly serialisable (I9): the ledger's order of height and index explains every answer, and
never puts a payment before one whose final answer its client had heard before the payment was sent.

The order is known, so one pass is enough (`tests.sim.histories` searches where it is not). That the outcomes are what this
order makes of them is `chain`'s business. Reads are certified prefixes: each shows what the payments up to the height that it
names make, and a node never shows less than it has told a client already.
"""

from dataclasses import dataclass, field

from tallystick.network.proofs.receipts import Outcome, Status
from tallystick.network.wire.ids import BodyId
from tallystick.network.wire.reasons import BY_NUMBER
from tallystick.network.wire.transactions import Issue, Transaction, Transfer
from tallystick.node.core.effects import Answer
from tallystick.node.core.ledger import Ledger
from tests.sim.checkers import hold
from tests.sim.checkers.chain import Model
from tests.sim.histories import REFUSED, Operation

Place = tuple[int, int]
"""Height, index."""


@dataclass(slots=True)
class History:
    model: Model
    asked: dict[BodyId, int] = field(default_factory=dict)
    """When a client first sent it: a count that grows with every event of the run."""
    answered: dict[BodyId, int] = field(default_factory=dict)
    """When a client first heard from an honest node that it is final."""
    told: dict[str, int] = field(default_factory=dict)
    """Host → the greatest height that it sent a client to."""
    calls: dict[Place, tuple[tuple[object, ...], str]] = field(default_factory=dict)
    """What was asked at each place, and the outcome."""
    final_at: dict[Place, int] = field(default_factory=dict)
    """When the first honest node had it: whoever asked there was told."""
    reads: int = 0
    confirmed: int = 0
    """Reads that a quorum has confirmed."""
    greatest: int = 0
    """The greatest height that any honest host has sent a client to."""
    _shown: dict[tuple[bytes, str], list[tuple[int, int]]] = field(default_factory=dict)
    """(account, asset) → its balance after each height that changed it."""

    # -- while it goes on ----------------------------------------------------------------------------------------------

    def sent(self, bodies: tuple[BodyId, ...], moment: int) -> None:
        for body in bodies:
            self.asked.setdefault(body, moment)

    def heard(self, host: str, answers: tuple[Answer, ...], moment: int) -> None:
        """An honest host's answers."""
        for answer in answers:
            if answer.state == "final":
                self.answered.setdefault(answer.body_id, moment)
                self.told[host] = max(self.told.get(host, 0), answer.height)
                self.greatest = max(self.greatest, answer.height)

    def on_outcome(
        self, height: int, transaction: Transaction, outcome: Outcome, moment: int
    ) -> None:
        """The model has just played this transaction."""
        self.final_at[height, outcome.index] = moment
        self.calls[height, outcome.index] = (_call(transaction), _answer(outcome))
        if not isinstance(transaction, Transfer | Issue):
            return
        for account in (transaction.account, transaction.creditor):
            place = (bytes(account), transaction.asset)
            line = self._shown.setdefault(place, [])
            if line and line[-1][0] == height:
                line.pop()
            line.append((height, self.model.balances.get(place, 0)))

    @property
    def known(self) -> list[tuple[bytes, str]]:
        """Accounts and assets that were ever moved."""
        return list(self._shown)

    def read(self, host: str, ledger: Ledger, account: bytes, asset: str) -> None:
        """A client reads a balance at some node, which says its height with it."""
        self.reads += 1
        content = ledger.account(account)
        amount = 0 if content is None else content.balances.get(asset, 0)
        line = self._shown.get((account, asset), ())
        due = next((balance for height, balance in reversed(line) if height <= ledger.height), 0)
        hold(
            amount == due,
            "I9",
            f"{host} shows {amount} at {ledger.height}, the payments make {due}",
        )
        least = self.told.get(host, 0)
        hold(ledger.height >= least, "I9", f"{host} shows {ledger.height}, having told of {least}")

    def readable(self, host: str, height: int, began_at: int) -> None:
        """A reader that asked for a quorum's word is served; `began_at`: `greatest` as he asked."""
        self.confirmed += 1
        hold(height >= began_at, "I9", f"{host} serves a confirmed read at {height}, after clients knew of {began_at}")  # fmt: skip

    # -- at the end ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """One pass in the ledger's order: nothing ended before something began that stands in front of it."""
        latest, by = -1, (0, 0)
        for place, body in self._ordered():
            ended = self.answered.get(body)
            hold(
                ended is None or ended >= latest,
                "I9",
                f"{place} was final for its client before {by} was sent, and stands behind it",
            )
            if self.asked[body] > latest:
                latest, by = self.asked[body], place

    def _ordered(self) -> list[tuple[Place, BodyId]]:
        """Clients' transactions by place."""
        bodies = self.model.bodies
        return sorted((bodies[body], body) for body in self.asked if body in bodies)

    def operations(self, asset: str) -> list[Operation]:
        """What moved one asset as a general history, for the search that does not know the order. It ended when the first
        honest node could have told of it."""
        return [
            Operation(self.asked[body], self.final_at[place], *self.calls[place])
            for place, body in self._ordered()
            if asset in self.calls[place][0]
        ]


def _call(transaction: Transaction) -> tuple[object, ...]:
    match transaction:
        case Issue():
            return ("issue", transaction.creditor, transaction.asset, transaction.amount_minor)
        case Transfer():
            parties = (transaction.account, transaction.creditor)
            return ("transfer", *parties, transaction.asset, transaction.amount_minor)
        case _:
            return ("other",)


def _answer(outcome: Outcome) -> str:
    if outcome.status == Status.SETTLED:
        return "settled"
    code = BY_NUMBER[outcome.reason].code if outcome.reason else ""
    return REFUSED if code == "INSUFFICIENT_FUNDS" else code
