"""Key files: opened by Ethereum's tools and opening theirs, cheap to refuse, never overwritten, never readable by others."""

import stat
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.wallet import keystore
from tallystick.wallet.errors import BadKeystore
from tallystick.wallet.signers import LocalSigner

SECRET = bytes(range(1, 33))


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return keystore.encrypt(SECRET, "correct horse", fast=True)


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    *outer, last = path.split(".")
    target = copy
    for name in outer:
        target = target[name]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return copy


def test_what_was_encrypted_decrypts(document: dict[str, Any]) -> None:
    assert keystore.decrypt(document, "correct horse") == SECRET


def test_eth_account_opens_our_files_and_we_open_its(document: dict[str, Any]) -> None:
    from eth_account import Account

    assert bytes(Account.decrypt(document, "correct horse")) == SECRET
    for theirs in (
        Account.encrypt(SECRET, "pässwörd", kdf="scrypt", iterations=1_024),
        Account.encrypt(SECRET, "pässwörd", kdf="pbkdf2", iterations=1_000),
    ):
        assert keystore.decrypt(theirs, "pässwörd") == SECRET
    assert keystore.address_of(document) == Account.from_key(SECRET).address[2:].lower()
    assert LocalSigner(SECRET).address == Account.from_key(SECRET).address[2:].lower()


@pytest.mark.parametrize("wrong", ["", "Correct horse", "correct horse "])
def test_a_wrong_password_does_not_open(document: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadKeystore):
        keystore.decrypt(document, wrong)


BAD = [
    ("version", 4), ("version", True), ("version", None), ("version", "three"),
    ("crypto", None), ("crypto", []), ("crypto", "x"),
    ("crypto.cipher", "aes-256-gcm"), ("crypto.cipher", None),
    ("crypto.cipherparams", None), ("crypto.cipherparams.iv", "zz"), ("crypto.cipherparams.iv", "00" * 17),
    ("crypto.cipherparams.iv", "00" * 16),
    ("crypto.ciphertext", "00" * 31), ("crypto.ciphertext", "00" * 33), ("crypto.ciphertext", 5),
    ("crypto.mac", "00" * 32), ("crypto.mac", "00" * 31), ("crypto.mac", None),
    ("crypto.kdf", "argon2"), ("crypto.kdf", None), ("crypto.kdf", ["scrypt"]),
    ("crypto.kdfparams", None), ("crypto.kdfparams.salt", None), ("crypto.kdfparams.salt", "00" * 1_025),
    ("crypto.kdfparams.dklen", 16), ("crypto.kdfparams.dklen", 2**40), ("crypto.kdfparams.dklen", 32.0),
    ("crypto.kdfparams.n", 0), ("crypto.kdfparams.n", 3), ("crypto.kdfparams.n", -2), ("crypto.kdfparams.n", "4096"),
    ("crypto.kdfparams.n", 2**20), ("crypto.kdfparams.n", 2**62), ("crypto.kdfparams.n", True),
    ("crypto.kdfparams.r", 0), ("crypto.kdfparams.r", 2**30), ("crypto.kdfparams.p", 0), ("crypto.kdfparams.p", 2**40),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), BAD)
def test_every_bad_file_gives_the_same_sentence(
    document: dict[str, Any], path: str, value: object
) -> None:
    with pytest.raises(BadKeystore) as caught:
        keystore.decrypt(changed(document, path, value), "correct horse")
    with pytest.raises(BadKeystore) as wrong_password:
        keystore.decrypt(document, "wrong")
    assert str(caught.value) == str(wrong_password.value)


def test_a_file_that_asks_for_too_much_is_refused_before_memory_is_spent(
    document: dict[str, Any],
) -> None:
    greedy = changed(document, "crypto.kdfparams.n", 2**20)  # 1 GiB
    tracemalloc.start()
    try:
        with pytest.raises(BadKeystore):
            keystore.decrypt(greedy, "correct horse")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_bounds_of_scrypt_and_pbkdf2() -> None:
    check = keystore._checked_kdf  # the arithmetic alone: a derivation at the bound takes seconds
    at = {"salt": "00", "dklen": 32, "n": 2**18, "r": 16, "p": 4}
    assert 128 * at["n"] * at["r"] == keystore.SCRYPT_MEMORY_BYTES_MAX  # type: ignore[operator]
    assert check("scrypt", at)["p"] == 4
    for over in ({"n": 2**19}, {"r": 17}, {"p": 5}):
        with pytest.raises(ValueError, match="scrypt"):
            check("scrypt", at | over)
    rounds = {"salt": "00", "dklen": 32, "c": keystore.PBKDF2_ROUNDS_MAX, "prf": "hmac-sha256"}
    assert check("pbkdf2", rounds)["c"] == keystore.PBKDF2_ROUNDS_MAX
    for over_ in ({"c": keystore.PBKDF2_ROUNDS_MAX + 1}, {"c": 0}, {"prf": "hmac-sha1"}):
        with pytest.raises(ValueError, match=r"integer|kdf"):
            check("pbkdf2", rounds | over_)


def test_old_spellings_are_read(document: dict[str, Any]) -> None:
    old = {"Crypto": {**document["crypto"], "version": "3"}}
    assert keystore.decrypt(old, "correct horse") == SECRET


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(31), bytes(33), b""])
def test_what_is_no_private_key_is_not_kept(secret: bytes) -> None:
    with pytest.raises(BadKeystore):
        keystore.encrypt(secret, "x", fast=True)
    with pytest.raises(BadKeystore):
        LocalSigner(secret)


def test_a_password_has_a_bound(document: dict[str, Any]) -> None:
    keystore.encrypt(SECRET, "x" * keystore.PASSWORD_BYTES_MAX, fast=True)
    with pytest.raises(BadKeystore, match="at most"):
        keystore.encrypt(SECRET, "x" * (keystore.PASSWORD_BYTES_MAX + 1), fast=True)


def test_files_are_private_and_not_overwritten_unless_forced(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    path = tmp_path / "bank.keystore.json"
    keystore.save(path, document)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        keystore.save(path, {"version": 0})
    assert keystore.load(path) == document
    keystore.save(path, keystore.encrypt(SECRET, "other", fast=True), force=True)
    assert keystore.decrypt(keystore.load(path), "other") == SECRET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 50_000, b" " * (keystore.FILE_BYTES_MAX + 1)],
)
def test_files_that_are_no_keystore_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(BadKeystore):
        LocalSigner.from_keystore(path, "x")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadKeystore, match="No such file"):
        LocalSigner.from_keystore(tmp_path / "absent.json", "x")


def test_a_file_that_opens_to_another_key_than_its_address_says_is_refused(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    path = tmp_path / "swapped.json"
    keystore.save(path, document | {"address": "00" * 20})
    with pytest.raises(BadKeystore):
        LocalSigner.from_keystore(path, "correct horse")
