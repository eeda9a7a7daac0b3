"""Signed notes and checkpoints of transparency logs, in the text that witnesses elsewhere read (C2SP signed-note, tlog-checkpoint
and tlog-cosignature, v1).

A note is a text and lines of signatures; a log's checkpoint is a note of three lines: origin, tree size, root. Decided here: strict
reading (one spelling, bounds), key ids, the Ed25519 line of a member and the cosignature/v1 of a witness. Not here: how many
signatures suffice (`checkpoints`), tiles (`tiles`), the proof that a witness asks for before it signs.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from tallystick.network.proofs.merkle import SIZE_MAX
from tallystick.network.wire import bounds
from tallystick.network.wire.faults import Refused
from tallystick.network.wire.keys import verify_vote
from tallystick.network.wire.reasons import RejectReason

ED25519: Final = 0x01
COSIGNATURE_V1: Final = 0x04

_DASH: Final = "\u2014 "
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class NoteLine:
    """One signature line."""

    name: str
    """Without spaces and plus signs."""
    key_id: bytes
    """4 bytes: a hint, not a hash that anything rests on."""
    signature: bytes


@dataclass(frozen=True, slots=True)
class LogHead:
    """What a checkpoint's text says. `root` is RFC 6962's over the first `size` leaves."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Three lines, each with its line feed: exactly what is signed."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint with its signatures, none of them checked."""

    head: LogHead
    lines: tuple[NoteLine, ...]

    def text(self) -> str:
        """The whole file."""
        return self.head.text() + "\n" + "".join(map(_line_text, self.lines))


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A key that somebody trusts, by the name under which it signs."""

    name: str
    key: bytes
    """Ed25519, 32 bytes."""
    type: int = ED25519

    @property
    def id(self) -> bytes:
        return key_id(self.name, self.type, self.key)

    def vkey(self) -> str:
        """As witnesses and monitors are configured: name+id+base64(type ‖ key)."""
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([self.type]) + self.key).decode()}"


def key_id(name: str, type_: int, key: bytes) -> bytes:
    """4 bytes: SHA-256(name ‖ 0x0A ‖ type ‖ key), cut."""
    return sha256(name.encode() + b"\n" + bytes([type_]) + key).digest()[:4]


def parse_vkey(text: str) -> NoteKey:
    """The key that `NoteKey.vkey` wrote, or `Refused(MALFORMED)`."""
    parts = text.split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]):
        raise Refused(RejectReason.MALFORMED, "a verifier key is name+id+base64")
    raw = _base64(parts[2])
    if len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE_V1):
        raise Refused(RejectReason.MALFORMED, "the verifier key is not an Ed25519 key")
    key = NoteKey(parts[0], raw[1:], raw[0])
    if key.id.hex() != parts[1]:
        raise Refused(RejectReason.MALFORMED, "the verifier key does not have its id")
    return key


def is_name(name: str) -> bool:
    """Whether a key may have this name: no spaces of any kind, no plus, no control characters, not empty."""
    return name != "" and "+" not in name and not any(each.isspace() or each < " " for each in name)


def ed25519_line(key: NoteKey, signature: bytes) -> NoteLine:
    """The line for a plain signature (64 bytes) over the text."""
    return NoteLine(key.name, key.id, signature)


def cosignature_message(head: LogHead, time_s: int) -> bytes:
    """What a witness signs: as of this second, this is the largest consistent tree of the log that it has seen."""
    return f"cosignature/v1\ntime {time_s}\n{head.text()}".encode()


def cosignature_line(key: NoteKey, time_s: int, signature: bytes) -> NoteLine:
    """The line of a witness; `signature` (64 bytes) is over `cosignature_message`."""
    return NoteLine(key.name, key.id, time_s.to_bytes(8, "big") + signature)


def verify_lines(note: Note, keys: Iterable[NoteKey]) -> list[NoteKey]:
    """Those of `keys` that signed, each once, in their order. Lines of strangers are passed over, as the format wants.

    `Refused(BAD_CERTIFICATE)` if a line that names a known key is not that key's: such a note is not to be trusted at all.
    """
    text = note.head.text().encode()
    signed: list[NoteKey] = []
    for key in keys:
        lines = [line for line in note.lines if (line.name, line.key_id) == (key.name, key.id)]
        for line in lines:
            if not _genuine(key, note.head, text, line.signature):
                raise Refused(
                    RejectReason.BAD_CERTIFICATE,
                    f"the line of {key.name} ({key.id.hex()}) is not genuine",
                )
        if lines:
            signed.append(key)
    return signed


def cosigned_at_s(note: Note, witness: NoteKey) -> int | None:
    """When a witness says that it cosigned (seconds of the epoch); None without a line of it. Its signature is not checked here."""
    for line in note.lines:
        if (line.name, line.key_id) == (witness.name, witness.id) and len(line.signature) == 72:
            return int.from_bytes(line.signature[:8], "big")
    return None


def _genuine(key: NoteKey, head: LogHead, text: bytes, signature: bytes) -> bool:
    if key.type == ED25519:
        return verify_vote(key.key, text, signature)
    if len(signature) != 72:
        return False
    time_s = int.from_bytes(signature[:8], "big")
    message = cosignature_message(head, time_s)
    return time_s <= SIZE_MAX and verify_vote(key.key, message, signature[8:])


def parse_note(data: bytes) -> Note:
    """The checkpoint of a file, or `Refused` with OVERSIZED or MALFORMED. Nothing is verified."""
    if len(data) > bounds.NOTE_BYTES_MAX:
        raise Refused(RejectReason.OVERSIZED, bytes=len(data), bytes_max=bounds.NOTE_BYTES_MAX)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused(RejectReason.MALFORMED, "the note is not UTF-8") from None
    if any(each < " " and each != "\n" for each in text):
        raise Refused(RejectReason.MALFORMED, "the note has control characters")
    body, blank, rest = text.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise Refused(RejectReason.MALFORMED, "the note has no signatures behind a blank line")
    lines = rest[:-1].split("\n")
    if len(lines) > bounds.NOTE_LINES_MAX:
        raise Refused(RejectReason.OVERSIZED, "the note has too many signatures")
    return Note(parse_head(body + "\n"), tuple(map(_parse_line, lines)))


def parse_head(text: str) -> LogHead:
    """The three lines of a checkpoint without extensions: ours have none, and no monitor could audit them."""
    parts = text.split("\n")
    if len(parts) != 4 or parts[3]:
        raise Refused(RejectReason.MALFORMED, "a checkpoint's text is origin, size and root")
    origin, size, root = parts[:3]
    if not origin or _SIZE.fullmatch(size) is None or int(size) > SIZE_MAX:
        raise Refused(RejectReason.MALFORMED, "a checkpoint's origin or size is not one")
    hash_ = _base64(root)
    if len(hash_) != 32:
        raise Refused(RejectReason.MALFORMED, "a checkpoint's root is not 32 bytes")
    return LogHead(origin, int(size), hash_)


def _line_text(line: NoteLine) -> str:
    return f"{_DASH}{line.name} {b64encode(line.key_id + line.signature).decode()}\n"


def _parse_line(text: str) -> NoteLine:
    name, space, encoded = text.removeprefix(_DASH).partition(" ")
    if not text.startswith(_DASH) or not space or not is_name(name):
        raise Refused(RejectReason.MALFORMED, "a signature line is dash, name, signature")
    raw = _base64(encoded)
    if len(raw) < 5:
        raise Refused(RejectReason.MALFORMED, "a signature line is too short")
    return NoteLine(name, raw[:4], raw[4:])


def _base64(text: str) -> bytes:
    """Standard base64 in its one spelling."""
    try:
        raw = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        raise Refused(RejectReason.MALFORMED, "not base64") from None
    if b64encode(raw).decode() != text:
        raise Refused(RejectReason.NON_CANONICAL, "base64 with other trailing bits")
    return raw
