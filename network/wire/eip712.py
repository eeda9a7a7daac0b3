"""EIP-712 typed-data digests, compiled once from field lists (https://eips.ethereum.org/EIPS/eip-712).

Decided here: the signed form of every transaction kind, and how a field list becomes one packed buffer and two Keccak calls.
A string's hash is remembered, since a ledger has few asset codes. Values are taken to fit their types (`decode` saw to that).
Not here: signatures (`keys`), and typed data that strangers hand in: for those a wallet uses eth-account.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from struct import Struct
from typing import Any, Final, TypeAlias

from sha3 import keccak_256

from tallystick.network.wire import bounds
from tallystick.network.wire.faults import broken
from tallystick.network.wire.ids import TxDigest
from tallystick.network.wire.transactions import (
    ActivateSpare,
    ChangeMembers,
    Issue,
    OpenAccount,
    Transaction,
    Transfer,
)

Field: TypeAlias = tuple[str, str]
"""(EIP-712 type, field name)."""
Types: TypeAlias = Mapping[str, Sequence[Field]]
Reader: TypeAlias = Callable[..., Callable[[Any], Any]]
"""`operator.attrgetter` for objects or `operator.itemgetter` for mappings."""
Encoder: TypeAlias = Callable[[Any], bytes]
"""A value → its 32 bytes in the packed buffer."""

_COMMON: Final[tuple[Field, ...]] = (
    ("uint16", "lane"),
    ("address", "account"),
    ("bytes32", "id"),
    ("uint64", "validUntilMs"),
    ("bytes32", "payloadRoot"),
)

TYPES: Final[dict[type[Transaction], tuple[Field, ...]]] = {
    OpenAccount: (
        *_COMMON,
        ("bytes[]", "keys"),
        ("uint8", "threshold"),
        ("uint8", "tier"),
        ("bytes16", "seed"),
    ),
    Issue: (*_COMMON, ("address", "creditor"), ("string", "asset"), ("uint64", "amountMinor")),
    Transfer: (
        *_COMMON,
        ("address", "creditor"),
        ("string", "asset"),
        ("uint64", "amountMinor"),
        ("uint64", "settleByMs"),
    ),
    ChangeMembers: (
        *_COMMON,
        ("uint16[]", "leaving"),
        ("Member[]", "joining"),
        ("Spare[]", "spares"),
    ),
    ActivateSpare: (
        *_COMMON,
        ("uint16", "member"),
        ("uint16", "spare"),
        ("bytes32", "voteKey"),
        ("bytes32", "tlsKeyHash"),
    ),
}
"""What is signed of each kind: everything but `chain`, which the domain holds, and the witnesses."""

_PARTS: Final[dict[str, tuple[Field, ...]]] = {
    "Member": (
        ("uint16", "id"),
        ("string", "name"),
        ("uint32", "participant"),
        ("bytes32", "voteKey"),
        ("bytes32", "tlsKeyHash"),
    ),
    "Spare": (("uint16", "id"), ("uint32", "participant")),
}
"""Structs inside of kinds."""

DOMAIN_TYPE: Final[tuple[Field, ...]] = (
    ("string", "name"),
    ("string", "version"),
    ("uint256", "chainId"),
    ("bytes32", "salt"),
)


def types_of(kind: type[Transaction]) -> dict[str, tuple[Field, ...]]:
    """The kind's own type and every struct in it, by name."""
    fields = TYPES[kind]
    used = {base for each, _ in fields if (base := each.partition("[")[0]) in _PARTS}
    return {kind.__name__: fields} | {name: _PARTS[name] for name in sorted(used)}


def keccak(data: bytes) -> bytes:
    """Keccak-256, with the padding from before SHA-3."""
    return keccak_256(data).digest()


def encode_type(primary: str, types: Types) -> str:
    """The type's string: itself, then every struct it refers to, sorted by name."""
    found: set[str] = set()
    waiting = [primary]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(
                base for kind, _ in types[name] if (base := kind.partition("[")[0]) in types
            )
    others = sorted(found - {primary})
    return "".join(
        f"{name}({','.join(f'{kind} {field}' for kind, field in types[name])})"
        for name in (primary, *others)
    )


_STATIC: Final[dict[str, str]] = {
    "bool": "31x?",
    "address": "12x20s",
    "uint8": "31xB",
    "uint16": "30xH",
    "uint32": "28xI",
    "uint64": "24xQ",
    **{f"bytes{size}": f"{size}s{32 - size}x" for size in range(1, 33)},
}
"""Types that `struct` packs without help."""


def _hash_string(text: str) -> bytes:
    return keccak(text.encode())


def _encoder_of(kind: str, types: Types, read: Reader) -> Encoder:
    """How one value of any type becomes 32 bytes."""
    if kind.endswith("]"):
        element = _encoder_of(kind[: kind.rindex("[")], types, read)
        return lambda values: keccak(b"".join(map(element, values)))
    if kind == "string":
        return _hash_string
    if kind == "bytes":
        return keccak
    if kind in types:
        return compile_struct(kind, types, read)
    if kind in _STATIC:
        return Struct(">" + _STATIC[kind]).pack
    if not (kind.startswith(("uint", "int")) and kind.removeprefix("u")[3:].isdecimal()):
        broken("a type that EIP-712 does not know", type=kind)
    signed = kind.startswith("int")
    return lambda value: int(value).to_bytes(32, "big", signed=signed)


def compile_struct(
    primary: str, types: Types, read: Reader, string: Encoder = _hash_string
) -> Encoder:
    """A function from one value to its `hashStruct`. `string` hashes a text and may remember.

    Not compiled: types that contain themselves, and absent structs. No kind of ours has either.
    """
    fields = types[primary]
    formats = ["32s"]
    dynamic: list[tuple[int, Encoder]] = []
    for position, (kind, _) in enumerate(fields):
        if kind in _STATIC:
            formats.append(_STATIC[kind])
        else:
            formats.append("32s")
            dynamic.append(
                (position, string if kind == "string" else _encoder_of(kind, types, read))
            )
    pack = Struct(">" + "".join(formats)).pack
    type_hash = keccak(encode_type(primary, types).encode())
    values_of = read(*(name for _, name in fields))
    alone = len(fields) == 1  # then a getter gives the value itself, not a tuple

    def hash_struct(value: Any) -> bytes:
        values = [values_of(value)] if alone else list(values_of(value))
        for position, encode in dynamic:
            values[position] = encode(values[position])
        return keccak_256(pack(type_hash, *values)).digest()

    return hash_struct


@dataclass(frozen=True, slots=True)
class Domain:
    """Which network a signature is for."""

    chain: int
    """`genesis.chain_of(genesis_hash)`."""
    genesis_hash: bytes

    def values(self) -> dict[str, Any]:
        return {
            "name": "Tallystick",
            "version": "1",
            "chainId": self.chain,
            "salt": self.genesis_hash,
        }

    def separator(self) -> bytes:
        """32 bytes: the hash of the domain as an EIP-712 struct."""
        encode = [_encoder_of(kind, {}, attrgetter) for kind, _ in DOMAIN_TYPE]
        packed = [
            encoder(value) for encoder, value in zip(encode, self.values().values(), strict=True)
        ]
        return keccak(keccak(encode_type("EIP712Domain", _DOMAIN).encode()) + b"".join(packed))


_DOMAIN: Final[Types] = {"EIP712Domain": DOMAIN_TYPE}


def _snake(name: str) -> str:
    """camelCase of the signed form → the struct's field name."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def read_struct(*names: str) -> Callable[[Any], Any]:
    """A `Reader` of our structs, whose fields have the same names in snake_case."""
    return attrgetter(*map(_snake, names))


class Digester:
    """Digests of every transaction kind under one domain. Holds only caches: safe to share between threads."""

    __slots__ = ("_hash_of", "_prefix", "domain")

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self._prefix = b"\x19\x01" + domain.separator()
        remembered = lru_cache(maxsize=bounds.ASSET_HASHES_MAX)(_hash_string)
        self._hash_of = {
            kind: compile_struct(kind.__name__, types_of(kind), read_struct, remembered)
            for kind in TYPES
        }

    def digest(self, transaction: Transaction) -> TxDigest:
        """The 32 bytes that the payer signs: keccak256(0x1901 ‖ domain separator ‖ hashStruct)."""
        hashed = self._hash_of[type(transaction)](transaction)
        return TxDigest(keccak_256(self._prefix + hashed).digest())


def typed_data(domain: Domain, transaction: Transaction) -> dict[str, Any]:
    """The same as the JSON-like document that wallets and hardware signers show (`eth_signTypedData_v4`).

    Byte strings stay bytes; a caller that needs JSON text writes them as 0x-hex.
    """
    types = types_of(type(transaction))
    primary = type(transaction).__name__
    as_documents = {
        name: [{"name": field, "type": kind} for kind, field in fields]
        for name, fields in types.items()
    }
    domain_type = [{"name": name, "type": kind} for kind, name in DOMAIN_TYPE]
    return {
        "types": {"EIP712Domain": domain_type, **as_documents},
        "primaryType": primary,
        "domain": domain.values(),
        "message": _message(transaction, types[primary], types),
    }


def _message(value: Any, fields: Sequence[Field], types: Types) -> dict[str, Any]:
    """A struct's fields by their signed names, structs and lists inside as documents, too."""
    message: dict[str, Any] = {}
    for kind, name in fields:
        found, base = getattr(value, _snake(name)), kind.partition("[")[0]
        if base in types:
            message[name] = [_message(each, types[base], types) for each in found]
        else:
            message[name] = list(found) if isinstance(found, tuple) else found
    return message
