"""Every error as problem+json (RFC 9457), made from a `RejectReason`: one code, one status, one sentence.

`type` names the code; `retryable` says whether the same request may succeed later; facts ride along as members.
"""

import json
from collections.abc import Mapping

from aiohttp import web

from tallystick.network.wire.faults import Refused
from tallystick.network.wire.reasons import RejectReason

PROBLEM_TYPE = "https://tallystick.invalid/problems/"
CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""Seconds: the moving window of a quota is one second wide, a full pool empties within one."""

_STATUS = {
    RejectReason.UNAUTHENTICATED: 401,
    RejectReason.FORBIDDEN: 403,
    RejectReason.FOREIGN_ACCOUNT: 403,
    RejectReason.NOT_FOUND: 404,
    RejectReason.OVERLOADED: 429,
    RejectReason.QUOTA_SPENT: 429,
    RejectReason.NOT_READY: 503,
    RejectReason.NOT_CONFIRMED: 503,
    RejectReason.NOT_LEADER: 409,
    RejectReason.BELOW_SNAPSHOT: 410,
}

OVERLOAD = frozenset({RejectReason.OVERLOADED, RejectReason.QUOTA_SPENT})
"""Reasons that say: nothing was accepted, come back later."""


def status_of(reason: RejectReason) -> int:
    """The HTTP status of a refusal; 400 unless the reason has one of its own."""
    return _STATUS.get(reason, 400)


def problem(
    reason: RejectReason,
    detail: str = "",
    status: int | None = None,
    facts: Mapping[str, object] | None = None,
) -> web.Response:
    """The answer for one refusal. Bytes among the facts become hex."""
    status = status or status_of(reason)
    body: dict[str, object] = {name: _plain(value) for name, value in (facts or {}).items()}
    body |= {
        "type": PROBLEM_TYPE + reason.code,
        "title": reason.sentence,
        "status": status,
        "detail": detail or reason.sentence,
        "code": reason.code,
        "retryable": reason.retryable,
    }
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tallystick"'
    return web.Response(
        body=json.dumps(body).encode(), status=status, content_type=CONTENT_TYPE, headers=headers
    )


def problem_of(refused: Refused) -> web.Response:
    """The answer for a refusal that was raised."""
    return problem(refused.reason, refused.detail, facts=refused.facts)


def internal_problem() -> web.Response:
    """Our own fault: no detail leaves the node, the log has it."""
    return _unknown("INTERNAL", 500, "The node failed to answer; its log has the cause.")


def unavailable_problem() -> web.Response:
    """The world's fault (disk, a node that stops) in the middle of an answer."""
    return _unknown("UNAVAILABLE", 503, "The node stopped before it could answer.")


def _unknown(code: str, status: int, title: str) -> web.Response:
    body = {
        "type": PROBLEM_TYPE + code,
        "title": title,
        "status": status,
        "detail": f"{title} Whether something was accepted is open: ask any node by account and id.",
        "code": code,
        "retryable": True,
    }
    return web.Response(body=json.dumps(body).encode(), status=status, content_type=CONTENT_TYPE)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
