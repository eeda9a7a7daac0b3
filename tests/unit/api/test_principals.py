"""The list of client certificates: each wrong line is named, and the key is what counts."""

from pathlib import Path

import pytest

from tallystick.network.transport.tls import make_identity
from tallystick.node.api import bounds
from tallystick.node.api.access import load_principals
from tallystick.node.api.tokens import Scope

ENTRY = """
[[principal]]
name = "treasury"
certificate = "t.crt"
key_hash = "{hash}"
scopes = ["submit", "read:own"]
participant = 2
"""


@pytest.fixture
def good(tmp_path: Path) -> str:
    return ENTRY.format(hash=make_identity("t", tmp_path / "t.key", tmp_path / "t.crt").hex())


def load(folder: Path, text: str) -> object:
    path = folder / "principals.toml"
    path.write_text(text)
    return load_principals(path)


def test_a_listed_certificate_is_a_principal(tmp_path: Path, good: str) -> None:
    (tmp_path / "principals.toml").write_text(good)
    (entry,) = load_principals(tmp_path / "principals.toml")
    assert entry.principal.name == "key:treasury"
    assert entry.principal.scopes == frozenset({Scope.SUBMIT, Scope.READ_OWN})
    assert entry.principal.participant == 2


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "treasury"', "", "has no name"),
        ('key_hash = "', 'key_hash = "00', "not that of its certificate"),
        ('"read:own"', '"read:everything"', "scopes must be of"),
        ('["submit", "read:own"]', '"submit"', "scopes must be of"),
        ("participant = 2", 'participant = "2"', "participant must be a number"),
        ("participant = 2", "tier = 2", "unknown field tier"),
    ],
)
def test_a_wrong_line_is_named(
    tmp_path: Path, good: str, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=f"principal 0: .*{sentence}"):
        load(tmp_path, good.replace(old, new))


def test_one_key_is_one_principal(tmp_path: Path, good: str) -> None:
    with pytest.raises(ValueError, match="two principals have the same key"):
        load(tmp_path, good + good.replace("treasury", "desk"))


def test_the_list_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most"):
        load(tmp_path, "[[principal]]\n" * (bounds.PRINCIPALS_MAX + 1))


def test_an_empty_list_is_fine(tmp_path: Path) -> None:
    assert load(tmp_path, "") == ()
