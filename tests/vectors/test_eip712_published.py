"""Published EIP-712 messages through the same compiler that hashes our transactions."""

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tallystick.network.wire.eip712 import compile_struct, encode_type, keccak

NOT_COMPILED = {
    "valid_eip712_example_ethers_does_not_accept_recursive_custom_types": "a type that contains itself",
    "valid_nested_structs_ethers_does_not_accept_recursive_custom_type_arrays": "a type that contains itself",
    "valid_null_value_for_custom_type_ethers_requires_non_null": "an absent struct",
}
"""No kind of ours has either; a wallet that is handed such a message asks eth-account."""

Types = dict[str, list[tuple[str, str]]]


def types_of(message: dict[str, Any]) -> Types:
    types = {
        name: [(field["type"], field["name"]) for field in fields]
        for name, fields in message["types"].items()
    }
    if "EIP712Domain" not in types:
        known = {
            "name": "string",
            "version": "string",
            "chainId": "uint256",
            "verifyingContract": "address",
        }
        types["EIP712Domain"] = [(known[name], name) for name in known if name in message["domain"]]
    return types


def primary_of(message: dict[str, Any], types: Types) -> str:
    """The type that is named, else the one that no other refers to."""
    if named := message.get("primaryType"):
        return str(named)
    referred = {kind.partition("[")[0] for fields in types.values() for kind, _ in fields}
    (primary,) = set(types) - referred - {"EIP712Domain"}
    return primary


def as_values(value: Any, kind: str, types: Types) -> Any:
    """JSON's strings as the bytes they stand for."""
    if kind.endswith("]"):
        return [as_values(item, kind[: kind.rindex("[")], types) for item in value]
    if kind in types:
        return {name: as_values(value[name], inner, types) for inner, name in types[kind]}
    if kind == "address" or kind.startswith("bytes"):
        return bytes.fromhex(value.removeprefix("0x"))
    return value


def hash_struct(primary: str, value: Any, types: Types) -> bytes:
    return compile_struct(primary, types, itemgetter)(as_values(value, primary, types))


def test_every_published_message_that_can_be_compiled_has_the_published_digest(
    shared_vectors: Path,
) -> None:
    document = json.loads((shared_vectors / "eip712" / "cases.json").read_text())
    valid = [case for case in document["cases"] if case["kind"] == "valid"]
    assert len(valid) == 11
    checked = 0
    for case in valid:
        message, reference = case["message"], case["reference"]
        types = types_of(message)
        if case["name"] in NOT_COMPILED:
            with pytest.raises((RecursionError, TypeError)):
                hash_struct(primary_of(message, types), message["message"], types)
            continue
        separator = hash_struct("EIP712Domain", message["domain"], types)
        hashed = hash_struct(primary_of(message, types), message["message"], types)
        assert "0x" + separator.hex() == reference["domain_separator"], case["name"]
        assert "0x" + hashed.hex() == reference["struct_hash"], case["name"]
        assert "0x" + keccak(b"\x19\x01" + separator + hashed).hex() == reference["digest"]
        checked += 1
    assert checked == len(valid) - len(NOT_COMPILED)


def test_the_example_of_the_standard(shared_vectors: Path) -> None:
    mail = json.loads((shared_vectors / "eip712" / "mail_example.json").read_text())
    types, expected = types_of(mail), mail["expected"]
    type_string = encode_type("Mail", types)
    assert type_string == expected["encode_type"]
    assert "0x" + keccak(type_string.encode()).hex() == expected["type_hash"]
    separator = hash_struct("EIP712Domain", mail["domain"], types)
    hashed = hash_struct("Mail", mail["message"], types)
    assert "0x" + separator.hex() == expected["domain_separator"]
    assert "0x" + hashed.hex() == expected["struct_hash"]
    assert "0x" + keccak(b"\x19\x01" + separator + hashed).hex() == expected["digest"]
