"""What a third bank learns of a payment between two others: nothing, whichever way it asks."""

from collections.abc import Iterator

import pytest

from tallystick.network.wire.reasons import RejectReason
from tallystick.network.wire.transactions.codec import TRANSACTION
from tests.security.stage import NETWORK, OWN, Stage
from tests.unit.core.lab import Lab

PAYER, THIRD = 0, 2


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("member")) as stage:
        yield stage


@pytest.mark.parametrize("query", ["digest", "body_id"])
def test_a_question_about_another_digest_does_not_name_a_strangers_one(
    member: Stage, query: str
) -> None:
    settled = TRANSACTION.decode(member.settled)
    path = f"/v1/receipts/{OWN.hex()}/{settled.id.hex()}?{query}={'00' * 32}"
    third = member.edge.call("GET", path, token=member.issuer.token("read:own", 4))
    assert (third.status, third.code) == (403, "FOREIGN_ACCOUNT")
    assert NETWORK.digest(settled).hex() not in third.body.decode()


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.answer(0, lab.issue())
    return lab


def refused_as_foreign(lab: Lab, raw: bytes) -> bool:
    (answer,) = lab.told[lab.submit(0, raw, participant=THIRD)]
    return (answer.state, answer.reason) == ("refused", RejectReason.FOREIGN_ACCOUNT)


def test_handing_in_another_banks_settled_payment_does_not_buy_its_receipt(lab: Lab) -> None:
    raw = lab.pay(PAYER)
    assert lab.answer(0, raw).state == "final"
    assert refused_as_foreign(lab, raw)
    (own,) = lab.told[lab.submit(0, raw, participant=PAYER)]
    assert own.state == "final"


def test_nor_does_handing_it_in_while_it_waits(lab: Lab) -> None:
    lab.cut = {(one, other) for one in range(4) for other in range(4)}
    raw = lab.pay(PAYER)
    mine = lab.submit(0, raw, participant=PAYER)
    assert mine not in lab.told
    assert refused_as_foreign(lab, raw)
    waits = lab.core(0).pool.waits
    transaction = TRANSACTION.decode(raw)
    assert waits(transaction.account + transaction.id), "its payer is still told that it waits"
