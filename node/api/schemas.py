"""The shapes of every JSON request and answer, as pydantic models; `openapi` is generated from them.

Bytes are lower-case hex without 0x in answers; requests may carry 0x and capitals. Amounts are integers in minor units, times
milliseconds since 1970. A receipt document's own format is written down in docs/formats.md.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tallystick.node.api import bounds

HexIn: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(0x)?([0-9a-fA-F]{2})+$")]
Hex: TypeAlias = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$")]
Document: TypeAlias = dict[str, Any]
"""A JSON object with a format of its own (receipt, genesis, proof)."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TransactionsRequest(_Model):
    """One or more signed transactions."""

    transactions: Annotated[
        list[HexIn], Field(min_length=1, max_length=bounds.REQUEST_TRANSACTIONS_MAX)
    ]
    """Encoded transactions, hex."""
    wait: Literal["received", "accepted", "final"] = "final"
    """received: on this node's disk; accepted: f+1 members signed that they hold it; final: it has its receipt."""
    timeout_ms: Annotated[int, Field(ge=0, le=bounds.TIMEOUT_MS_MAX, strict=True)] = (
        bounds.TIMEOUT_MS_DEFAULT
    )


class Holder(_Model):
    """A member that signed that it holds a durable copy."""

    node: int
    signature: Hex


class TransactionResult(_Model):
    """What became of one transaction so far. `account`, `id`, `digest` are null if the bytes could not be read."""

    body_id: Hex
    account: Hex | None
    id: Hex | None
    digest: Hex | None
    state: Literal["refused", "pending", "received", "accepted", "final"]
    reason: str | None
    detail: str
    retryable: bool
    receipt: Document | None
    holders: list[Holder]
    batch: Hex | None
    siblings: list[Hex]


class TransactionsResponse(_Model):
    """One result for each transaction, in order. After a time-out: the state reached so far."""

    results: list[TransactionResult]


class TransactionResponse(_Model):
    """Where one transaction stands. All but the first three are null until it is final."""

    account: Hex
    id: Hex
    state: Literal["received", "final"]
    """received: it waits at this node."""
    digest: Hex | None = None
    body_id: Hex | None = None
    status: Literal["settled", "rejected", "expired"] | None = None
    reason: str | None = None
    height: int | None = None
    index: int | None = None
    opened: Hex | None = None
    """The account that an OpenAccount was given."""


class Balance(_Model):
    """What an account holds of one asset."""

    asset: str
    exponent: int
    amount_minor: int


class Headroom(_Model):
    """What may still leave the account at the certified time. An asset without both rules is not listed: nothing leaves."""

    asset: str
    rule: Literal["R04"]
    cap_minor: int
    """Rule R01: one payment."""
    limit_minor: int
    """Rule R04: rolling 24 hours."""
    sent_minor: int
    headroom_minor: int
    """The largest single payment that both rules would allow now."""


class AccountProof(_Model):
    """Leads from the account's record to a certified state root."""

    key: Hex
    value: Hex | None
    blind: Hex
    state: Document
    block: Document


class AccountResponse(_Model):
    """One account on the certified ledger."""

    account: Hex
    participant: int
    serial: int
    tier: int
    threshold: int
    keys: list[Hex]
    balances: list[Balance]
    headroom: list[Headroom]
    height: int
    time_ms: int
    state_root: Hex
    proof: AccountProof


class HandOverResponse(_Model):
    """Who leads now."""

    handed_over: bool
    """False: no other member took over in time, and this one may lead on."""
    leader: int
    view: int


class BlockResponse(_Model):
    """One certified block. `certificate` is null when a later block certifies it."""

    height: int
    link: Hex
    header: Document
    result: Document
    certificate: Document | None
    body_ids: list[Hex]


class ConsistencyResponse(_Model):
    """The history of links up to `from` begins the one up to `to`: RFC 6962 section 2.1.2, checked by RFC 9162 section 2.1.4.2."""

    sizes: list[int]
    """Leaves of both trees: each height plus one."""
    roots: list[Hex]
    proof: list[Hex]


class Member(_Model):
    """A node that votes; `up` is null for the answering node itself."""

    id: int
    name: str
    up: bool | None


class Audit(_Model):
    """What an observer found by executing every block itself."""

    lag_ms: int
    blocks_executed: int
    divergence: str | None


class StatusResponse(_Model):
    """How this node is. `audit` is null unless it is an observer."""

    network: str
    chain: int
    genesis_hash: Hex
    node: int
    role: Literal["member", "observer"]
    engine: str
    epoch: int
    view: int
    leader: int
    height: int
    link: Hex
    state_root: Hex
    block_time_ms: int
    pool_size: int
    in_flight: int
    peers_up: list[int]
    members: list[Member]
    waiting_for: str
    """What would let this node go on, in words."""
    alarm: str | None
    halted: str | None
    ready: bool
    audit: Audit | None


class EvidenceResponse(_Model):
    """What this node has met; each document is a file that `tallystick evidence verify` takes."""

    evidence: list[Document]
    total: int
    """How much this node holds: more than this answer if it did not fit; `?from=` asks for the rest."""


class AwaitedMember(_Model):
    """A member whose word is missing. `up` is null for the answering node itself: its own disk or machine is awaited."""

    id: int
    name: str
    up: bool | None
    down_since_ms: int | None


class WhyStalledResponse(_Model):
    """Why nothing becomes final; when `stalled` is false, what comes next."""

    stalled: bool
    sentence: str
    phase: str
    """What is missing: proposal, prepare votes, commit votes, view-change messages, new view, ... (docs/operating.md)."""
    awaited: list[AwaitedMember]
    needed: int
    """How many of `awaited` would be enough."""
    since_ms: int
    """Since when a final block is owed; later than now: nothing is owed yet."""
    waited_ms: int
    engine: str
    epoch: int
    view: int
    """PBFT's view or Raft's term."""
    leader: int
    height: int
    """Of the block that is to become final next."""
    unblocks: str
    halted: str | None
    alarm: str | None
    peers_down: list[AwaitedMember]
    catch_up_to: int | None
    """A certified height that this node lacks; null while it knows of none."""
    last_final_height: int
    last_final_time_ms: int
    last_final_age_ms: int


class HealthResponse(_Model):
    """The process runs and has not halted."""

    status: Literal["ok"]


class ReadyResponse(_Model):
    """Whether work should be sent here, and what is missing."""

    ready: bool
    missing: list[str]


class Problem(BaseModel):
    """RFC 9457 problem+json; further members are facts about the refusal."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool


def plain(value: object) -> Any:
    """Structs and dataclasses become objects by field name, bytes become hex: the JSON form of a proof."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"no JSON form for {type(value).__name__}")
