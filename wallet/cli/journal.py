"""The journal beside a payment file: which bytes were signed for which line, and what became of them.

It is what makes `pay --file` resumable for ever: a line that was signed is never signed again while its first bytes may still
settle, even after the ledger has forgotten the id. One JSON object per line, appended and synced before anything is sent.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tallystick.network.wire import bounds
from tallystick.network.wire.eip712 import Digester
from tallystick.network.wire.faults import Refused
from tallystick.wallet.core.payment_file import LINES_MAX
from tallystick.wallet.core.signed import Signed, unseal
from tallystick.wallet.errors import BadFile
from tallystick.wallet.network_file import read_bounded

ENTRY_BYTES_MAX = 2 * bounds.TRANSACTION_BYTES_MAX + 64
FILE_BYTES_MAX = LINES_MAX * 1_024
"""A usual entry has about 500 bytes; several attempts of one line fit."""

Key = tuple[bytes, bytes]
"""(account, id)."""


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    raw: Annotated[str, Meta(pattern="^([0-9a-f]{2})+$", max_length=ENTRY_BYTES_MAX)]


_decoder = msgspec.json.Decoder(_Entry)
_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Journal:
    """`signed`: the latest bytes signed for each (account, id)."""

    path: Path
    signed: dict[Key, Signed] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, digester: Digester) -> "Journal":
        """Read it, or begin one. `BadFile` if it is not a journal of this network; a torn last line is dropped."""
        journal = cls(path)
        if not path.exists():
            return journal
        lines = read_bounded(path, FILE_BYTES_MAX).split(b"\n")
        torn = lines.pop()  # empty after a whole last line
        if torn:
            os.truncate(path, path.stat().st_size - len(torn))
        for number, line in enumerate(lines, start=1):
            try:
                signed = unseal(bytes.fromhex(_decoder.decode(line).raw), digester)
            except (msgspec.DecodeError, Refused) as error:
                raise BadFile(
                    f"{path}, line {number}: not a journal of this network: {error}",
                    hint="Without its journal a file may pay twice: look for the right one before you go on.",
                ) from None
            journal.signed[signed.reference.account, signed.reference.id] = signed
        return journal

    def note(self, many: Iterable[Signed]) -> None:
        """Append what is about to be sent; durable when this returns."""
        content = b"".join(_encoder.encode(_Entry(each.raw.hex())) + b"\n" for each in many)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for each in many:
            self.signed[each.reference.account, each.reference.id] = each
