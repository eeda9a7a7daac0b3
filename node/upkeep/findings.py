"""What a look at a ledger finds: one sentence for each damaged record, and how far the look has come.

Decided here: the levels and their order, how a record is named, which outcome gives which exit code. Not here: the checks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from tallystick.node.core import schema

FINDINGS_MAX: Final = 1_000
"""Findings that are kept, about 300 bytes each; a ruined disk has millions, and the first ones say enough."""

EXIT_SOUND: Final = 0
EXIT_DAMAGED: Final = 3
"""A stored record is damaged or missing: `tallystick ledger repair` mends it."""
EXIT_DIVERGED: Final = 4
"""The blocks are certified and this release computes something else: not a disk's fault, `tallystick ledger compare`."""

TABLES: Final = {
    schema.FINAL[:1]: "meta",
    schema.ACCOUNT: "accounts",
    schema.RECORD: "records",
    schema.TAKEN: "taken",
    schema.REFUSED: "refused",
    schema.CONSUMED: "windows",
    schema.BLOCK: "blocks",
    schema.LINK: "links",
    schema.EPOCH: "epochs",
    schema.PENDING: "pending",
    schema.BATCH: "batches",
    schema.EVIDENCE: "evidence",
    schema.CHECKPOINT: "checkpoints",
}
"""First byte of a key → the name that people read."""


class Level(IntEnum):
    """How closely to look; each level includes those before it."""

    RECORDS = 1
    """Every stored row decodes, keys have their form, heights are complete."""
    HEADERS = 2
    """Headers, links, history roots and certificates from genesis to the last final block."""
    MERKLE = 3
    """Transactions and outcomes against their roots, the exactly-once rows, windows, the state against its certified root."""
    EXECUTE = 4
    """Every block again through the contracts, from genesis, with equal results at every height."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One record that is not what it must be."""

    level: Level
    table: str
    key: bytes
    """Empty: the whole table."""
    height: int | None
    what: str
    diverged: bool = False
    """A certified block whose execution gives another result here."""

    def sentence(self) -> str:
        where = f" {self.key.hex()}" if self.key else ""
        at = f" (height {self.height})" if self.height is not None else ""
        return f"{self.table}{where}{at}: {self.what}"

    def document(self) -> dict[str, object]:
        """For machines."""
        return {
            "level": self.level.name.lower(),
            "table": self.table,
            "key": self.key.hex(),
            "height": self.height,
            "what": self.what,
        }


Progress = Callable[[str, int, int], None]
"""(what is looked at, how many done, of how many: 0 when that is not known)."""


def silent(what: str, done: int, total: int) -> None:
    """A `Progress` for nobody."""


@dataclass(slots=True)
class Findings:
    """The list in the making, bounded."""

    found: list[Finding] = field(default_factory=list)
    left_out: int = 0

    def add(
        self,
        level: Level,
        key: bytes,
        what: str,
        height: int | None = None,
        *,
        table: str = "",
        diverged: bool = False,
    ) -> None:
        """`key`: the whole database key, whose first byte says the table unless `table` does."""
        if len(self.found) >= FINDINGS_MAX:
            self.left_out += 1
            return
        name = table or TABLES.get(key[:1], "unknown")
        self.found.append(Finding(level, name, key, height, what, diverged))

    def __len__(self) -> int:
        return len(self.found)


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` says in the end."""

    level: Level
    height: int
    link: bytes
    state_root: bytes
    rows: int
    blocks: int
    """Blocks that were walked; 0 at level records."""
    transactions: int
    findings: tuple[Finding, ...]
    left_out: int
    whole_from: int = 1
    """Height from which on blocks have their transactions; above 1 in a ledger that was joined from a snapshot."""

    @property
    def exit_code(self) -> int:
        if any(finding.diverged for finding in self.findings):
            return EXIT_DIVERGED
        return EXIT_DAMAGED if self.findings else EXIT_SOUND
