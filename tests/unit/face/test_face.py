"""The public face: complete, lazy, and the same to a type checker as to Python."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tallystick

HELP_MODULES_MAX = 400
"""332 when this was written, nearly all of Python's own and typer's; one of the heavy packages brings hundreds."""

HEAVY = ("aiohttp", "web3", "eth_account", "eth_keyfile", "typer", "rich", "py_ecc")


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after this code."""
    script = f"{code}\nimport sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    return set(printed_by(script).split())


def printed_by(code: str) -> str:
    """What a fresh interpreter prints when it runs this code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "code",
    ["import tallystick", "import tallystick.network.wire.transactions.codec", "import tallystick.network.proofs.verify",
     "from tallystick import verify_receipt", "import tallystick.wallet.core.build"],
)  # fmt: skip
def test_what_needs_no_network_loads_none(code: str) -> None:
    assert loaded_after(code).isdisjoint(HEAVY)


def test_the_wallet_itself_loads_no_ethereum_tools_until_a_keystore_is_opened() -> None:
    assert loaded_after("from tallystick import Wallet, LocalSigner").isdisjoint(
        {"web3", "eth_account", "eth_keyfile"}
    )


@pytest.mark.parametrize("name", tallystick.__all__)
def test_every_name_of_the_face_is_there(name: str) -> None:
    assert getattr(tallystick, name) is not None
    assert name in dir(tallystick)


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Walet'"):
        _ = tallystick.Walet  # type: ignore[attr-defined]


def test_the_type_checker_is_told_the_same_names() -> None:
    tree = ast.parse(Path(tallystick.__file__).read_text("utf-8"))
    told = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert told - {"import_module"} == set(tallystick.__all__)


def test_help_is_there_at_once_because_it_loads_little() -> None:
    """The time to the first word is that of the imports, so they are what is bounded: a clock would measure the machine."""
    code = "import sys; sys.argv=['tallystick','--help']\nimport tallystick.__main__ as m\ntry: m.main()\nexcept SystemExit: pass"
    words = printed_by(f"{code}\nprint(len(sys.modules))").split()
    assert "receipt" in words
    assert int(words[-1]) <= HELP_MODULES_MAX
    assert loaded_after(code).isdisjoint(
        {"web3", "eth_account", "eth_keyfile", "aiohttp", "plyvel", "rich", "py_ecc", "uvloop"}
    )
