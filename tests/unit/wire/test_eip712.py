"""The compiled digest equals eth-account's generic one, for every kind and every extreme."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak as eth_keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.network.wire.eip712 import TYPES, Digester, Domain, encode_type, keccak, typed_data
from tallystick.network.wire.keys import verify_spend
from tallystick.network.wire.transactions import KINDS, Transaction
from tests.unit.wire.examples import CHAIN, EVERY_KIND, transfer
from tests.unit.wire.strategies import CHAINS, TRANSACTIONS, exactly

DOMAIN = Domain(CHAIN, b"\x77" * 32)
DIGESTER = Digester(DOMAIN)


def generic_digest(domain: Domain, transaction: Transaction) -> bytes:
    signable = encode_typed_data(full_message=typed_data(domain, transaction))
    return bytes(eth_keccak(b"\x19" + signable.version + signable.header + signable.body))


@settings(max_examples=300, deadline=None)
@given(TRANSACTIONS, CHAINS, exactly(32))
def test_the_compiled_digest_equals_eth_accounts(
    transaction: Transaction, chain: int, genesis_hash: bytes
) -> None:
    domain = Domain(chain, genesis_hash)
    assert Digester(domain).digest(transaction) == generic_digest(domain, transaction)


@pytest.mark.parametrize("transaction", EVERY_KIND, ids=lambda each: type(each).__name__)
def test_a_wallet_that_knows_only_typed_data_signs_what_a_node_verifies(
    transaction: Transaction,
) -> None:
    account = Account.from_key(b"\x09" * 32)
    signed = account.sign_typed_data(full_message=typed_data(DOMAIN, transaction))
    key = account._key_obj.public_key.to_compressed_bytes()
    assert verify_spend(key, DIGESTER.digest(transaction), bytes(signed.signature[:64]))


def other_values(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "X"
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    return value[:-1]


@pytest.mark.parametrize("transaction", EVERY_KIND, ids=lambda each: type(each).__name__)
def test_every_field_but_chain_and_witnesses_changes_the_digest(transaction: Transaction) -> None:
    digests = {DIGESTER.digest(transaction)}
    names = [name for name in transaction.__struct_fields__ if name not in {"chain", "witnesses"}]
    for name in names:
        changed = replace(transaction, **{name: other_values(getattr(transaction, name))})
        digests.add(DIGESTER.digest(changed))
    assert len(digests) == 1 + len(names)
    same = replace(transaction, chain=transaction.chain + 1)
    assert DIGESTER.digest(same) == DIGESTER.digest(transaction)


def test_another_chain_or_another_genesis_is_another_digest() -> None:
    digests = {
        Digester(Domain(chain, salt)).digest(transfer())
        for chain in (1, 2)
        for salt in (bytes(32), b"\x01" * 32)
    }
    assert len(digests) == 4


def test_every_kind_has_its_signed_form_and_its_type_string() -> None:
    assert set(TYPES) == set(KINDS)
    for kind in KINDS:
        signed = [name for _, name in TYPES[kind]]
        wire = [name for name in kind.__struct_fields__ if name not in {"chain", "witnesses"}]
        assert [name.replace("_", "") for name in wire] == [name.lower() for name in signed]
    transfer_type, *_ = (kind for kind in KINDS if kind.__name__ == "Transfer")
    assert encode_type("Transfer", {"Transfer": TYPES[transfer_type]}) == (
        "Transfer(uint16 lane,address account,bytes32 id,uint64 validUntilMs,bytes32 payloadRoot,"
        "address creditor,string asset,uint64 amountMinor,uint64 settleByMs)"
    )


@given(st.lists(st.text(max_size=12), min_size=300, max_size=300, unique=True))
@settings(max_examples=3, deadline=None)
def test_more_asset_codes_than_are_remembered_change_no_digest(codes: list[str]) -> None:
    """A hostile client may name any number of assets; a forgotten hash is only made anew."""
    digester = Digester(DOMAIN)
    first = [digester.digest(replace(transfer(), asset=code)) for code in codes]
    again = [digester.digest(replace(transfer(), asset=code)) for code in codes]
    assert first == again
    assert len(set(first)) == len(codes)


def test_keccak_is_not_sha3() -> None:
    assert keccak(b"").hex().startswith("c5d2460186f7233c927e7db2dcc703c0")
