"""Small ledgers with everything in them, and a peer that answers for them."""

from tallystick.network.wire.genesis import Parameters
from tallystick.node.core import schema
from tallystick.node.core.messages import Blocks
from tallystick.node.core.serving import serve
from tallystick.node.storage.memory import MemoryStore
from tallystick.node.upkeep.findings import Level, Report
from tallystick.node.upkeep.verifying import verify
from tests.unit.core.lab import Lab

DERIVED = (
    schema.ACCOUNT,
    schema.RECORD,
    schema.TAKEN,
    schema.REFUSED,
    schema.CONSUMED,
    schema.LINK,
    schema.BLOCK,
)


def grown(parameters: Parameters | None = None) -> Lab:
    """Four members: settled payments, one rejected, one consumed by its body alone, one that waits in two stores."""
    lab = Lab() if parameters is None else Lab(parameters=parameters)
    lab.answer(0, lab.issue())
    for _ in range(2):
        lab.answer(0, lab.pay())
    first = lab.transfer(0, 2)
    lab.answer(1, lab.sign(first, 0))
    fields = {name: getattr(first, name) for name in first.__struct_fields__}
    again = type(first)(**(fields | {"amount_minor": 11}))
    assert lab.answer(1, lab.pay(2, 1, 500_000)).state == "final"
    assert lab.answer(1, lab.sign(again, 0)).state == "final"
    return lab


def stored(lab: Lab, node: int = 0) -> dict[bytes, bytes]:
    return lab.box(node).store.snapshot()


def looked(lab: Lab, rows: dict[bytes, bytes], level: Level) -> Report:
    return verify(MemoryStore(rows), lab.genesis, level, check_vote=lab.keys.verify)


class Peer:
    """A member that answers for blocks; `spoil` makes its answers what a traitor would say."""

    def __init__(self, lab: Lab, node: int = 1) -> None:
        self.ledger = lab.core(node).ledger
        self.asked: list[int] = []

    async def ask(self, height: int) -> Blocks | None:
        self.asked.append(height)
        answer = serve(self.ledger, height)
        return answer if isinstance(answer, Blocks) else None


def with_byte(value: bytes, at: int, by: int = 1) -> bytes:
    return value[:at] + bytes([value[at] ^ by]) + value[at + 1 :]
