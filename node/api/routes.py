"""Every route of the interface: who may use it, what it takes and what it answers. The one table that is checked.

A route that is served without a row here, or a row without a handler, stops the node at start (`app`). A row's scopes: any
one of them suffices; None means that nobody needs to say who he is. An observer serves `served_by_observer` rows only, and
opens each guarded one to `read:all` alone.
"""

from dataclasses import dataclass, replace

from pydantic import BaseModel

from tallystick.network.wire.reasons import RejectReason
from tallystick.node.api import schemas
from tallystick.node.api.tokens import Scope

_SUBMITTERS = frozenset({Scope.SUBMIT})
_READERS = frozenset({Scope.READ_OWN, Scope.READ_ALL})
_ALL_READERS = frozenset({Scope.READ_ALL})
_ANYBODY_KNOWN = frozenset(Scope)
_GUARDED = (RejectReason.UNAUTHENTICATED, RejectReason.FORBIDDEN, RejectReason.QUOTA_SPENT)
_OPERATORS = frozenset({Scope.OPERATE})
_LOOKUP = (
    RejectReason.BAD_REQUEST,
    RejectReason.NOT_FOUND,
    RejectReason.NOT_CONFIRMED,
    RejectReason.OVERLOADED,
    RejectReason.NOT_READY,
)
_READ = (
    "read",
    '"quorum": answer only after a quorum confirmed that nothing final is missing here; "local" (default): at once.',
)
_FORM = (
    "form",
    '"document" (default): JSON that `tallystick checkpoint verify` takes; "note": the text that transparency-log witnesses cosign.',
)


@dataclass(frozen=True, slots=True)
class Route:
    """One row."""

    name: str
    method: str
    path: str
    scopes: frozenset[Scope] | None
    summary: str
    response: type[BaseModel] | None
    """None: the answer is not JSON of ours (metrics, the OpenAPI document, a receipt, the genesis file)."""
    request: type[BaseModel] | None = None
    query: tuple[tuple[str, str], ...] = ()
    """(name, what it means)."""
    refusals: tuple[RejectReason, ...] = ()
    served_by_observer: bool = True

    def possible_refusals(self) -> tuple[RejectReason, ...]:
        """What this route may say no with; each has a status of its own in `problems`."""
        return self.refusals if self.scopes is None else (*_GUARDED, *self.refusals)


ROUTES: tuple[Route, ...] = (
    Route(
        "submit",
        "POST",
        "/v1/transactions",
        _SUBMITTERS,
        "Submit one or many signed transactions and wait for a state.",
        schemas.TransactionsResponse,
        request=schemas.TransactionsRequest,
        refusals=(
            RejectReason.BAD_REQUEST,
            RejectReason.FOREIGN_ACCOUNT,
            RejectReason.OVERLOADED,
            RejectReason.NOT_READY,
        ),
        served_by_observer=False,
    ),
    Route(
        "receipt",
        "GET",
        "/v1/receipts/{account}/{id}",
        _READERS,
        "The receipt of a transaction, verifiable offline.",
        None,
        query=(
            ("digest", "32 bytes hex: answer only if the receipt is for this digest."),
            (
                "body_id",
                "32 bytes hex: the receipt of this very body (rejected repeats have one too).",
            ),
            _READ,
        ),
        refusals=(*_LOOKUP, RejectReason.FOREIGN_ACCOUNT, RejectReason.BELOW_SNAPSHOT),
    ),
    Route(
        "absence",
        "GET",
        "/v1/absences/{account}/{id}",
        _READERS,
        "The proof that a transaction was never ordered and never can be, once the window of its deadline is closed.",
        None,
        query=(
            ("digest", "32 bytes hex: the transaction's."),
            ("valid_until_ms", "Its deadline, which the digest covers."),
            _READ,
        ),
        refusals=(*_LOOKUP, RejectReason.ALREADY_ORDERED, RejectReason.FOREIGN_ACCOUNT),
    ),
    Route(
        "transaction",
        "GET",
        "/v1/transactions/{account}/{id}",
        _READERS,
        "Where a transaction stands.",
        schemas.TransactionResponse,
        query=(_READ,),
        refusals=(*_LOOKUP, RejectReason.FOREIGN_ACCOUNT, RejectReason.BELOW_SNAPSHOT),
    ),
    Route(
        "account",
        "GET",
        "/v1/accounts/{account}",
        _READERS,
        "An account's balances and headroom on the certified ledger, with proof.",
        schemas.AccountResponse,
        query=(_READ,),
        refusals=(*_LOOKUP, RejectReason.FOREIGN_ACCOUNT),
    ),
    Route(
        "block",
        "GET",
        "/v1/blocks/{height}",
        _ALL_READERS,
        "A certified block: header, result, certificate, body ids.",
        schemas.BlockResponse,
        query=(_READ,),
        refusals=_LOOKUP,
    ),
    Route(
        "checkpoint_latest",
        "GET",
        "/v1/checkpoints/latest",
        _ANYBODY_KNOWN,
        "The newest checkpoint: a quorum's one BLS signature, verifiable offline.",
        None,
        query=(_FORM,),
        refusals=(RejectReason.BAD_REQUEST, RejectReason.NOT_FOUND),
        served_by_observer=False,
    ),
    Route(
        "checkpoint",
        "GET",
        "/v1/checkpoints/{height}",
        _ANYBODY_KNOWN,
        "The checkpoint at a height, if there is one.",
        None,
        query=(_FORM,),
        refusals=(RejectReason.BAD_REQUEST, RejectReason.NOT_FOUND),
        served_by_observer=False,
    ),
    Route(
        "consistency",
        "GET",
        "/v1/history/consistency",
        _ANYBODY_KNOWN,
        "Proof (RFC 6962) that the history up to one certified height begins the history up to another.",
        schemas.ConsistencyResponse,
        query=(
            ("from", "A certified height; required."),
            ("to", "A certified height, not below it; required."),
        ),
        refusals=(RejectReason.BAD_REQUEST, RejectReason.NOT_FOUND),
    ),
    Route(
        "links",
        "GET",
        "/v1/history/links",
        _ANYBODY_KNOWN,
        "The links from a height on, 32 bytes each, as many as fit into one answer: the leaves of the history.",
        None,
        query=(("from", "A certified height; required."),),
        refusals=(RejectReason.BAD_REQUEST, RejectReason.NOT_FOUND),
    ),
    Route(
        "status",
        "GET",
        "/v1/status",
        _ANYBODY_KNOWN,
        "How this node is: height, view, peers, lag.",
        schemas.StatusResponse,
    ),
    Route(
        "why_stalled",
        "GET",
        "/v1/why-stalled",
        _ALL_READERS,
        "Why nothing becomes final: who is awaited, since when, and what would let it go on.",
        schemas.WhyStalledResponse,
    ),
    Route(
        "hand_over",
        "POST",
        "/v1/operations/hand-over",
        _OPERATORS,
        "Let another member lead; this one must lead now.",
        schemas.HandOverResponse,
        query=(("to", "A member's number; by default whoever suits best."),),
        refusals=(RejectReason.BAD_REQUEST, RejectReason.NOT_LEADER, RejectReason.NOT_READY),
        served_by_observer=False,
    ),
    Route(
        "evidence",
        "GET",
        "/v1/evidence",
        _ALL_READERS,
        "Evidence against members that signed two statements which exclude each other, verifiable offline.",
        schemas.EvidenceResponse,
        query=(("from", "How many to leave out, by epoch, member and position; by default none."),),
        refusals=(RejectReason.BAD_REQUEST,),
    ),
    Route(
        "backup",
        "GET",
        "/v1/operations/backup",
        _OPERATORS,
        "The certified ledger of one instant, as rows in framed segments: what `tallystick ledger backup` reads.",
        None,
        refusals=(RejectReason.OVERLOADED, RejectReason.NOT_READY),
        served_by_observer=False,
    ),
    Route("genesis", "GET", "/v1/genesis", _ANYBODY_KNOWN, "The genesis file.", None),
    Route(
        "healthz",
        "GET",
        "/healthz",
        None,
        "200 while the process runs and has not halted.",
        schemas.HealthResponse,
        refusals=(RejectReason.NOT_READY,),
    ),
    Route(
        "readyz",
        "GET",
        "/readyz",
        None,
        "200 when work may be sent here: caught up, a quorum of peers up, not halted; else 503.",
        schemas.ReadyResponse,
    ),
    Route(
        "metrics",
        "GET",
        "/metrics",
        _ALL_READERS,
        "Prometheus metrics. The configuration may open them on loopback.",
        None,
    ),
    Route("openapi", "GET", "/openapi.json", None, "This description.", None),
)


def observer_routes() -> tuple[Route, ...]:
    """What an observer serves: reading alone, and to those who may read everything."""
    return tuple(
        route if route.scopes is None else replace(route, scopes=_ALL_READERS)
        for route in ROUTES
        if route.served_by_observer
    )
