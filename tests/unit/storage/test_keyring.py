"""Keys: where they come from and when they are refused; the ring, whose two files are never both at risk."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.node.storage import keyring
from tallystick.node.storage.key_encryption import KeyInMemory, make_key_file, open_key, open_keys
from tallystick.node.storage.keyring import FILES, Keyring, head_of, is_sealed
from tests.unit.storage.sealed_folder import NEW, OLD

# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_made_key_file_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "storage.key"
    make_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(path.read_text())) == 32
    with pytest.raises(OperationalError, match="never overwritten"):
        make_key_file(path)
    with pytest.raises(OperationalError, match="cannot make the key file"):
        make_key_file(tmp_path / "nowhere" / "storage.key")


def test_a_key_is_the_same_from_a_file_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key_file(tmp_path / "key")
    monkeypatch.setenv("NODE_KEY", (tmp_path / "key").read_text().upper())
    from_file, from_environment = open_keys(("file:key", "env:NODE_KEY"), tmp_path)
    assert from_file.id == from_environment.id
    assert from_environment.unwrap(from_file.wrap(bytes(range(32)))) == bytes(range(32))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("file:absent", "there is no key file"),
        ("file:.", "cannot read the key file"),
        ("file:short", "wants 64 hex digits"),
        ("file:words", "wants 64 hex digits"),
        ("file:open", r"may be read by others .* \(mode 0640\): chmod 600"),
        ("env:ABSENT", "the environment has no variable ABSENT"),
        ("env:SHORT", "the environment variable SHORT does not hold a key"),
        ("env:", "wants file:PATH, env:NAME or pkcs11:"),
        ("0011", "wants file:PATH, env:NAME or pkcs11:"),
    ],
)
def test_a_key_that_cannot_be_used_says_why_and_is_never_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, sentence: str
) -> None:
    monkeypatch.delenv("ABSENT", raising=False)
    monkeypatch.setenv("SHORT", "5ec2e7" * 5)
    for name, text, mode in (
        ("short", "5ec2e7" * 5, 0o600),
        ("words", "correct horse battery staple", 0o600),
        ("open", "5e" * 32, 0o640),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    with pytest.raises(OperationalError, match=sentence) as refused:
        open_key(source, tmp_path)
    assert "5ec2e7" not in str(refused.value)
    assert "horse" not in str(refused.value)


def test_a_key_of_another_size_is_our_own_mistake() -> None:
    with pytest.raises(InvariantError):
        KeyInMemory(bytes(16), "short")


# -- the ring ----------------------------------------------------------------------------------------------------------


def ring_with(folder: Path, keys: int) -> Keyring:
    ring = Keyring.create(folder, OLD)
    for _ in range(keys):
        ring.add_data_key()
    return ring


def test_a_ring_remembers_its_keys_and_numbers_never_come_again(tmp_path: Path) -> None:
    ring = ring_with(tmp_path, 3)
    again = Keyring.open(tmp_path, [NEW, OLD])
    assert (again.data_keys, again.name_key) == (ring.data_keys, ring.name_key)
    assert again.key_encryption is OLD
    assert len(set(again.data_keys.values()) | {again.name_key}) == 4
    again.rewrap(OLD)
    again.forget_below(4)
    assert again.data_keys == {}
    assert Keyring.open(tmp_path, [OLD]).add_data_key()[0] == 4


def test_a_ring_is_never_made_over_another(tmp_path: Path) -> None:
    ring_with(tmp_path, 0)
    (tmp_path / FILES[0]).unlink()
    with pytest.raises(OperationalError, match="has a keyring"):
        Keyring.create(tmp_path, OLD)


def test_a_key_is_not_forgotten_before_it_retires(tmp_path: Path) -> None:
    with pytest.raises(InvariantError, match="before it retired"):
        ring_with(tmp_path, 1).forget_below(2)


def test_one_file_of_two_is_enough_and_the_other_is_mended(tmp_path: Path) -> None:
    wanted = ring_with(tmp_path, 2).data_keys
    for lost, kept in (FILES, FILES[::-1]):
        whole = (tmp_path / kept).read_bytes()
        for damage in (b"", whole[:-1], whole[: len(whole) // 2], b"{}", b"\xff" * 100):
            (tmp_path / lost).write_bytes(damage)
            assert Keyring.open(tmp_path, [OLD]).data_keys == wanted
            assert (tmp_path / lost).read_bytes() == (tmp_path / kept).read_bytes()
        (tmp_path / lost).unlink()
        assert Keyring.open(tmp_path, [OLD]).data_keys == wanted


def test_both_files_with_any_one_byte_changed_are_refused_or_say_the_same(tmp_path: Path) -> None:
    wanted = ring_with(tmp_path, 1).data_keys
    whole = (tmp_path / FILES[0]).read_bytes()
    refused = 0
    for at in range(len(whole)):
        for name in FILES:
            (tmp_path / name).write_bytes(whole[:at] + bytes([whole[at] ^ 0x01]) + whole[at + 1 :])
        try:
            assert Keyring.open(tmp_path, [OLD]).data_keys == wanted
        except OperationalError:
            refused += 1
    # What may pass is the last base64 digit, whose low bits nobody reads, and nothing else.
    assert refused >= len(whole) - 2


def test_a_wrong_key_names_both_keys_and_a_damaged_ring_does_not_blame_the_key(
    tmp_path: Path,
) -> None:
    ring_with(tmp_path, 1)
    with pytest.raises(OperationalError) as wrong:
        Keyring.open(tmp_path, [NEW])
    assert OLD.id in str(wrong.value)
    assert f"the new key has the id {NEW.id}" in str(wrong.value)
    for name in FILES:
        text = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(text.replace(b'"sealed":"', b'"sealed":"AAAA'))
    with pytest.raises(OperationalError, match="damaged: its key is the right one"):
        Keyring.open(tmp_path, [OLD])


def test_every_writing_has_a_ring_key_of_its_own_and_the_head_says_no_more_than_it_should(
    tmp_path: Path,
) -> None:
    ring = ring_with(tmp_path, 1)
    first = (tmp_path / FILES[0]).read_bytes()
    ring.forget_below(0)  # writes the same ring again
    second = (tmp_path / FILES[0]).read_bytes()
    assert first.split(b'"wrapped":')[1] != second.split(b'"wrapped":')[1]
    head = head_of(tmp_path)
    assert (head.key, head.rewriting, head.sequence) == (OLD.id, False, 3)
    for secret in (ring.name_key, *ring.data_keys.values()):
        for text in (secret, secret.hex().encode()):
            assert text not in first + second


def test_a_full_ring_takes_no_more_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "DATA_KEYS_MAX", 2)
    ring = ring_with(tmp_path, 2)
    with pytest.raises(OperationalError, match=r"takes no more: .*tallystick node rekey --wait"):
        ring.add_data_key()


def test_a_ring_at_its_bound_fits_into_its_file(tmp_path: Path) -> None:
    ring = ring_with(tmp_path, 1)
    entry = ring._ring.data_keys[0]
    full = msgspec.structs.replace(
        ring._ring, data_keys=(entry,) * keyring.DATA_KEYS_MAX, next_number=2**32
    )
    ring._write(full, OLD)
    assert (tmp_path / FILES[0]).stat().st_size <= keyring.RING_BYTES_MAX
    assert len(Keyring.open(tmp_path, [OLD])._ring.data_keys) == keyring.DATA_KEYS_MAX


def test_a_folder_whose_keyring_cannot_be_written_or_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = ring_with(tmp_path, 0)
    (tmp_path / (FILES[1] + ".new")).mkdir()
    with pytest.raises(OperationalError, match="cannot write the keyring"):
        ring.add_data_key()
    for name in FILES:
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
    with pytest.raises(OperationalError, match="cannot read the keyring"):
        head_of(tmp_path)
    assert is_sealed(tmp_path)


# -- a token -----------------------------------------------------------------------------------------------------------

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")

IN_A_TOKEN = """
import sys
from pathlib import Path
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from tallystick.network.wire.faults import OperationalError
from tallystick.node.storage.key_encryption import KeyInMemory, open_key
from tallystick.node.storage.opening import open_store

module, folder = sys.argv[1], Path(sys.argv[2])
use = {Attribute.WRAP: True, Attribute.UNWRAP: True}
with pkcs11.lib(module).get_token(token_label="bank").open(rw=True, user_pin="1234") as session:
    session.generate_key(KeyType.AES, 256, label="first", store=True, template={
        **use, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False})
    session.create_object({**use, Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: bytes(range(32)), Attribute.LABEL: "copy", Attribute.TOKEN: True})

def uri(label):
    return f"pkcs11:token=bank;object={label}?module-path={module}&pin-source=file:pin"

first, copy = open_key(uri("first"), folder), open_key(uri("copy"), folder)
in_file = KeyInMemory(bytes(range(32)), "file")
assert first.unwrap(first.wrap(bytes(range(32)))) == bytes(range(32))
assert copy.unwrap(first.wrap(bytes(range(32)))) is None
assert first.unwrap(b"x" * 40) is None and first.unwrap(b"x") is None
assert copy.id == in_file.id != first.id and copy.wrap(bytes(32)) == in_file.wrap(bytes(32))

store = open_store(folder / "data", [first])
store.write([{b"a1": b"1"}])
store.close()
store = open_store(folder / "data", [first, copy])
assert store.get(b"a1") == b"1"
store.rekey(copy)
list(store.rewrite_all())
store.close()
store = open_store(folder / "data", [in_file])
assert store.get(b"a1") == b"1"
store.close()
for bad in (uri("absent"), uri("first").replace("bank", "shop"), uri("first").replace("file:pin", "file:nopin"),
            uri("first").replace("pin-source", "pins"), uri("first").replace("softhsm2", "none")):
    try:
        open_key(bad, folder)
    except OperationalError as error:
        assert "1234" not in str(error)
    else:
        raise SystemExit(f"taken: {bad}")
print("good")
"""


def test_a_key_in_a_token_opens_what_the_same_key_in_a_file_does(tmp_path: Path) -> None:
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    if not MODULE.exists():
        pytest.skip("SoftHSM is not installed: apt-get install softhsm2")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    (tmp_path / "pin").write_text("1234\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm.conf")}
    make = "softhsm2-util --init-token --free --label bank --pin 1234 --so-pin 5678"
    subprocess.run(make.split(), env=environment, check=True, capture_output=True)
    # A process of its own: the module stays loaded, and logged in, for the life of a process.
    command = [sys.executable, "-c", IN_A_TOKEN, str(MODULE), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "good\n", done.stderr
