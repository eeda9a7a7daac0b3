"""Two verifiers, written apart, in two languages with two cryptographic libraries, say the same of everything.

Both get the published vectors and every one-byte mutation of small receipts. They are compared by the code of a refusal, or by
the last check and its sentence, so a step that is missing in one of them shows even where the verdict happens to agree.
"""

import copy
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.network.proofs.verify import Verifier
from tallystick.network.wire.genesis import genesis_from_json
from tallystick.network.wire.keys import verify_spend, verify_vote
from tallystick.network.wire.reasons import RejectReason
from tests.verifier.other import Other, about, encoded, ours, ours_of, short
from tests.verifier.published import GENUINE, PUBLISHED, file_of, genesis_of, published_form

pytestmark = pytest.mark.campaign


def test_every_published_case_gets_the_published_verdict(other: Other) -> None:
    asked, seen = PUBLISHED["receipts"], Counter[str]()
    lines: list[dict[str, Any]] = []
    for case in asked:
        lines += [about(genesis_of(case)), {"receipt": encoded(file_of(case))}]
    for case, verdict in zip(asked, other.ask(lines)[1::2], strict=True):
        assert published_form(verdict) == case["expect"], case["name"]
        seen[case["expect"].get("step") or case["expect"].get("refused") or "VERIFIED"] += 1
    steps = {"members", "header", "link", "certificate", "transaction", "identity", "signatures"}
    steps |= {"ordered", "executed", "outcome", "VERIFIED", "MALFORMED", "NON_CANONICAL"}
    assert set(seen) == steps
    assert sum(seen.values()) > 140


def test_every_published_flip_gets_the_published_answer(other: Other) -> None:
    flips = PUBLISHED["flips"]
    named = {case["name"]: case for case in PUBLISHED["receipts"]}
    for name, runs in flips["runs"].items():
        file = file_of(named[name])
        mutations = [(at, byte ^ flips["xor"]) for at, byte in enumerate(file)]
        found = other.flips(genesis_of(named[name]), file, mutations)
        expected = [answer for count, answer in runs for _ in range(count)]
        assert [each if isinstance(each, str) else each[1] for each in found] == expected, name
        assert not any(each[0] for each in found if isinstance(each, list)), name


def mutations(file: bytes, name: str, each: int) -> list[tuple[int, int]]:
    """`each` changes of every byte: bits that turn case or space, letters that JSON cares for, any byte."""
    chosen = random.Random(name)
    kinds: tuple[Callable[[int], int], ...] = (
        lambda byte: byte ^ 0x20,
        lambda _: chosen.choice(b'0123456789abcdef",{}[]: \n\\'),
        lambda byte: byte ^ chosen.randrange(1, 256),
    )
    changed = [
        (at, kind(byte)) for at, byte in enumerate(file) for kind in chosen.sample(kinds, each)
    ]
    return [(at, byte) for at, byte in changed if file[at] != byte]


@pytest.mark.parametrize("case", GENUINE, ids=lambda case: case["name"].replace(" ", "-"))
def test_every_byte_of_every_genuine_receipt_may_be_changed_and_both_refuse_it_alike(
    other: Other, case: dict[str, Any]
) -> None:
    file, genesis = file_of(case), genesis_of(case)
    flips = mutations(file, case["name"], 3 if case is GENUINE[0] else 1)
    verifier = Verifier(genesis_from_json(genesis))
    differ = [
        (at, byte, mine, theirs)
        for (at, byte), theirs in zip(flips, other.flips(genesis, file, flips), strict=True)
        if (mine := ours(file[:at] + bytes([byte]) + file[at + 1 :], verifier)) != theirs
        or theirs[0] is True
    ]
    assert differ == []
    assert len(flips) > 0.9 * len(file)


def test_a_receipt_that_ends_early_anywhere_is_refused_alike(other: Other) -> None:
    case = GENUINE[0]
    file, genesis = file_of(case), genesis_of(case)
    parts = [file[:size] for size in range(0, len(file), 3)]
    verifier = Verifier(genesis_from_json(genesis))
    answers = [short(verdict) for verdict in other.receipts(genesis, parts)]
    assert answers == [ours(part, verifier) for part in parts]
    assert not any(isinstance(answer, list) for answer in answers)


def test_two_neighbouring_bytes_may_change_places_and_both_refuse_it_alike(other: Other) -> None:
    case = GENUINE[0]
    file, genesis = file_of(case), genesis_of(case)
    swapped = [
        file[:at] + file[at + 1 : at + 2] + file[at : at + 1] + file[at + 2 :]
        for at in range(len(file) - 1)
        if file[at] != file[at + 1]
    ]
    verifier = Verifier(genesis_from_json(genesis))
    answers = [short(verdict) for verdict in other.receipts(genesis, swapped)]
    assert answers == [ours(each, verifier) for each in swapped]
    assert not any(answer[0] is True for answer in answers)


def places(document: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to every value of a JSON document, the document itself left out."""
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    for name, value in items:
        yield (*above, name)
        yield from places(value, (*above, name))


def at_place(document: Any, place: tuple[str | int, ...]) -> Any:
    for name in place:
        document = document[name]
    return document


def test_parts_of_two_genuine_receipts_may_be_exchanged_and_both_say_the_same(other: Other) -> None:
    """Whatever still verifies is one of the two: its transaction and its outcome come from one receipt."""
    chosen = random.Random(7)
    cases = [case for case in GENUINE if case["genesis"] == "pbft"]
    documents = [msgspec.json.decode(file_of(case)) for case in cases]
    files: list[bytes] = []
    for one in documents:
        for two in documents:
            common = sorted(set(places(one)) & set(places(two)), key=str)
            for place in chosen.sample(common, 15):
                mixed = copy.deepcopy(one)
                at_place(mixed, place[:-1])[place[-1]] = at_place(two, place)
                files.append(msgspec.json.format(msgspec.json.encode(mixed), indent=2) + b"\n")
    genesis = genesis_of(cases[0])
    verifier = Verifier(genesis_from_json(genesis))
    answers = [short(verdict) for verdict in other.receipts(genesis, files)]
    assert answers == [ours(each, verifier) for each in files]
    told = [(each["transaction"], each["outcome"]) for each in documents]
    for file, answer in zip(files, answers, strict=True):
        if answer[0] is True:
            mixed = msgspec.json.decode(file)
            assert (mixed["transaction"], mixed["outcome"]) in told
    assert {answer[1] for answer in answers if answer[0] is False} >= {"link", "identity"}
    assert len(files) > 2_000


def changed_geneses(genesis: bytes) -> Iterator[bytes]:
    for at, byte in enumerate(genesis):
        yield genesis[:at] + bytes([byte ^ 0x01]) + genesis[at + 1 :]
    for before, after in (
        (b'"lane": 0', b'"lane":0'),
        (b'"lane": 0', b'"lane": -0'),
        (b'"lane": 0', b'"lane": 0.0'),
        (b'"lane": 0', b'"lane": 0, "lane": 0'),
        (b'"name": "formats"', b'"name": "form\\u0061ts"'),
        (b'"name": "formats"', b'"name": "form\\nats"'),
        (b'"name": "formats"', b'"name": "form\\u001fats"'),
        (b'"name": "formats"', '"name": "förmats \U0001f4b6"'.encode()),
        (b'"name": "formats"', b'"name": "%s"' % (b"x" * 65)),
        (b'"name": "formats"', b'"name": ""'),
        (b'"engine": "pbft"', b'"engine": "raft"'),
        (b'"version": 1', b'"version": 2'),
        (b'"exponent": 2', b'"exponent": 7'),
        (b'"supply_cap_minor": 1000000000000000', b'"supply_cap_minor": 9223372036854775807'),
        (b'"supply_cap_minor": 1000000000000000', b'"supply_cap_minor": 9223372036854775808'),
        (b'"supply_cap_minor": 1000000000000000', b'"supply_cap_minor": "1000000000000000"'),
    ):
        assert before in genesis
        yield genesis.replace(before, after, 1)


def test_every_byte_of_the_genesis_file_may_be_changed_and_both_say_the_same(other: Other) -> None:
    case = GENUINE[0]
    file = file_of(case)
    geneses = list(changed_geneses(genesis_of(case)))
    lines: list[dict[str, Any]] = []
    for genesis in geneses:
        lines += [about(genesis), {"receipt": encoded(file)}]
    answers = [short(verdict) for verdict in other.ask(lines)[1::2]]
    expected = [ours_of(file, genesis) for genesis in geneses]
    differ = [
        (at, mine, theirs)
        for at, (mine, theirs) in enumerate(zip(expected, answers, strict=True))
        if mine != theirs
    ]
    assert differ == []
    # A genesis file may have any white space; every other change makes another network of it, or none.
    assert {str(answer[1]) for answer in answers if answer[0] is False} == {"header"}


def signatures(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The published cases for both kinds of key."""
    small = json.loads((folder / "ed25519" / "small_order.json").read_text())["cases"]
    for case in small:
        yield "vote", [case["public_key"], case["message"], case["signature"]]
    wycheproof = json.loads((folder / "wycheproof" / "ed25519_test.json").read_text())
    for group in wycheproof["testGroups"]:
        for test in group["tests"]:
            yield "vote", [group["publicKey"]["pk"], test["msg"], test["sig"]]


def test_both_give_one_verdict_on_every_odd_vote(other: Other, shared_vectors: Path) -> None:
    asked = list(signatures(shared_vectors))
    found = other.ask({kind: case} for kind, case in asked)
    expected = [verify_vote(*map(bytes.fromhex, case)) for _, case in asked]
    assert found == expected
    assert len(asked) == 270
    assert 0 < sum(found) < len(found)


def test_both_give_one_verdict_on_every_odd_signature_of_a_payer(other: Other) -> None:
    """r, s and the key at and beside their bounds."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    prime = 2**256 - 2**32 - 977
    case = next(case for case in PUBLISHED["receipts"] if case["name"] == "a payment settles")
    document = msgspec.json.decode(file_of(case))
    witness, digest = document["transaction"]["witnesses"][0], document["outcome"]["digest"]
    key, signature = witness["key"], bytes.fromhex(witness["signature"])
    r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:]))
    odd = (0, 1, order // 2, order // 2 + 1, order - 1, order, order + 1, prime, 2**256 - 1)
    pairs = [(r, s), (r, order - s), (order - r, s)]
    pairs += [(each, s) for each in odd] + [(r, each) for each in odd]
    cases = [[key, digest, (a.to_bytes(32, "big") + b.to_bytes(32, "big")).hex()] for a, b in pairs]
    good = signature.hex()
    keys = [bytes([head]) + bytes.fromhex(key)[1:] for head in (0, 1, 2, 3, 4, 5, 6, 7)]
    keys += [b"\x02" + x.to_bytes(32, "big") for x in (0, 1, 5, prime - 1, prime, prime + 1)]
    keys += [b"", bytes.fromhex(key)[:-1], bytes.fromhex(key) + b"\0"]
    cases += [[each.hex(), digest, good] for each in keys]
    cases += [[key, digest, good[:-2]], [key, digest, good + "00"], [key, digest[:-2], good]]
    found = other.ask({"spend": case} for case in cases)
    assert found == [verify_spend(*map(bytes.fromhex, case)) for case in cases]
    assert sum(found) == 2  # the signature itself, and once more under its own key


def test_both_tables_of_reasons_are_one(other: Other) -> None:
    (table,) = other.ask([{"reasons": True}])
    expected = [(each.number, each.code, each.on_ledger, each.sentence) for each in RejectReason]
    found = [(each["number"], each["code"], each["onLedger"], each["sentence"]) for each in table]
    assert sorted(found) == sorted(expected)
