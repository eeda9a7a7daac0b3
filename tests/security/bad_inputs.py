"""Every kind of bad transaction with the answer it must get at the HTTP edge, as a table.

The table is made for a `Target`: an address, a token, and an account that may pay. So it runs against an app with fakes behind
its ports (`test_bad_input_http`) and, with the cases that need a ledger, against a node of a real network (`judge`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey
from msgspec import msgpack
from msgspec.structs import replace

from tallystick.network.wire.ids import AccountId, PaymentId
from tallystick.network.wire.transactions import Transaction, Transfer, Witness
from tallystick.network.wire.transactions.codec import encode
from tests.security.edge import Edge, Reply

SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True)
class Target:
    """A node, and somebody who may pay there."""

    edge: Edge
    token: str
    """Scope submit, for the participant of `payer`."""
    chain: int
    digest: Callable[[Transaction], bytes]
    payer: AccountId
    payer_key: PrivateKey
    """The one key of `payer`."""
    creditor: AccountId
    foreign: AccountId
    """An account of another participant."""
    foreign_key: PrivateKey
    now_ms: int
    """The ledger's time, within a few seconds."""
    max_validity_ms: int
    asset: str = "USD"
    first_id: int = 900_000
    """Ids from here on are this table's own."""


@dataclass(frozen=True)
class Case:
    """`codes`: any of these; the status must be `status` when it is refused before ordering."""

    name: str
    raw: bytes
    status: int
    codes: tuple[str, ...]
    needs_ledger: bool = False
    """True: only a node that executes knows; the answer may be a receipt with the code as its reason."""


def draft(target: Target, number: int, **changes: object) -> Transfer:
    """A transfer without signatures that would be good."""
    good = Transfer(
        chain=target.chain,
        lane=0,
        account=target.payer,
        id=PaymentId((target.first_id + number).to_bytes(32, "big")),
        valid_until_ms=target.now_ms + 120_000,
        payload_root=bytes(32),
        creditor=target.creditor,
        asset=target.asset,
        amount_minor=1,
    )
    return replace(good, **changes)


def witness(target: Target, transaction: Transaction, key: PrivateKey | None = None) -> Witness:
    return witness_of(target.digest(transaction), key or target.payer_key)


def witness_of(digest: bytes, key: PrivateKey) -> Witness:
    signature = key.sign_recoverable(digest, hasher=None)[:64]
    return Witness(0, key.public_key.format(), signature)


def signed(target: Target, number: int, *keys: PrivateKey, **changes: object) -> Transfer:
    transaction = draft(target, number, **changes)
    witnesses = [witness(target, transaction, key) for key in keys or (target.payer_key,)]
    witnesses.sort(key=lambda each: each.key)
    return replace(transaction, witnesses=tuple(witnesses))


def good(target: Target, number: int) -> bytes:
    """A transfer that is received."""
    return encode(signed(target, number))


def bad_bytes(target: Target) -> Iterator[Case]:
    """What is no transaction of this network."""
    raw = good(target, 1)
    lane_at = raw.index(b"\x00", 1 + 1 + 9)
    yield Case("garbage", b"\xde\xad\xbe\xef" * 8, 400, ("MALFORMED",))
    yield Case("one byte", b"\x00", 400, ("MALFORMED",))
    yield Case("text", b"pay me", 400, ("MALFORMED",))
    yield Case("oversized", raw + bytes(8_193 - len(raw)), 400, ("OVERSIZED",))
    yield Case("just not oversized", raw + bytes(8_192 - len(raw)), 400, ("MALFORMED",))
    yield Case("truncated", raw[:-1], 400, ("MALFORMED",))
    yield Case("truncated to half", raw[: len(raw) // 2], 400, ("MALFORMED",))
    yield Case("a byte too many", raw + b"\x00", 400, ("MALFORMED",))
    yield Case(
        "a wide zero", raw[:lane_at] + b"\xcc\x00" + raw[lane_at + 1 :], 400, ("NON_CANONICAL",)
    )
    fields = msgpack.decode(raw)
    yield Case("a field missing", msgpack.encode(fields[:-3]), 400, ("MALFORMED",))
    yield Case("defaults left out", msgpack.encode(fields[:-2]), 400, ("NON_CANONICAL",))
    yield Case("a field too many", msgpack.encode([*fields, 0]), 400, ("MALFORMED",))
    yield Case("an unknown kind", msgpack.encode([99, *fields[1:]]), 400, ("MALFORMED",))
    yield Case("a map", msgpack.encode({"kind": 3}), 400, ("MALFORMED",))
    yield Case("nested without end", b"\x91" * 5_000, 400, ("MALFORMED",))
    yield Case("amount zero", msgpack.encode([*fields[:-3], 0, *fields[-2:]]), 400, ("MALFORMED",))
    yield Case(
        "amount beyond 2**63",
        msgpack.encode([*fields[:-3], 2**63, *fields[-2:]]),
        400,
        ("MALFORMED",),
    )
    yield Case(
        "amount a float", msgpack.encode([*fields[:-3], 1.0, *fields[-2:]]), 400, ("MALFORMED",)
    )


def bad_places_and_times(target: Target) -> Iterator[Case]:
    """For another network or lane, or at the wrong time."""
    yield Case(
        "wrong chain", encode(signed(target, 2, chain=target.chain - 1)), 400, ("WRONG_CHAIN",)
    )
    yield Case("wrong lane", encode(signed(target, 3, lane=1)), 400, ("WRONG_LANE",))
    past = encode(signed(target, 4, valid_until_ms=target.now_ms - 60_000))
    yield Case("past deadline", past, 400, ("PAST_DEADLINE",))
    far = target.now_ms + target.max_validity_ms + 120_000
    yield Case(
        "too far deadline",
        encode(signed(target, 5, valid_until_ms=far)),
        400,
        ("TOO_FAR_DEADLINE",),
    )


def bad_signatures(target: Target) -> Iterator[Case]:
    """Bytes of the right form that nobody may believe."""
    strangers = [PrivateKey(bytes([200 + n]) * 32) for n in range(11)]
    fine = signed(target, 6)
    (one,) = fine.witnesses

    def case(name: str, code: str, *witnesses: Witness) -> Case:
        return Case(name, encode(replace(fine, witnesses=witnesses)), 400, (code,))

    flipped = bytes([one.signature[0] ^ 1]) + one.signature[1:]
    s = int.from_bytes(one.signature[32:], "big")
    high = one.signature[:32] + (SECP256K1_ORDER - s).to_bytes(32, "big")
    two = sorted((one, witness(target, fine, strangers[0])), key=lambda each: each.key)
    yield case("no signature", "NO_SIGNATURE")
    yield case("a flipped bit", "BAD_SIGNATURE", replace(one, signature=flipped))
    yield case("a signature of zeros", "BAD_SIGNATURE", replace(one, signature=bytes(64)))
    yield case("high s", "HIGH_S_SIGNATURE", replace(one, signature=high))
    yield case("unsorted", "UNSORTED_SIGNATURES", *reversed(two))
    yield case("the same twice", "UNSORTED_SIGNATURES", one, one)
    yield case("unknown suite", "UNKNOWN_SUITE", replace(one, suite=1))
    yield case("a key off the curve", "BAD_KEY", replace(one, key=b"\x02" + b"\xff" * 32))
    yield case("an uncompressed prefix", "BAD_KEY", replace(one, key=b"\x04" + one.key[1:]))
    changed = replace(fine, amount_minor=2)
    yield Case("an amount changed after signing", encode(changed), 400, ("BAD_SIGNATURE",))
    many = sorted((witness(target, fine, key) for key in strangers), key=lambda each: each.key)
    eleven = Case(
        "eleven signatures",
        encode(replace(fine, witnesses=tuple(many))),
        400,
        ("TOO_MANY_SIGNATURES",),
    )
    yield eleven


def bad_for_the_ledger(target: Target) -> Iterator[Case]:
    """Good bytes that only a node with the ledger can refuse, before ordering or by a receipt."""
    stranger = PrivateKey(b"\xc8" * 32)
    unknown = AccountId(b"\xee" * 20)
    yield Case(
        "unknown account",
        encode(signed(target, 20, account=unknown)),
        400,
        ("UNKNOWN_ACCOUNT", "FOREIGN_ACCOUNT"),
        needs_ledger=True,
    )
    yield Case(
        "somebody else's key", encode(signed(target, 21, stranger)), 400, ("WRONG_KEYS",), True
    )
    yield Case(
        "one signature too many",
        encode(signed(target, 22, target.payer_key, stranger)),
        400,
        ("WRONG_KEYS", "TOO_MANY_SIGNATURES"),
        True,
    )
    foreign = encode(signed(target, 23, target.foreign_key, account=target.foreign))
    yield Case("another participant's account", foreign, 403, ("FOREIGN_ACCOUNT",))


def all_cases(target: Target) -> tuple[Case, ...]:
    return (
        *bad_bytes(target),
        *bad_places_and_times(target),
        *bad_signatures(target),
        *bad_for_the_ledger(target),
    )


def judge(target: Target, case: Case, wait: str = "final") -> str | None:
    """Submit one case; a sentence if the answer is not the right one."""
    reply = target.edge.submit(target.token, case.raw, wait=wait)
    code, status = reply.code, reply.status
    if case.needs_ledger and status == 200:
        code = reason_of(reply)
        status = case.status
    if (status, code in case.codes) != (case.status, True):
        return f"{case.name}: {reply.status} {code}, expected {case.status} {case.codes}: {reply.body[:300]!r}"
    return None


def reason_of(reply: Reply) -> str | None:
    """The reason of the one result: refused, or in its receipt."""
    (result,) = reply.document["results"]
    if result["state"] == "final":
        reason: str | None = result["receipt"]["outcome"]["reason"]
        return reason
    return str(result["reason"])


def judge_reused_id(target: Target, number: int = 30) -> str | None:
    """The same (account, id) with another content: the first stands, the second has ID_TAKEN. Needs a ledger."""
    first = target.edge.submit(target.token, good(target, number), wait="final")
    if first.status != 200 or reason_of(first) is not None:
        return f"the first payment did not settle: {first.body[:300]!r}"
    other = encode(signed(target, number, amount_minor=2))
    second = target.edge.submit(target.token, other, wait="final")
    code = second.code or reason_of(second)
    return None if code == "ID_TAKEN" else f"a reused id: {second.status} {code}"


def judge_all(target: Target) -> list[str]:
    """Run the whole table against a real node; sentences about wrong answers. A good payment passes before and after."""
    found = [sentence for case in all_cases(target) if (sentence := judge(target, case))]
    if sentence := judge_reused_id(target):
        found.append(sentence)
    return found
