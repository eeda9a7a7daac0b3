"""What may leave the process as text: bytes shortened to hex, anything whose name smells of a secret blotted out.

Logs, traces and diagnosis bundles all pass through here, so there is one list of words to keep.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

from msgspec import Struct

BLOT = "[redacted]"
BYTES_SHOWN_MAX = 64
"""A digest or a key hash in full; anything longer shows its beginning and its length."""
DEPTH_MAX = 6
ITEMS_MAX = 64

_SECRET = re.compile(
    r"secret|passw|private|credential|authori[sz]ation|bearer|jwt|mnemonic|passphrase"
    r"|(^|_)(seed|pem|token|cookie)(_|$)|(vote|tls|signing|spend)_key$",
    re.IGNORECASE,
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|eyJ[\w-]{8,}\.[\w-]{8,}\.")


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is never shown. A `token` that is a number is a ticket, not a secret; see `plain`."""
    return _SECRET.search(name) is not None


def plain(value: object, depth: int = DEPTH_MAX) -> object:
    """A value that `json.dumps` takes, bounded in depth and size, without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return BLOT if _PEM.search(value) else value
    if isinstance(value, bytes | bytearray | memoryview):
        shown = bytes(value[:BYTES_SHOWN_MAX]).hex()
        return shown if len(value) <= BYTES_SHOWN_MAX else f"{shown}… ({len(value)} bytes)"
    if depth == 0:
        return "…"
    if isinstance(value, Struct):
        return _named({name: getattr(value, name) for name in value.__struct_fields__}, depth)
    if is_dataclass(value) and not isinstance(value, type):
        return _named({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    if isinstance(value, Mapping):
        return _named(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth - 1) for item in list(value)[:ITEMS_MAX]]
    return f"<{type(value).__name__}>"


def _named(pairs: Mapping[object, object], depth: int) -> dict[str, object]:
    shown: dict[str, object] = {}
    for key, value in list(pairs.items())[:ITEMS_MAX]:
        name = str(plain(key, 0))
        secret = is_secret_name(name) and not isinstance(value, int)
        shown[name] = BLOT if secret else plain(value, depth - 1)
    return shown
