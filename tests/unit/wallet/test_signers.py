"""A signer signs what a wallet of Ethereum's would sign, and shows its secret to nobody."""

import copy

import pytest

from tallystick.network.wire.eip712 import typed_data
from tallystick.network.wire.ids import PaymentId
from tallystick.network.wire.keys import is_low_s, verify_spend
from tallystick.network.wire.transactions import Issue, OpenAccount, Transaction, Transfer
from tallystick.wallet.core import approvals, build
from tallystick.wallet.signers import LocalSigner
from tests.unit.wallet.networks import NOW_MS, small_network

NETWORK = small_network()
SECRET = bytes([1]) * 32
SIGNER = LocalSigner(SECRET)
ID = PaymentId(bytes(range(32)))


def one_of_each() -> tuple[Transfer, Issue, OpenAccount]:
    terms, (issuer, payer, creditor) = NETWORK.terms, NETWORK.accounts
    return (
        build.transfer(terms, account=payer, creditor=creditor, amount="4.00", asset="USD", id=ID, now_ms=NOW_MS, settle_by_ms=NOW_MS + 1),
        build.issue(terms, account=issuer, creditor=payer, amount="7", asset="JPY", id=ID, now_ms=NOW_MS),
        build.open_account(terms, account=payer, keys=[SIGNER.key], threshold=1, tier=2, seed=bytes(range(16)), id=ID, now_ms=NOW_MS),
    )  # fmt: skip


@pytest.mark.parametrize("transaction", one_of_each(), ids=lambda each: type(each).__name__)
def test_a_signature_by_eth_account_is_good_for_us_and_ours_for_it(
    transaction: Transaction,
) -> None:
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    document = typed_data(NETWORK.digester.domain, transaction)
    theirs = Account.sign_typed_data(SECRET, full_message=document)
    digest = NETWORK.digester.digest(transaction)
    assert theirs.message_hash == digest
    assert verify_spend(SIGNER.key, digest, bytes(theirs.signature)[:64])

    ours = SIGNER.sign(digest, transaction)
    assert ours == bytes(theirs.signature)[:64]  # RFC 6979: the same nonce
    message = encode_typed_data(full_message=document)
    recovered = {
        Account.recover_message(message, signature=ours + bytes([v])).lower() for v in (27, 28)
    }
    assert "0x" + SIGNER.address in recovered


def test_signatures_are_low_s_and_64_bytes() -> None:
    payment = one_of_each()[0]
    for number in range(1, 40):
        signer = LocalSigner(bytes([number]) * 32)
        signed = approvals.signed_by(payment, NETWORK.digester.digest(payment), signer)
        (witness,) = signed.witnesses
        assert is_low_s(witness.signature)
        assert verify_spend(signer.key, NETWORK.digester.digest(signed), witness.signature)


def test_the_secret_is_not_shown() -> None:
    shown = repr(SIGNER) + str(SIGNER) + f"{SIGNER!r}"
    assert SECRET.hex() not in shown
    assert "redacted" in shown
    assert SIGNER.key.hex() in shown


def test_a_signer_does_not_leave_the_process_by_accident() -> None:
    with pytest.raises(TypeError, match="secret"):
        copy.copy(SIGNER)
    assert not hasattr(SIGNER, "__dict__")


def test_new_keys_differ() -> None:
    assert LocalSigner.generate().key != LocalSigner.generate().key
