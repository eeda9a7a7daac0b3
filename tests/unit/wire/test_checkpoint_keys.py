"""The checkpoint keys of a genesis document: one for each member with its proof, or none; and a node's key file."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tallystick.network.wire import bls
from tallystick.network.wire.faults import InvariantError, OperationalError
from tallystick.network.wire.genesis import (
    GENESIS,
    CheckpointKey,
    Genesis,
    genesis_from_json,
    genesis_to_json,
    validate_genesis,
)
from tallystick.network.wire.ids import NodeId
from tallystick.network.wire.signing import checkpoint_message
from tallystick.node.runtime.checkpoint_key import FileCheckpointSigner, write_checkpoint_key
from tests.unit.wire.examples import genesis

SECRETS = [bls.SecretKey(bytes([0x21 + index]) * 32) for index in range(8)]


def entry(member: int, secret: bls.SecretKey) -> CheckpointKey:
    return CheckpointKey(NodeId(member), secret.public_key, secret.prove_possession())


def with_keys() -> Genesis:
    document = genesis()
    keys = (
        entry(member.id, secret) for member, secret in zip(document.members, SECRETS, strict=False)
    )
    return replace(document, checkpoint_keys=tuple(keys))


GOOD = with_keys()


def faults(*entries: CheckpointKey) -> str:
    return "; ".join(validate_genesis(replace(GOOD, checkpoint_keys=entries)))


def test_a_document_with_a_key_for_each_member_is_sound_and_comes_back_from_both_forms() -> None:
    assert validate_genesis(GOOD) == []
    assert genesis_from_json(genesis_to_json(GOOD)) == GOOD
    assert GENESIS.decode(GENESIS.encode(GOOD)) == GOOD


def test_a_key_too_few_and_keys_in_another_order_are_named() -> None:
    keys = GOOD.checkpoint_keys
    assert "one for each member" in faults(*keys[:-1])
    assert "one for each member" in faults(*keys[::-1])
    assert "one for each member" in faults(*keys[:-1], replace(keys[-1], member=NodeId(77)))


def test_a_key_that_stands_twice_is_named() -> None:
    first, *rest = GOOD.checkpoint_keys
    copied = replace(first, member=rest[0].member)
    assert "stands 2 times" in faults(first, copied, *rest[1:])


def test_a_key_that_is_no_point_and_a_proof_of_another_key_are_named() -> None:
    first, second, *rest = GOOD.checkpoint_keys
    for bad in (b"\xc0" + bytes(47), b"\xff" * 48, bytes(48), first.key[:-1] + b"\0"):
        assert "is not the encoding of a key" in faults(replace(first, key=bad), second, *rest)
    stolen = replace(first, possession=second.possession)
    assert "does not prove possession" in faults(stolen, second, *rest)
    signed = replace(first, possession=SECRETS[0].sign(first.key))
    assert "does not prove possession" in faults(signed, second, *rest)


def test_a_key_file_is_made_once_and_signs_until_it_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.key"
    public, proof = write_checkpoint_key(path)
    assert bls.verify_possession(public, proof)
    assert path.stat().st_mode & 0o777 == 0o600
    signer = FileCheckpointSigner(path)
    assert signer.public_key == public
    assert bls.verify(public, b"m", signer.sign(b"m"))
    with pytest.raises(OperationalError, match="never overwritten"):
        write_checkpoint_key(path)
    signer.seal()
    with pytest.raises(InvariantError, match="halted node"):
        signer.sign(b"m")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tallystick checkpoint key 1\n" + "0" * 64 + "\n",
        "tallystick checkpoint key 1\n" + "f" * 64 + "\n",
        "tallystick checkpoint key 1\n" + "1" * 63 + "\n",
        "tallystick checkpoint key 2\n" + "1" * 64 + "\n",
    ],
)
def test_a_key_file_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checkpoint.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(OperationalError, match=r"checkpoint\.key"):
        FileCheckpointSigner(path)
    path.chmod(0o640)
    with pytest.raises(OperationalError, match="may be read by others"):
        FileCheckpointSigner(path)


def test_the_statement_names_its_chain_lane_epoch_height_link_and_root() -> None:
    from tallystick.network.wire.ids import Epoch, Height, Link

    def said(**changed: int) -> bytes:
        facts = {"chain": 7, "lane": 1, "epoch": 2, "height": 3, "link": 4, "root": 5} | changed
        link, root = Link(bytes([facts["link"]]) * 32), bytes([facts["root"]]) * 32
        epoch, height = Epoch(facts["epoch"]), Height(facts["height"])
        return checkpoint_message(facts["chain"], facts["lane"], epoch, height, link, root)

    assert len(said()) == 112
    names = ("chain", "lane", "epoch", "height", "link", "root")
    assert len({said(), *(said(**{name: 9}) for name in names)}) == 7


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("checkpoint_blocks", 10, 1_000_000), ("checkpoint_ms", 100, 86_400_000)],
)
def test_how_often_is_bounded_on_both_sides(name: str, low: int, high: int) -> None:
    for value, good in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        document = replace(GOOD, parameters=replace(GOOD.parameters, **{name: value}))
        assert (validate_genesis(document) == []) is good
