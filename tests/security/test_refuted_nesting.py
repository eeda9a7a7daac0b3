"""Nested brackets from a lying node or in a stranger's key file are refused before a decoder follows them down the C stack."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tallystick.wallet import answers, keystore
from tallystick.wallet.answers import OPENINGS_MAX, StatusAnswer, SubmitAnswer, read_bulk, read_json
from tallystick.wallet.endpoints import Answer
from tallystick.wallet.errors import BadKeystore, Untrusted

_RAISED = """
import sys
from pathlib import Path
from tallystick.wallet.answers import SubmitAnswer, problem_of, read_bulk, read_json
from tallystick.wallet.endpoints import Answer
from tallystick.wallet.errors import BadKeystore, Untrusted
from tallystick.wallet.keystore import load
sys.setrecursionlimit(1_000_000)  # what an app's libraries may do
deep = 400_000
receipt = Answer("n", 200, "application/json", b'{"results":[{"state":"final","receipt":{"a":' + b"[" * deep)
for read in (lambda: read_json(receipt, SubmitAnswer), lambda: read_json(receipt, dict),
             lambda: read_bulk(Answer("n", 200, "application/msgpack", b"\\x93\\x90\\x90" + b"\\x91" * deep))):
    try:
        read()
    except Untrusted:
        continue
    raise SystemExit("believed")
problem_of(Answer("n", 500, "application/json", b'{"x":' + b"[" * deep))
try:
    load(Path(sys.argv[1]))
except BadKeystore:
    print("refused")
"""


def _answer(body: bytes) -> Answer:
    return Answer("n", 200, "application/json", body)


def test_a_process_whose_recursion_limit_was_raised_survives_nested_answers_and_keystores(
    tmp_path: Path,
) -> None:
    file = tmp_path / "key.json"
    file.write_bytes(b'{"a":' + b"[" * (keystore.FILE_BYTES_MAX - 5))
    ran = subprocess.run(
        [sys.executable, "-c", _RAISED, str(file)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "refused"), ran.stderr


def test_opening_a_keystore_leaves_the_recursion_limit_as_it_was() -> None:
    script = (
        "import sys; from tallystick.wallet import keystore; before = sys.getrecursionlimit();"
        "keystore.decrypt(keystore.encrypt(bytes(31) + b'\\1', 'pw', fast=True), 'pw');"
        "assert 'py_ecc' in sys.modules; print(before == sys.getrecursionlimit())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True"


@pytest.mark.parametrize(("openings", "taken"), [(OPENINGS_MAX, True), (OPENINGS_MAX + 1, False)])
def test_the_brackets_of_an_answer_have_a_bound(openings: int, taken: bool) -> None:
    # One brace of the object, one bracket of `results`, the rest in a field that this release does not know.
    more = msgspec.json.encode([[] for _ in range(openings - 3)])
    answer = _answer(b'{"results":[],"news":' + more + b"}")
    if taken:
        assert read_json(answer, SubmitAnswer).results == ()
    else:
        with pytest.raises(Untrusted, match="brackets"):
            read_json(answer, SubmitAnswer)


def test_a_key_file_with_more_brackets_than_any_keystore_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_bytes(msgspec.json.encode({"a": [[] for _ in range(keystore.OPENINGS_MAX - 2)]}))
    assert keystore.load(file)
    file.write_bytes(msgspec.json.encode({"a": [[] for _ in range(keystore.OPENINGS_MAX - 1)]}))
    with pytest.raises(BadKeystore):
        keystore.load(file)


def test_a_bulk_answer_is_closed_so_that_nothing_unknown_is_skipped() -> None:
    longer = msgspec.msgpack.encode(([], [], []))
    with pytest.raises(Untrusted):
        read_bulk(Answer("n", 200, "application/msgpack", longer))
    row = msgspec.msgpack.encode(([[1, b"", 0, 0, 0, 0]], []))
    with pytest.raises(Untrusted):
        read_bulk(Answer("n", 200, "application/msgpack", row))


def test_answers_still_ignore_fields_that_a_newer_node_says() -> None:
    with pytest.raises(Untrusted, match="missing required"):
        read_json(_answer(b'{"news":[1]}'), StatusAnswer)
    assert answers.read_json(_answer(b'{"results":[],"news":1}'), SubmitAnswer).results == ()
