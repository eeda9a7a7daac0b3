"""A node's HTTP answers as types. Shape is checked here; nothing in them is believed before `checking` has been over it.

Unknown fields are ignored, so that a newer node may say more. What does not fit raises `Untrusted`: a node that answers
nonsense is treated like one that lies.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from tallystick.wallet.endpoints import Answer
from tallystick.wallet.errors import Untrusted, WalletError, from_problem

T = TypeVar("T")

Text = Annotated[str, Meta(max_length=4_096)]
HexText = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$")]
State = Literal["refused", "pending", "received", "accepted", "final"]

OPENINGS_MAX: Final = 8_192
"""Brackets and braces in one JSON answer; the fullest honest one opens a few hundred, and a few thousand after many changes of
members. It bounds the nesting: msgspec follows
that as deep as Python's recursion limit, which an app's libraries may have raised until the C stack overruns."""

RANK: dict[str, int] = {"refused": 0, "pending": 0, "received": 1, "accepted": 2, "final": 3}
"""How far a transaction got. Pending: the node had not yet put it on its disk when the time was over."""


class Holder(Struct, frozen=True):
    node: int
    signature: HexText


class SubmitResult(Struct, frozen=True):
    """What a node says of one submitted transaction."""

    state: State
    reason: Text | None = None
    detail: Text = ""
    retryable: bool = False
    receipt: dict[str, Any] | None = None
    holders: tuple[Holder, ...] = ()
    batch: HexText | None = None
    siblings: tuple[HexText, ...] = ()


class SubmitAnswer(Struct, frozen=True):
    results: tuple[SubmitResult, ...]


class Problem(Struct, frozen=True):
    """RFC 9457."""

    code: Text
    detail: Text = ""
    title: Text = ""
    retryable: bool = False


class Ordered(Struct, frozen=True):
    """The refusal of an absence: the body under which the digest was ordered."""

    body_id: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class AccountProof(Struct, frozen=True):
    key: HexText
    value: HexText | None
    blind: HexText
    state: dict[str, Any]
    block: dict[str, Any]


class Headroom(Struct, frozen=True):
    asset: Text
    rule: Text
    limit_minor: int
    headroom_minor: int


class AccountAnswer(Struct, frozen=True):
    """Only `proof` is evidence; `headroom` is the node's word."""

    proof: AccountProof
    headroom: tuple[Headroom, ...] = ()


class TransactionAnswer(Struct, frozen=True):
    state: State
    body_id: HexText | None = None
    """None while it waits, like `digest`: the node names only what the ledger holds."""
    digest: HexText | None = None


class StatusAnswer(Struct, frozen=True):
    """A node's word about itself."""

    network: Text
    genesis_hash: HexText
    node: int
    role: Text
    engine: Text
    epoch: int
    view: int
    leader: int
    height: int
    link: HexText
    state_root: HexText
    block_time_ms: int
    pool_size: int
    in_flight: int
    peers_up: tuple[int, ...]
    halted: Text | None
    ready: bool


class BulkResult(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One transaction of a binary bulk answer. Closed, so that its type bounds its nesting."""

    state: Annotated[int, Meta(ge=0, le=4)]
    body_id: bytes
    reason: Annotated[int, Meta(ge=0, lt=65_536)]
    height: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    index: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class BulkAnswer(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    results: tuple[BulkResult, ...]
    bundles: tuple[bytes, ...]


def read_json(answer: Answer, type_: type[T]) -> T:
    """The body of a 200 answer. `Untrusted` if it does not fit; a problem document is raised as its `WalletError`."""
    if answer.status != 200:
        raise problem_of(answer)
    if _opens_too_much(answer):
        raise Untrusted(f"{answer.node} answered with more than {OPENINGS_MAX} brackets")
    try:
        return msgspec.json.decode(answer.body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Untrusted(f"{answer.node} answered what does not fit: {error}") from None


def read_bulk(answer: Answer) -> BulkAnswer:
    """The body of a binary bulk answer."""
    if answer.status != 200:
        raise problem_of(answer)
    try:
        return msgspec.msgpack.decode(answer.body, type=BulkAnswer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Untrusted(f"{answer.node} answered what does not fit: {error}") from None


def problem_of(answer: Answer) -> WalletError:
    """The typed error of an answer that is not 200."""
    try:
        problem = msgspec.json.decode(b"" if _opens_too_much(answer) else answer.body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Untrusted(f"{answer.node} answered HTTP {answer.status} without a problem document")
    return from_problem(problem.code, problem.detail or problem.title)


def _opens_too_much(answer: Answer) -> bool:
    return answer.body.count(b"[") + answer.body.count(b"{") > OPENINGS_MAX
